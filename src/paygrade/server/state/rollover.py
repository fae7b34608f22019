"""What is carried into a window: the units that the one before left over, up to a cap.

Laws: it is settled when a window is first used, from what the windows before were left with, what was held and has
expired among it; a late event counts in its own window and takes nothing back; nothing is carried from before the
subscription's own first window.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement
from paygrade.usage.balances import Row, carried_slot, slot_of
from paygrade.usage.entries import Key
from paygrade.usage.ledger import release, takes_rollover

if TYPE_CHECKING:
    from paygrade.billing.accounts import Account
    from paygrade.catalog.model import Catalog
    from paygrade.postgres.store import Transaction

WINDOWS_MAX = 12
"""How many windows without any use are looked back over; most caps are reached by the first."""
_MOMENT = timedelta(microseconds=1)


async def carried_into(tx: "Transaction", account: str, its: Entitlement, at: datetime) -> int:
    """Units carried into the window this entitlement counts in."""
    saved, published = await tx.accounts.load(account), await tx.catalogs.load()
    if saved is None or published is None:
        return 0
    return await _carried(tx, saved.account, published.catalog, its, windows=WINDOWS_MAX, at=at)


async def _carried(
    tx: "Transaction", account: "Account", catalog: "Catalog", its: Entitlement, *, windows: int, at: datetime
) -> int:
    if not takes_rollover(its) or its.from_at is None or not windows:
        return 0
    before = derive(account, catalog, its.from_at - _MOMENT).entitlements.get(its.feature)
    if before is None or not before.granted or before.limit is None or before.from_at is None:
        return 0
    window, carried = slot_of(before.from_at), carried_slot(before.from_at)
    used, over = await _rows(tx, [(account.key, its.feature, slot) for slot in (window, carried)], at)
    left = max(0, before.limit - used.used - used.reserved)
    if left < its.rollover:
        into = used.detail.carried if used.detail is not None else None
        if into is None:
            into = await _carried(tx, account, catalog, before, windows=windows - 1, at=at)
        left += max(0, into - over.used - over.reserved)
    return min(its.rollover, left)


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
