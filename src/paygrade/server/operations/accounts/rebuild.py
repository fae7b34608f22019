"""Rebuilding: what is folded from an account's facts and its ledger, dropped and folded anew.

Law: a cache changes cost, never meaning: where everything is well, nothing differs afterwards.
"""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, replay
from paygrade.billing.nodes import SUBJECT, StatedNode, fold_nodes
from paygrade.catalog.model import Catalog
from paygrade.entitlements.derive import derive
from paygrade.server.operations.accounts.record import unknown_account
from paygrade.server.operations.audit.note import note
from paygrade.server.operations.balances.unit_of_work import Entitlements, UnitOfWork, lock_balances, windows_of
from paygrade.usage.balances import Row, SlotDetail, parse_slot, put, slot_of
from paygrade.usage.entries import Key
from paygrade.usage.history import fold

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

DIFFERENCES_MAX = 100
TEXT_MAX = 200
_EVER, _FOREVER = datetime.min.replace(tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)


class RebuildDifference(Struct, frozen=True):
    """What was kept otherwise than its source says: of the `account` a field, of a `balance` a slot."""

    what: Literal["account", "balance"]
    name: str
    before: str
    after: str


class Rebuilt(Struct, frozen=True):
    """What came of it: how many facts and entries were folded, and the first differences. `more`: there are others."""

    account: str
    facts: int
    entries: int
    differences: tuple[RebuildDifference, ...]
    more: bool


async def rebuild(store: "Store", *, account: str, at: datetime) -> Rebuilt:
    """Rebuild an account.

    Calculate the account's state, its subscriptions and its balances again from its facts and its ledger. The answer
    lists what differed; normally nothing does. Refused `unknown_account`. A deleted account will do. Reads all facts
    and entries of the account.
    """
    async with store.transaction() as tx:
        before = await tx.accounts.lock_kept(account)
        if before is None:
            raise unknown_account(account)
        facts = await tx.accounts.facts(account)
        folded = replay(account, (saved.fact for saved in facts))
        await tx.accounts.restore(folded)
        differences = list(_changed(before, await tx.accounts.lock_kept(account) or {}))
        differences += await _restore_nodes(tx, account, fold_nodes(saved.fact for saved in facts))
        await tx.tell("paygrade_account", account)
        await tx.announcements.hurry(at, account=account)
        entries, recounted = await _recount(tx, folded, at)
        differences += recounted
        changes = {"facts": len(facts), "entries": entries, "differences": len(differences)}
        note(tx, "account.rebuild", account, changes=changes, at=at)
    return Rebuilt(
        account, len(facts), entries, tuple(differences[:DIFFERENCES_MAX]), more=len(differences) > DIFFERENCES_MAX
    )


async def _restore_nodes(tx: "Transaction", account: str, folded: Mapping[str, StatedNode]) -> list[RebuildDifference]:
    kept = await tx.nodes.kept(account)
    await tx.nodes.restore(account, list(folded.values()))
    return list(_changed(*({f"{SUBJECT}{path}": its[path] for path in sorted(its)} for its in (kept, folded))))


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[RebuildDifference]:
    for name in {**before, **after}:
        if before.get(name) != after.get(name):
            yield RebuildDifference("account", name, _text(before.get(name)), _text(after.get(name)))


def _text(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"


async def _recount(tx: "Transaction", account: Account, at: datetime) -> tuple[int, list[RebuildDifference]]:
    """Let every balance be the sum of its entries' postings; how many entries there are, and what differed."""
    catalog = await tx.catalogs.in_force()
    keys = {(account.key, *slot) for slot in await tx.ledger.slots_of(account.key)}
    while True:
        work = await _locked(tx, account, catalog, keys, at)
        drawn = await tx.ledger.drawn(account.key, _FOREVER)
        # There may be many: others in this process go on meanwhile.
        sums = {(account.key, *slot): row for slot, row in (await asyncio.to_thread(fold, drawn)).items()}
        if sums.keys() <= keys:
            break
        keys |= sums.keys()
    differences = []
    for key in sorted(keys):
        kept, row = work.row(key), _as_summed(work.row(key), sums.get(key, Row()), key, at)
        if row != kept:
            work.put(key, row)
            differences.append(RebuildDifference("balance", f"{key[1]} {key[2]}", _counts(kept), _counts(row)))
    if differences:
        await work.save(tx)
    return len(drawn), differences


async def _locked(tx: "Transaction", account: Account, catalog: Catalog, keys: set[Key], at: datetime) -> UnitOfWork:
    now = derive(account, catalog, at).entitlements
    windows = windows_of(account.key, now, {key[1] for key in keys})
    for key in keys:
        windows |= _past_window(account, catalog, key)
    return await lock_balances(tx, catalog, keys, windows, at, granted_since=_EVER, expire=False)


def _past_window(account: Account, catalog: Catalog, key: Key) -> dict[Key, Entitlements]:
    """The entitlements of the window a slot counts in: where its row is lost, they say when it ends."""
    slot = parse_slot(key[2])
    if slot.kind != "window" or slot.at is None:
        return {}
    then = derive(account, catalog, slot.at).entitlements
    return {key: then} if key[1] in then and slot_of(then[key[1]].from_at) == key[2] else {}


def _as_summed(kept: Row, summed: Row, key: Key, at: datetime) -> Row:
    """A row as its postings add up, with what of it no posting tells; the row itself where that is the same."""
    slot, before, detail = parse_slot(key[2]), kept.detail or SlotDetail(), summed.detail or SlotDetail()
    if slot.kind == "rolling":
        live = [put(its.buckets, 0, slot.length_s, at) for its in (before, detail)]
        if live[0] == live[1]:
            # What has left the window is let go of when the next is counted.
            detail = replace(detail, buckets=before.buckets)
    detail = replace(before, ahead=detail.ahead, buckets=detail.buckets)
    return Row(summed.used, summed.reserved, None if detail == SlotDetail() else detail)


def _counts(row: Row) -> str:
    more = f", {_text(row.detail)}" if row.detail is not None else ""
    return f"{row.used} used, {row.reserved} held{more}"
