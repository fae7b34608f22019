"""What needs a person, of all accounts: what cannot be read, what differs, what nobody understands, who owes, what ends
soon, and who comes near a limit.

Laws: everything is read by an index and as far as a page shows it, whatever there is; what is more is said to be more.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.drift import Drift
from paygrade.server.operations.accounts.survey import Surveyed, survey
from paygrade.server.operations.sync.inbox import FailingSubject
from paygrade.server.operations.webhooks.endpoints import WebhookEndpoint, list_endpoints
from paygrade.updates.coming import Coming, coming
from paygrade.usage.entries import Alert
from paygrade.values.states import State

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

SOON = timedelta(days=7)
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
    more: frozenset[str]

    @property
    def count(self) -> int:
        return sum(map(len, (self.failing, self.drift, self.found, self.owing, self.ending, self.near, self.endpoints)))


async def attention(store: "Store", *, webhooks: bool, at: datetime) -> Attention:
    """What needs a person now. `webhooks`: look at endpoints, too, for whoever may see them."""
    most, more = LISTED_MAX, set[str]()
    async with store.reading() as tx:
        failing = [FailingSubject(*row) for row in await tx.subjects.failing(most + 1)]
        drift = await tx.drifts.page(open_only=True, before=None, limit=most + 1)
        soon = await tx.announcements.soon(until=at + SOON, limit=LOOKED_AT_MAX)
        alerts = await tx.alerts.standing(limit=LOOKED_AT_MAX)
    found = await survey(store, limit=most, finding="any", at=at)
    owing: list[Surveyed] = []
    for state in OWING:
        owing += (await survey(store, limit=most + 1, state=state, at=at)).accounts
    ending = sorted(
        (
            Ending(each.account, one)
            for each in soon
            if each.overview is not None
            for one in coming(each.overview, at)
            if one.ends_at <= at + SOON
        ),
        key=lambda ending: ending.coming.ends_at,
    )
    endpoints = (await list_endpoints(store, after="", limit=LOOKED_AT_MAX)).endpoints if webhooks else ()
    failed = [each for each in endpoints if each.warning is not None or each.undelivered]
    near = _nearest(alerts)
    for kind, its in (("failing", failing), ("drift", drift), ("owing", owing), ("ending", ending), ("near", near)):
        if len(its) > most:
            more.add(kind)
    if found.next is not None:
        more.add("found")
    return Attention(
        tuple(failing[:most]), tuple(drift[:most]), found.accounts, tuple(owing[:most]), tuple(ending[:most]),
        tuple(near[:most]), tuple(failed[:most]), frozenset(more),
    )  # fmt: skip


def _nearest(alerts: list[Alert]) -> list[Alert]:
    """Of each account and feature the highest threshold, those who are furthest first."""
    highest: dict[tuple[str, str], Alert] = {}
    for alert in alerts:
        key = alert.account, alert.pool
        if key not in highest or highest[key].percent < alert.percent:
            highest[key] = alert
    return sorted(highest.values(), key=lambda alert: (-alert.percent, alert.account, alert.pool))
