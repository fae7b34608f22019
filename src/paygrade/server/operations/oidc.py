"""Logging in with an OpenID Connect provider: who has proven there who they are gets a session here.

Laws: a person is the provider's subject, and nobody is found by an e-mail address; their role is what their groups say
at each log-in, and who has none by then has no session either; a log-in is used once; nothing is written for whoever
has proven nothing.
"""

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from paygrade.server.operations.audit.note import note
from paygrade.server.operations.people import Session, begin_session
from paygrade.server.process.api_keys import digest
from paygrade.server.process.oidc import Attempt, Identity, identity, proven, role_of
from paygrade.server.process.scopes import Role
from paygrade.server.state.oidc_provider import OidcProvider
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.people import SavedPerson
    from paygrade.postgres.store import Store, Transaction

log = structlog.get_logger("paygrade.people")

KEPT = timedelta(days=1)
"""How long a log-in is known as used; its code is worth nothing long before."""


async def who_logs_in(provider: OidcProvider, *, code: str, attempt: Attempt, at: datetime) -> Identity:
    """Whom the provider names for this code. Refused `log_in_refused`; Unavailable `oidc_unavailable`."""
    settings = provider.settings
    tokens = await provider.exchange(code, attempt)
    told = await provider.signed_claims(tokens.id_token)
    claims = proven(told, tokens, settings=settings, nonce=attempt.nonce, at=at)
    found = identity(claims, settings)
    if found.groups is not None and found.email:
        return found
    # Many providers say there what they leave out of the token; what the token says goes first.
    return identity({**await provider.user_info(tokens, found.subject), **claims}, settings)


async def log_in(
    store: "Store", provider: OidcProvider, *, code: str, attempt: Attempt, at: datetime
) -> Session:  # fmt: skip
    """Log in with the provider: come back.

    The provider sends the browser here. It begins the session that every log-in begins, and leads to where the log-in
    began. Refused `log_in_refused`, `no_role`, `rate_limited`, `invalid_query`, `oidc_not_configured`. Unavailable
    `oidc_unavailable`.
    """
    who = await who_logs_in(provider, code=code, attempt=attempt, at=at)
    role = role_of(who.groups or (), provider.settings)
    async with store.transaction() as tx:
        if not await tx.people.use_log_in(digest(attempt.state).hex(), at, kept_since=at - KEPT):
            raise Refused("log_in_refused", "this log-in was used before; log in again")
        person = await tx.people.of_provider(who.issuer, who.subject)
        if role is not None:
            return await begin_session(tx, await _as_told(tx, person, who, role, at), at)
        if person is not None:
            await tx.people.close_all(person.id)
            await tx.tell("paygrade_key", person.id)
    log.warning("log_in_without_role", person=person.id if person is not None else None)
    raise Refused("no_role", "none of your groups gives you a role in Paygrade; ask whoever runs it to add one of them "
                  "to PAYGRADE_OIDC_ROLES, or to add you to a group")  # fmt: skip


async def _as_told(
    tx: "Transaction", person: "SavedPerson | None", who: Identity, role: Role, at: datetime
) -> "SavedPerson":
    """The person as the provider tells of them now."""
    person = person or await _added(tx, who, role, at)
    if person.role != role:
        changes = {"role": [person.role, role]}
        note(tx, "person.set_role", targets=[("person", person.id)], changes=changes, at=at)
        await tx.tell("paygrade_key", person.id)
    return replace(person, role=role, name=who.name, claimed_email=who.email)


async def _added(tx: "Transaction", who: Identity, role: Role, at: datetime) -> "SavedPerson":
    id = f"person_{int(at.timestamp() * 1000):011x}{secrets.token_hex(4)}"
    added = await tx.people.add(
        id=id, email=id, name=who.name, role=role, password_hash="", totp_secret=None, created_at=at,
        created_by=who.issuer, issuer=who.issuer, subject=who.subject, claimed_email=who.email,
    )  # fmt: skip
    person = await tx.people.of_provider(who.issuer, who.subject)
    assert person is not None, "it is there, whoever was first"
    if added:
        personal = {"email": who.email, "name": who.name}
        changes = {"role": role, "issuer": who.issuer}
        note(tx, "person.add", targets=[("person", id)], changes=changes, personal=personal, at=at)
        log.info("person_added", person=id, role=role, by=who.issuer)
    return person
