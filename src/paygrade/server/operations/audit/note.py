"""Writing down who did what, in the transaction of what was done.

Laws: what is written because somebody asked is noted by its operation, and nothing is noted that did not happen; what
people are called, and what is said about them, stands in sealed fields alone.
"""

import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from paygrade.billing.audit_chain import ENVIRONMENT, SEALED, AuditEntry
from paygrade.server.process.acting import acting

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction

SALT_BYTES = 16
_NOTHING: Mapping[str, object] = {}


def note(
    tx: "Transaction",
    action: str,
    account: str = ENVIRONMENT,
    *,
    targets: Iterable[tuple[str, str]] = (),
    changes: Mapping[str, object] = _NOTHING,
    personal: Mapping[str, object] = _NOTHING,
    at: datetime,
) -> None:
    """Note that whoever acts now did this. `account` left out: it was done to no account.

    `targets` are kinds with ids, `changes` values or pairs of before and after. Both stay for ever: what is personal of
    the account (its name, its members, texts of people) goes to `personal`.
    """
    who = acting()
    # Whoever holds an account's token or link is one of its people; all others are those who run the product.
    erasable = list(SEALED) if who.actor.kind in ("account_token", "portal_session") else ["personal"]
    entry = AuditEntry(
        account=account,
        action=action,
        occurred_at=at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        request=who.request,
        targets=[{"kind": kind, "id": id} for kind, id in targets],
        changes=msgspec.to_builtins(changes),
        actor={"kind": who.actor.kind, "id": who.actor.id, "name": who.actor.name},
        address=who.address,
        personal=msgspec.to_builtins(personal) if personal else None,
        erasable=erasable,
        salts={name: secrets.token_hex(SALT_BYTES) for name in SEALED},
    )
    tx.note(entry)


def because(reason: str) -> Mapping[str, object]:
    """Why, as `personal` takes it; nothing where nobody said."""
    return {"reason": reason} if reason else _NOTHING


def note_change(
    tx: "Transaction",
    action: str,
    account: str,
    before: object,
    after: object,
    *,
    hidden: frozenset[str] = frozenset(),
    target: tuple[str, str] | None = None,
    at: datetime,
) -> None:
    """Note a statement of the account: what its fields were and are, where they differ. Those `hidden` are personal.
    None: there was nothing, or there is nothing any more."""
    was, now = (_fields(each) for each in (before, after))
    differing = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    pairs = {name: [was.get(name), now.get(name)] for name in differing}
    note(
        tx,
        action,
        account,
        targets=[target] if target is not None else [],
        changes={name: pair for name, pair in pairs.items() if name not in hidden},
        personal={name: pair for name, pair in pairs.items() if name in hidden},
        at=at,
    )


def _fields(statement: object) -> dict[str, object]:
    if statement is None:
        return {}
    return {name: value for name, value in msgspec.to_builtins(statement).items() if name not in _NAMES}


_NAMES = frozenset({"type", "key", "feature"})
"""Fields of a statement that only say what it is and whom it is about: the target does."""
