"""Alerts that stand: listed, and resolved by looking again when what ended was no usage (a window, a higher limit)."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.server.operations.balances.alerts import tell_alerts
from paygrade.server.operations.paging import cut, read_place
from paygrade.usage.balances import slot_of
from paygrade.usage.entries import Alert

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.state.snapshots import Snapshots

LOOK_AGAIN = timedelta(seconds=5)
LOOKS_MAX = 500
Percent = Annotated[int, Meta(ge=0, le=1_000_000)]


class AlertList(Struct, frozen=True):
    """Alerts of an account, those that stand first. `next` is the `after` of the next page; None: there is none."""

    account: str
    alerts: tuple[Alert, ...]
    next: str | None


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
            await tell_alerts(tx, await tx.alerts.resolve(over, at), at)
    return len(standing)


async def list_alerts(
    store: "Store", *, account: str, feature: str | None = None, after: str | None = None, limit: int = 100
) -> AlertList:
    """List alerts.

    Thresholds that usage has passed: open ones first, then resolved ones, newest first. Refused `invalid_query`.
    """
    place = read_place(after, tuple[bool, datetime, str, str, Percent], name="after")
    async with store.reading() as tx:
        found = await tx.alerts.of(account, pool=feature, after=place, limit=limit + 1)
    return AlertList(account, *cut(found, limit, _place))


def _place(alert: Alert) -> tuple[object, ...]:
    return alert.resolved_at is not None, alert.raised_at, alert.pool, alert.slot, alert.percent


def _holds(alert: Alert, snapshot: Snapshot, at: datetime) -> bool:
    its = entitlements_at(snapshot, at).get(alert.pool)
    if its is None or its.credit is not None or slot_of(its.from_at) != alert.slot:
        return False
    decision = decide(snapshot, alert.pool, 0, at)
    return decision.limit is not None and (decision.used or 0) * 100 >= alert.percent * decision.limit > 0
