"""Privacy: everything that is stored of an account is exported, and what of it is personal is erased.

Laws: what an erasure leaves adds up as before, balances, entitlements and audit chain; it happens as a whole or not at
all, and one audit record tells of it; what the provider stores is the provider's, and is not touched.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from paygrade.billing.accounts import replay
from paygrade.billing.audit_chain import ERASE
from paygrade.billing.erasure import erased_fact, erased_json, pseudonyms
from paygrade.billing.nodes import fold_nodes
from paygrade.server.operations.accounts.record import load_account, unknown_account
from paygrade.server.operations.audit.note import note
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.personal_data import PersonalData
    from paygrade.postgres.store import Store, Transaction

MARK_BYTES, SALT_BYTES = 4, 16
_BITS = {"int": 31, "bigint": 63}


class ExportPage(Struct, frozen=True):
    """Rows of one `section`, as they are stored. `next` is the `after` of the next page; None: this is the last one.
    Any: JSON."""

    account: str
    section: str
    rows: tuple[Any, ...]
    next: str | None


class Erased(Struct, frozen=True):
    """What was erased: so many facts were rewritten, `members` have other keys now, and so many `records` of the audit
    log lost their sealed fields."""

    account: str
    facts: int
    members: int
    records: int


async def export_account(store: "Store", *, account: str, after: str | None, limit: int, at: datetime) -> ExportPage:
    """Export an account.

    All that is stored of the account and its people, section by section, a page at a time: `after` continues a page.
    Refused `unknown_account`, `invalid_query`.
    """
    async with store.transaction() as tx:
        await load_account(tx, account, deleted=True)
        if after is None:
            note(tx, "account.export", account, at=at)
        return await _page(tx.personal_data(account), account, after, limit)


async def erase_account(
    store: "Store", *, account: str, reason: str, properties: Sequence[str], at: datetime
) -> Erased:
    """Erase an account's personal data.

    Erase names, traits, reasons, the contents of billing events and the properties of usage events that the server is
    set to treat as personal; members get other keys. What the account has and used stays as it is. This can't be
    undone, and leaves one audit record. Refused `unknown_account`. A deleted account will do. Stripe's data is not
    touched: erase it there first, or the next reading brings the name back.
    """
    async with store.transaction() as tx:
        its = tx.personal_data(account)
        await its.lock_subjects()
        if await tx.accounts.lock_kept(account) is None:
            raise unknown_account(account)
        await its.lock_balances()
        names = pseudonyms(await its.members(), secrets.token_hex(MARK_BYTES))
        facts = await _erase_facts(tx, account, names)
        await _erase_usage(its, names, frozenset(properties))
        records = await tx.audit.erase(account)
        changes = {"facts": facts, "members": len(names)}
        note(tx, ERASE, account, changes=changes, personal={"reason": reason}, at=at)
        await tx.tell("paygrade_account", account)
        await tx.tell_balances([(account,)])
    return Erased(account, facts, len(names), records)


async def _erase_facts(tx: "Transaction", account: str, names: dict[str, str]) -> int:
    facts = [saved.fact for saved in await tx.accounts.facts(account)]
    erased = [erased_fact(fact, names) for fact in facts]
    changed = [after for before, after in zip(facts, erased, strict=True) if before != after]
    await tx.personal_data(account).rewrite_facts(changed)
    await tx.accounts.restore(replay(account, erased))
    await tx.nodes.restore(account, list(fold_nodes(erased).values()))
    return len(changed)


async def _erase_usage(its: "PersonalData", names: dict[str, str], properties: frozenset[str]) -> None:
    await its.rename_members(names)
    for table, columns in (
        ("reservations", ("held",)),
        ("plan_changes", ("quoted", "settlement")),
        ("updates", ("data",)),
    ):
        rows = await its.json_of(table, columns)
        erased = [(key, erased_json(values, names, without=properties)) for key, values in rows]
        await its.put_json(table, columns, [one for one, row in zip(erased, rows, strict=True) if one != row])
    await its.erase_texts(names, sorted(properties), secrets.token_bytes(SALT_BYTES))


async def _page(its: "PersonalData", account: str, after: str | None, limit: int) -> ExportPage:
    sections = its.sections()
    section, key = _place(after, sections)
    found = await its.page(section, after=key, limit=limit + 1)
    rows = tuple(_shown(msgspec.json.decode(row)) for row, _ in found[:limit])
    if len(found) > limit:
        return ExportPage(account, section, rows, f"{section} {msgspec.json.encode(found[limit - 1][1]).decode()}")
    names = list(sections)
    following = names[names.index(section) + 1 :]
    return ExportPage(account, section, rows, following[0] if following else None)


def _place(after: str | None, sections: Mapping[str, Sequence[str]]) -> tuple[str, list[Any] | None]:
    """The section, and the key of the row before. Any: what keys consist of."""
    name, _, text = (after or next(iter(sections))).partition(" ")
    if name in sections and not text:
        return name, None
    try:
        key = msgspec.json.decode(text, type=list[str | int])
    except msgspec.MsgspecError:
        key = []
    kinds = sections.get(name, ())
    if not kinds or len(key) != len(kinds) or not all(map(_fits, key, kinds)):
        raise Refused("invalid_query", "`after` must be the `next` of an earlier page")
    return name, list(key)


def _fits(part: str | int, kind: str) -> bool:
    """Whether PostgreSQL can compare this with a column of that type."""
    if kind == "text":
        return isinstance(part, str) and "\0" not in part
    return isinstance(part, int) and abs(part) < 2 ** _BITS[kind]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row as people read it: the body of a billing event is text, and not bytes. Any: JSON."""
    body = row.get("body")
    if not isinstance(body, str) or not body.startswith("\\x"):
        return row
    return {**row, "body": bytes.fromhex(body[2:]).decode(errors="replace")}
