"""Balances of one account, as snapshots carry them."""

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.balances import Balance, Grant, Hold, Row, SlotDetail, assemble, carried_slot, slot_of
from paygrade.entitlements import Entitlement, Snapshot, entitlements_at
from paygrade.history import fold
from paygrade.ledger import counters, release
from paygrade.server.operations.carrying import carried_into

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction


async def with_balances(
    tx: "Transaction", snapshot: Snapshot, at: datetime
) -> tuple[Snapshot, dict[str, tuple[str, int]]]:
    """The snapshot with what is used, held and granted at `at`; and by pool the slot and version of the window.

    What members take up the snapshot has already: that is no business of the ledger's.
    """
    entitlements = entitlements_at(snapshot, at)
    counted = {key: its for key, its in entitlements.items() if its.kind not in ("boolean", "config")}
    if not counted:
        return snapshot, {}
    account = snapshot.account
    keys = [(account, pool, slot) for pool, its in counted.items() for slot in _slots(its, at)]
    kept = await tx.ledger.load(keys)
    rows: dict[str, dict[str, Row]] = defaultdict(dict)
    for (_, pool, slot), found in kept.items():
        rows[pool][slot] = found.row
    members = [(pool, slot_of(its.from_at)) for pool, its in counted.items() if its.per_member is not None]
    if members:
        for (pool, slot), row in (await tx.ledger.member_slots(account, members)).items():
            rows[pool][slot] = row
    grants = await tx.ledger.grants([(account, pool) for pool in counted], at, lock=False)
    holds: dict[str, list[Hold]] = defaultdict(list)
    for reservation in await tx.ledger.open_reservations(account):
        for draw in release(reservation.held):
            holds[draw.pool].append(Hold(reservation.expires_at, draw.slot, -draw.reserved))
    for pool, its in counted.items():
        await _settle_carried(tx, account, its, rows[pool], at)
    balances = {
        pool: assemble(rows[pool], its.from_at, grants=grants.get((account, pool), ()), holds=holds[pool])
        for pool, its in counted.items()
        if rows[pool] or grants.get((account, pool)) or holds[pool]
    }
    windows = {pool: slot_of(its.from_at) for pool, its in counted.items()}
    versions = {
        pool: (slot, kept[account, pool, slot].version if (account, pool, slot) in kept else 0)
        for pool, slot in windows.items()
        if pool not in snapshot.balances
    }
    return replace(snapshot, balances=balances | snapshot.balances, until=_known_until(snapshot)), versions


def _known_until(snapshot: Snapshot) -> datetime:
    """What is carried into the next window is known when that begins, not before."""
    for segment in snapshot.segments:
        turns = [its.resets_at for its in segment.entitlements.values() if its.rollover and its.resets_at is not None]
        if turns:
            return min(snapshot.until, *turns)
    return snapshot.until


async def with_balances_then(tx: "Transaction", snapshot: Snapshot, at: datetime) -> Snapshot:
    """The snapshot of an earlier instant, with balances as they were known then: folded from the ledger."""
    entitlements = entitlements_at(snapshot, at)
    counted = {key: its for key, its in entitlements.items() if its.kind not in ("boolean", "config")}
    if not counted:
        return snapshot
    account = snapshot.account
    folded = fold(await tx.ledger.drawn(account, at))
    granted = await tx.ledger.grants_known(account, at)
    windows = {pool: slot_of(its.from_at) for pool, its in counted.items() if its.rollover}
    kept = await tx.ledger.load([(account, pool, slot) for pool, slot in windows.items()])
    balances = {}
    for pool, its in counted.items():
        rows = {slot: row for (its_pool, slot), row in folded.items() if its_pool == pool and slot[:6] != "grant:"}
        if its.rollover:
            settled = kept.get((account, pool, windows[pool]))
            carried = settled.row.detail.carried if settled is not None and settled.row.detail is not None else None
            if carried is None:
                carried = await carried_into(tx, account, its, at)
            row = rows.get(windows[pool], Row())
            rows[windows[pool]] = replace(row, detail=replace(row.detail or SlotDetail(), carried=carried))
        grants = [_spent(grant, folded.get((pool, grant.slot), Row())) for grant in granted.get(pool, ())]
        balances[pool] = assemble(rows, its.from_at, grants=grants)
    return replace(snapshot, balances=balances | snapshot.balances)


def _spent(grant: Grant, row: Row) -> Grant:
    return replace(grant, used=row.used, reserved=row.reserved)


def _slots(its: Entitlement, at: datetime) -> list[str]:
    found = [slot_of(its.from_at), *(() if its.plain else counters(its, at, None))]
    return [*found, carried_slot(its.from_at)] if its.rollover else found


async def _settle_carried(
    tx: "Transaction", account: str, its: Entitlement, rows: dict[str, Row], at: datetime
) -> None:
    """What is carried into a window that nobody has used yet shows all the same."""
    if not its.rollover:
        return
    slot = slot_of(its.from_at)
    row = rows.get(slot, Row())
    if row.detail is None or row.detail.carried is None:
        carried = await carried_into(tx, account, its, at)
        if carried or slot in rows:
            rows[slot] = replace(row, detail=replace(row.detail or SlotDetail(), carried=carried))


def counted_balance(balance: Balance | None, used: int, reserved: int, from_at: datetime | None) -> Balance:
    """A balance with the counts that were told of its window."""
    return Balance(used, reserved, from_at, balance.detail if balance is not None else None)
