"""Alerts: usage that passed a threshold of its limit, and that it no longer does.

Laws: both edges are told, each once; passing a threshold is noted in the transaction of the usage that passed it;
what ends by itself (a window, a higher limit) is noticed by looking again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.entitlements.model import Entitlement
from paygrade.usage.balances import slot_of
from paygrade.usage.entries import Alert
from paygrade.usage.ledger import edges

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.state.snapshots import Snapshots

LOOK_AGAIN = timedelta(seconds=5)
LOOKS_MAX = 500


class Passed(Struct, frozen=True):
    """A count of a window before and after something changed it, and the limit it has."""

    account: str
    its: Entitlement
    limit: int
    before: int
    after: int


class ToldAlert(Struct, frozen=True):
    """What is announced of an alert."""

    what: Literal["warning", "reached", "resolved"]
    account: str
    feature: str
    percent: int
    used: int
    units: int


class AlertList(Struct, frozen=True):
    """Alerts of an account, those that stand first."""

    account: str
    alerts: tuple[Alert, ...]


async def note_alerts(tx: "Transaction", passed: Sequence[Passed], at: datetime) -> None:
    """Raise and resolve what these changes have passed."""
    raised, resolved = [], []
    for one in passed:
        for edge in edges(one.limit, one.its.warn, one.before, one.after):
            key = (one.account, one.its.feature, slot_of(one.its.from_at), edge.percent)
            if edge.resolved:
                resolved.append(key)
            else:
                raised.append(Alert(*key, used=one.after, units=one.limit, raised_at=at))
    if raised:
        await _tell(tx, await tx.alerts.raise_new(raised))
    if resolved:
        await _tell(tx, await tx.alerts.resolve(resolved, at))


async def look_again(store: "Store", snapshots: "Snapshots", at: datetime) -> int:
    """Resolve alerts whose window is over, or whose limit has grown; how many were looked at."""
    async with store.transaction() as tx:
        standing = await tx.alerts.to_look_at(limit=LOOKS_MAX, before=at - LOOK_AGAIN, at=at)
    over = []
    for alert in standing:
        if not _holds(alert, await snapshots.load(store, alert.account, at), at):
            over.append((alert.account, alert.pool, alert.slot, alert.percent))
    if over:
        async with store.transaction() as tx:
            await _tell(tx, await tx.alerts.resolve(over, at))
    return len(standing)


async def list_alerts(store: "Store", *, account: str, limit: int = 100) -> AlertList:
    """List alerts.

    Thresholds that usage has passed: those that stand, then those that were resolved, the newest first.
    """
    async with store.transaction() as tx:
        return AlertList(account, tuple(await tx.alerts.of(account, limit=limit)))


def _holds(alert: Alert, snapshot: Snapshot, at: datetime) -> bool:
    its = entitlements_at(snapshot, at).get(alert.pool)
    if its is None or slot_of(its.from_at) != alert.slot:
        return False
    decision = decide(snapshot, alert.pool, 0, at)
    return decision.limit is not None and (decision.used or 0) * 100 >= alert.percent * decision.limit > 0


async def _tell(tx: "Transaction", alerts: Sequence[Alert]) -> None:
    for alert in alerts:
        what: Literal["warning", "reached", "resolved"] = "reached" if alert.percent >= 100 else "warning"
        if alert.resolved_at is not None:
            what = "resolved"
        told = ToldAlert(what, alert.account, alert.pool, alert.percent, alert.used, alert.units)
        await tx.tell("paygrade_alert", msgspec.json.encode(told).decode())
