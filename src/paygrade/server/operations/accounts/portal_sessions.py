"""Links that open the customers' pages of one account: made for somebody whom the host application knows.

Laws: whoever has the link is let in until it ends, and nobody else; of its secret a hash is kept; whoever made it is
in the audit log, and so is what was done with it.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from paygrade.server.operations.accounts.record import load_account
from paygrade.server.operations.audit.note import note
from paygrade.server.process.acting import Actor
from paygrade.server.process.portal_settings import Language
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.portal_sessions import SavedPortalSession
    from paygrade.postgres.store import Store

PREFIX, LENGTH_MAX = "portal_", 100
TTL_S, TTL_MAX_S = 60 * 60, 24 * 3600
URL_LENGTH_MAX = 2048


class PortalRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """For whom the pages are, and for how long. `member`: who acts there, for the audit log, and whom nobody can lock
    out of the account there; `return_url`: where "back" leads; `language`: instead of the browser's."""

    member: str | None = None
    return_url: Annotated[str, Meta(min_length=1, max_length=URL_LENGTH_MAX)] | None = None
    language: Language | None = None
    ttl_s: Annotated[int, Meta(ge=60, le=TTL_MAX_S)] = TTL_S


class PortalSession(Struct, frozen=True, kw_only=True):
    """A link that is handed to nobody but whom it is for: `url` opens the account's pages until `expires_at`."""

    account: str
    id: str
    url: str
    member: str | None
    expires_at: datetime


class PortalVisit(Struct, frozen=True, kw_only=True):
    """Who has come by a link: to whose pages, and as whom."""

    account: str
    id: str
    member: str | None
    return_url: str | None
    language: Language | None
    expires_at: datetime

    @property
    def actor(self) -> Actor:
        return Actor("portal_session", self.id, self.member or "")


async def open_pages(
    store: "Store", asked: PortalRequest, *, account: str, base_url: str, at: datetime
) -> PortalSession:
    """Open an account's pages.

    A link to the pages where the account's people see plan, usage and seats, and change what they pay for. It needs no
    log-in, so hand it to nobody but them, and soon: it ends after an hour unless `ttl_s` says otherwise. Refused
    `unknown_account`.
    """
    secret, id = f"{PREFIX}{secrets.token_urlsafe(32)}", f"ps_{secrets.token_hex(10)}"
    expires_at = at + timedelta(seconds=asked.ttl_s)
    async with store.transaction() as tx:
        await load_account(tx, account)
        await tx.portal_sessions.add(
            account=account, id=id, hash=_hash(secret), member=asked.member, return_url=asked.return_url,
            language=asked.language, created_at=at, expires_at=expires_at,
        )  # fmt: skip
        note(tx, "portal_session.create", account, targets=[("portal_session", id)],
             changes={"expires_at": expires_at}, personal={"member": asked.member}, at=at)  # fmt: skip
    return PortalSession(
        account=account, id=id, url=f"{base_url}/portal/{secret}", member=asked.member, expires_at=expires_at
    )


async def end_pages(store: "Store", *, account: str, id: str, at: datetime) -> None:
    """End a link to an account's pages.

    Whoever has it sees nothing any more. Refused `unknown_portal_session`.
    """
    async with store.transaction() as tx:
        if not await tx.portal_sessions.end(account, id):
            raise Refused("unknown_portal_session", f"`{account}` has no link `{id}`; it may have ended by itself")
        note(tx, "portal_session.end", account, targets=[("portal_session", id)], at=at)


async def visit(store: "Store", secret: str, *, at: datetime) -> PortalVisit:
    """Who has come. Refused `unauthenticated`."""
    if not secret.startswith(PREFIX) or len(secret) > LENGTH_MAX:
        raise _over()
    async with store.transaction() as tx:
        found: SavedPortalSession | None = await tx.portal_sessions.open_one(_hash(secret), at)
    if found is None:
        raise _over()
    return PortalVisit(
        account=found.account, id=found.id, member=found.member, return_url=found.return_url,
        language=found.language, expires_at=found.expires_at,  # type: ignore[arg-type]  # one that was asked for
    )  # fmt: skip


async def purge_portal_sessions(store: "Store", *, at: datetime) -> int:
    """Forget links that are over; returns how many."""
    async with store.transaction() as tx:
        return await tx.portal_sessions.purge(until=at)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _over() -> Refused:
    return Refused("unauthenticated", "this link has ended; open the page again from where you came")
