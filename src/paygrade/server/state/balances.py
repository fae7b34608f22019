"""Balances of accounts, as snapshots carry them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.decisions.snapshots import Dated, Snapshot, entitlements_at
from paygrade.entitlements.model import Entitlement, carries
from paygrade.server.state.rollover import carried_into, settled_in, with_carried
from paygrade.usage.balances import Grant, Hold, Row, assemble, carried_slot, parse_slot, slot_of
from paygrade.usage.entries import Kept, Key
from paygrade.usage.history import fold
from paygrade.usage.ledger import counters, release

if TYPE_CHECKING:
    from paygrade.postgres.store import Transaction


Versions = tuple[int, ...]
"""As `remember` takes them."""


async def with_balances(tx: "Transaction", snapshot: Snapshot, at: datetime) -> tuple[Snapshot, Versions]:
    """The snapshot with what is used, held and granted at `at`."""
    return (await with_balances_of_all(tx, [snapshot], at))[0]


async def with_balances_of_all(
    tx: "Transaction", snapshots: Sequence[Snapshot], at: datetime
) -> list[tuple[Snapshot, Versions]]:
    """The same for many accounts at once, in as many statements as for one."""
    counted = {snapshot.account: _counted(snapshot, at) for snapshot in snapshots}
    pools = [(account, pool) for account, its in counted.items() for pool in its]
    if not pools:
        return [(snapshot, ()) for snapshot in snapshots]
    kept = await tx.ledger.load([(*pool, slot) for pool in pools for slot in _slots(counted[pool[0]][pool[1]], at)])
    grants = await tx.ledger.grants(pools, at)
    rows: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for (account, pool, slot), found in kept.items():
        rows[account, pool][slot] = found.row
    holds: dict[tuple[str, str], list[Hold]] = defaultdict(list)
    for reservation in await tx.ledger.open_reservations(list(counted)):
        for draw in release(reservation.held):
            if parse_slot(draw.slot).node:
                continue  # of nodes a snapshot knows nothing
            holds[reservation.account, draw.pool].append(Hold(reservation.expires_at, draw.slot, -draw.reserved))
    for account, its in counted.items():
        await _add_members(tx, account, its, rows)
        for pool, entitlement in its.items():
            await _settle_carried(tx, account, entitlement, rows[account, pool], at)
    made: list[tuple[Snapshot, Versions]] = []
    for snapshot in snapshots:
        account, its = snapshot.account, counted[snapshot.account]
        if not its:
            made.append((snapshot, ()))
            continue
        balances = {
            pool: assemble(
                rows[account, pool],
                entitlement.from_at,
                grants=grants.get((account, pool), ()),
                holds=holds[account, pool],
            )
            for pool, entitlement in its.items()
            if rows[account, pool] or grants.get((account, pool)) or holds[account, pool]
        }
        # What members take up the snapshot has already: that is no business of the ledger's.
        taken = snapshot.balances
        held = replace(snapshot, balances=balances | taken, until=_known_until(snapshot))
        versions = tuple(
            -1 if pool in taken or pool not in its else _version(kept, account, its[pool])
            for pool in snapshot.shape.pools
        )
        made.append((held, versions))
    return made


def _counted(snapshot: Snapshot, at: datetime) -> dict[str, Entitlement]:
    entitlements = entitlements_at(snapshot, at)
    return {key: its for key, its in entitlements.items() if its.kind not in ("boolean", "config")}


async def _add_members(
    tx: "Transaction",
    account: str,
    counted: Mapping[str, Entitlement],
    rows: dict[tuple[str, str], dict[str, Row]],
) -> None:
    members = [(pool, slot_of(its.from_at)) for pool, its in counted.items() if its.per_member is not None]
    if members:
        for (pool, slot), row in (await tx.ledger.member_slots(account, members)).items():
            rows[account, pool][slot] = row


def _version(kept: Mapping[Key, Kept], account: str, its: Entitlement) -> int:
    found = kept.get((account, its.feature, slot_of(its.from_at)))
    return found.version if found is not None else 0


def _known_until(snapshot: Snapshot) -> datetime:
    """Until when these balances are all there is to know: what is carried into the next window is known when that
    begins, not before, and what another plan counts in a window that runs already is not among them."""
    dates, (first, *later) = snapshot.dates, snapshot.shape.spans
    for span in (first, *later):
        resets = (dates[terms.resets_at] for terms in span.terms.values() if carries(terms.its))
        # What a test clock shows may lie before everybody's time.
        turns = [instant for instant in resets if instant is not None and instant > snapshot.as_of]
        if turns:
            return min(snapshot.until, *turns)
        if span is not first and _counts_elsewhere(Dated(snapshot, first), Dated(snapshot, span), snapshot.as_of):
            return dates[span.from_at] or snapshot.until
    return snapshot.until


def _counts_elsewhere(first: Mapping[str, Entitlement], then: Dated, as_of: datetime) -> bool:
    """Whether anything counts then in a slot that may have been used by `as_of` and was none of those looked at."""
    for key, terms in then.terms.items():
        if terms.its.kind in ("boolean", "config") or (terms.its.limit is None and terms.its.plain):
            continue
        its, before = then[key], first.get(key)
        if its.plain and its.from_at is not None and its.from_at >= as_of:
            continue
        looked_at = _slots(before, as_of) if before is not None else []
        begun = [slot for slot in _slots(its, as_of) if (at := parse_slot(slot).at) is None or at < as_of]
        if any(slot not in looked_at for slot in begun):
            return True
    return False


async def with_balances_then(tx: "Transaction", snapshot: Snapshot, at: datetime, *, believed: bool) -> Snapshot:
    """The snapshot of an earlier instant, with balances folded from the ledger: of what had happened by then, or with
    `believed` of what was recorded."""
    entitlements = entitlements_at(snapshot, at)
    counted = {key: its for key, its in entitlements.items() if its.kind not in ("boolean", "config")}
    if not counted:
        return snapshot
    account = snapshot.account
    folded = fold(await tx.ledger.drawn(account, at, believed=believed))
    granted = await tx.ledger.grants_known(account, at, believed=believed)
    windows = {pool: slot_of(its.from_at) for pool, its in counted.items() if carries(its)}
    kept = await tx.ledger.load([(account, pool, slot) for pool, slot in windows.items()])
    balances = {}
    for pool, its in counted.items():
        rows = {slot: row for (its_pool, slot), row in folded.items() if its_pool == pool and not parse_slot(slot).node}
        if carries(its):
            settled = kept.get((account, pool, windows[pool]))
            into = settled_in(settled.row) if settled is not None else None
            if into is None:
                into = await carried_into(tx, account, its, at)
            rows[windows[pool]] = with_carried(rows.get(windows[pool], Row()), into)
        grants = [_spent(grant, folded.get((pool, grant.slot), Row())) for grant in granted.get(pool, ())]
        balances[pool] = assemble(rows, its.from_at, grants=grants)
    return replace(snapshot, balances=balances | snapshot.balances)


def _spent(grant: Grant, row: Row) -> Grant:
    return replace(grant, used=row.used, reserved=row.reserved)


def _slots(its: Entitlement, at: datetime) -> list[str]:
    found = [slot_of(its.from_at), *(() if its.plain else counters(its, at, None))]
    return [*found, carried_slot(its.from_at)] if carries(its) else found


async def _settle_carried(
    tx: "Transaction", account: str, its: Entitlement, rows: dict[str, Row], at: datetime
) -> None:
    """What is carried into a window that nobody has used yet shows all the same."""
    if not carries(its):
        return
    slot = slot_of(its.from_at)
    row = rows.get(slot, Row())
    if settled_in(row) is None:
        into = await carried_into(tx, account, its, at)
        if into.units or slot in rows:
            rows[slot] = with_carried(row, into)
