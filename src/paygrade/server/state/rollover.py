"""What is carried into a window: the units that the one before left over, or what is owed from it.

Laws: it is settled when a window is first used, from what the windows before were left with, what was held and has
expired among it; a late event counts in its own window and takes nothing back; nothing is carried from before the
subscription's own first window.
"""

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement
from paygrade.usage.balances import Row, SlotDetail, carried_slot, slot_of
from paygrade.usage.entries import Key
from paygrade.usage.ledger import release
from paygrade.usage.rollover import NOTHING, Carried, carried_on, takes_rollover

if TYPE_CHECKING:
    from paygrade.billing.accounts import Account
    from paygrade.catalog.model import Catalog
    from paygrade.postgres.store import Transaction

WINDOWS_MAX = 12
"""How many windows without any use are looked back over; most caps are reached by the first."""
_MOMENT = timedelta(microseconds=1)


async def carried_into(tx: "Transaction", account: str, its: Entitlement, at: datetime) -> Carried:
    """What is carried into the window this entitlement counts in."""
    saved, published = await tx.accounts.load(account), await tx.catalogs.load()
    if saved is None or published is None:
        return NOTHING
    asking = carrying(saved.account, published.catalog, its)
    try:
        wanted = next(asking)
        while True:
            wanted = asking.send(await _rows(tx, wanted, at))
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # what a generator returns is not in the type of its end


def settled_in(row: Row) -> Carried | None:
    """What was carried into the window of this row, as it was settled; None: it is not yet."""
    detail = row.detail
    return Carried(detail.carried, detail.lots) if detail is not None and detail.carried is not None else None


def with_carried(row: Row, into: Carried) -> Row:
    """The row of a window with what is carried into it."""
    return replace(row, detail=replace(row.detail or SlotDetail(), carried=into.units, lots=into.lots))


def carrying(
    account: "Account", catalog: "Catalog", its: Entitlement, *, windows: int = WINDOWS_MAX
) -> Generator[list[Key], list[Row], Carried]:
    """What is carried into a window, by whoever sends the rows it asks for: that of the window before, and that of what
    was carried into it."""
    if not takes_rollover(its) or its.from_at is None or not windows:
        return NOTHING
    before = derive(account, catalog, its.from_at - _MOMENT).entitlements.get(its.feature)
    if before is None or not before.granted or before.limit is None or before.from_at is None:
        return NOTHING
    window, carried = slot_of(before.from_at), carried_slot(before.from_at)
    its_own, over = yield [(account.key, its.feature, slot) for slot in (window, carried)]
    used, taken = its_own.used + its_own.reserved, over.used + over.reserved
    enough = carried_on(before, its, used=used, taken=0, into=NOTHING)
    if enough.units >= its.rollover and not its.owes and its.rollover_windows is None:
        return enough  # what was carried before makes no difference
    into = settled_in(its_own)
    if into is None:
        into = yield from carrying(account, catalog, before, windows=windows - 1)
    return carried_on(before, its, used=used, taken=taken, into=into)


async def _rows(tx: "Transaction", keys: list[Key], at: datetime) -> list[Row]:
    """These rows, without what reservations held that have expired and that nobody has given back yet."""
    kept = await tx.ledger.load(keys)
    rows = {key: kept[key].row if key in kept else Row() for key in keys}
    if any(row.reserved for row in rows.values()):
        account = keys[0][0]
        for reservation in await tx.ledger.open_reservations([account]):
            for draw in release(reservation.held) if reservation.expires_at <= at else ():
                key = (account, draw.pool, draw.slot)
                if key in rows:
                    rows[key] = replace(rows[key], reserved=rows[key].reserved + draw.reserved)
    return list(rows.values())
