"""What needs a person, of all accounts: what cannot be read, what differs, what nobody understands, who owes, what was
not bought or not billed, what waits for a second person, what ends soon, and who comes near a limit.

Laws: everything is read by an index and as far as a page shows it, whatever there is; what is more is said to be more.
"""

from collections.abc import Sequence, Set
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from paygrade.billing.drift import Drift
from paygrade.server.operations.accounts.provider_reports import UsageReport, view_report
from paygrade.server.operations.accounts.survey import Surveyed, survey
from paygrade.server.operations.approvals import ApprovalView, view
from paygrade.server.operations.sync.inbox import FailingSubject
from paygrade.server.operations.webhooks.endpoints import WebhookEndpoint, list_endpoints
from paygrade.server.process.scopes import Scope
from paygrade.updates.coming import Coming, coming
from paygrade.updates.overview import Announced
from paygrade.usage.entries import Alert
from paygrade.usage.top_ups import TopUpPurchase
from paygrade.values.states import State

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

LIMITS_LOOKED_AT_MAX = 1000
SOON, LATELY = timedelta(days=7), timedelta(days=31)
LISTED_MAX, LOOKED_AT_MAX = 6, 200
OWING: tuple[State, ...] = ("unpaid", "past_due", "grace")
"""The states in which money is owed, those that take most first."""


class Ending(Struct, frozen=True):
    """What ends soon, and of which account."""

    account: str
    coming: Coming


class Attention(Struct, frozen=True):
    """What needs a person, at most `LISTED_MAX` of each kind. `more`: the kinds of which there is more."""

    failing: tuple[FailingSubject, ...]
    drift: tuple[Drift, ...]
    found: tuple[Surveyed, ...]
    owing: tuple[Surveyed, ...]
    ending: tuple[Ending, ...]
    near: tuple[Alert, ...]
    endpoints: tuple[WebhookEndpoint, ...]
    approvals: tuple[ApprovalView, ...]
    top_ups: tuple[TopUpPurchase, ...]
    reports: tuple[UsageReport, ...]
    more: frozenset[str]

    @property
    def count(self) -> int:
        kinds = (getattr(self, name) for name in self.__struct_fields__ if name != "more")
        return sum(map(len, kinds))


async def attention(store: "Store", *, scopes: Set[Scope], at: datetime) -> Attention:
    """What needs a person now, of what these scopes open beside accounts."""
    most, billing = LISTED_MAX, "billing:read" in scopes
    async with store.reading() as tx:
        failing = [FailingSubject(*row) for row in await tx.subjects.failing(most + 1)]
        drift = await tx.drifts.page(open_only=True, before=None, limit=most + 1)
        soon = await tx.announcements.soon(until=at + SOON, limit=LOOKED_AT_MAX)
        alerts = await tx.alerts.standing(limit=LOOKED_AT_MAX)
        waiting = await tx.approvals.waiting(at=at, limit=most + 1) if "approvals:read" in scopes else ()
        top_ups = await tx.top_ups.failed(since=at - LATELY, limit=most + 1) if billing else ()
        reports = await tx.reports.page(limit=most + 1) if billing else ()
    found = await survey(store, limit=most, finding="any", at=at)
    owing: list[Surveyed] = []
    for state in OWING:
        owing += (await survey(store, limit=most + 1, state=state, at=at)).accounts
    sees_endpoints = "webhooks:read" in scopes
    endpoints = (await list_endpoints(store, after="", limit=LOOKED_AT_MAX)).endpoints if sees_endpoints else ()
    kinds: dict[str, Sequence[Any]] = {  # Any: of every kind
        "failing": failing,
        "drift": drift,
        "found": found.accounts,
        "owing": owing,
        "ending": _ending(soon, at),
        "near": _nearest(alerts),
        "endpoints": [each for each in endpoints if each.warning is not None or each.undelivered],
        "approvals": [view(each, at) for each in waiting],
        "top_ups": top_ups,
        "reports": [view_report(each) for each in reports],
    }
    more = {kind for kind, its in kinds.items() if len(its) > most}
    if found.next is not None:
        more.add("found")
    return Attention(**{kind: tuple(its[:most]) for kind, its in kinds.items()}, more=frozenset(more))


async def near_limits(store: "Store", *, feature: str | None = None, limit: int) -> tuple[Alert, ...]:
    """Who has passed a threshold of a limit, of this feature or credit or of all, those who are furthest first: of the
    `LIMITS_LOOKED_AT_MAX` alerts that were looked at last."""
    async with store.reading() as tx:
        alerts = await tx.alerts.standing(limit=LIMITS_LOOKED_AT_MAX)
    return tuple(_nearest([each for each in alerts if feature in (None, each.pool)])[:limit])


def _ending(soon: Sequence[Announced], at: datetime) -> list[Ending]:
    """What ends soon of these, the soonest first."""
    found = [
        Ending(each.account, one)
        for each in soon
        if each.overview is not None
        for one in coming(each.overview, at)
        if one.ends_at <= at + SOON
    ]
    return sorted(found, key=lambda ending: ending.coming.ends_at)


def _nearest(alerts: list[Alert]) -> list[Alert]:
    """Of each account and feature the highest threshold, those who are furthest first."""
    highest: dict[tuple[str, str], Alert] = {}
    for alert in alerts:
        key = alert.account, alert.pool
        if key not in highest or highest[key].percent < alert.percent:
            highest[key] = alert
    return sorted(highest.values(), key=lambda alert: (-alert.percent, alert.account, alert.pool))
