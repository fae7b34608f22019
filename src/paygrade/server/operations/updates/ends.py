"""Ends that come by date are announced: of windows in which units were used, of grants with units left, of API keys.

Law: each is announced once and has happened when it ended, also where no server was up by then; alerts of a window end
with it.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from paygrade.server.operations.balances.alerts import tell_alerts
from paygrade.updates.log import News
from paygrade.updates.types import CreditExpiry, KeyUpdate, WindowUpdate
from paygrade.values.text import on_wire

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

ENDS_MAX = 500
"""How many ends are announced in one transaction."""


async def announce_ended_windows(store: "Store", *, at: datetime) -> None:
    """Announce windows that have ended by `at`, and resolve what alerts there are of them."""
    more = True
    while more:
        async with store.transaction() as tx:
            found = await tx.announced_ends.windows(limit=ENDS_MAX, at=at)
            more = len(found) == ENDS_MAX
            if found:
                over = await tx.alerts.resolve_ended([(one.account, one.pool, one.slot, one.until) for one in found])
                await tell_alerts(tx, over, at)
            await tx.announce(
                [
                    News(
                        one.account,
                        "entitlement.window.reset",
                        WindowUpdate(one.pool, on_wire(one.used), one.from_at, one.until),
                        one.until,
                    )
                    for one in found
                ],
                at,
            )


async def announce_expired_grants(store: "Store", *, at: datetime) -> None:
    """Announce grants that have expired by `at` with units left."""
    more = True
    while more:
        async with store.transaction() as tx:
            found = await tx.announced_ends.grants(limit=ENDS_MAX, at=at)
            more = len(found) == ENDS_MAX
            await tx.announce(
                [
                    News(
                        one.account,
                        "credit.expired",
                        CreditExpiry(one.pool, one.id, one.kind, one.units, on_wire(one.left)),
                        one.until,
                    )
                    for one in found
                ],
                at,
            )


async def announce_expiring_keys(store: "Store", *, at: datetime) -> None:
    """Announce API keys that have expired by `at`, and those that will within a week."""
    await _announce_keys(store, "api_key.expiring", at=at)
    await _announce_keys(store, "api_key.expired", at=at)


async def _announce_keys(store: "Store", type: Literal["api_key.expiring", "api_key.expired"], *, at: datetime) -> None:
    more = True
    while more:
        async with store.transaction() as tx:
            ends = tx.announced_ends
            find = ends.keys if type == "api_key.expired" else ends.expiring_keys
            found = await find(limit=ENDS_MAX, at=at)
            more = len(found) == ENDS_MAX
            told = [
                News(None, type, KeyUpdate(one.id, one.name, one.mode, one.publishable, one.expires_at), one.told_at)
                for one in found
            ]
            await tx.announce(told, at)
