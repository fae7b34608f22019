"""Reports: what the provider should have been told of the usage in a window, by whom it is paid, and when to tell it.

Laws: `reportable` is pure, and the deltas that are told add up to it; what is told of a window carries an instant of
that window, within whole minutes, so that the provider's sum over those minutes is what was told and nothing else;
no two events of one window have the same identifier, and one that is told again has the one it had.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Customer
from paygrade.billing.standing import Standing, standing_at
from paygrade.catalog.model import Catalog, Plan
from paygrade.catalog.offers import MeteredFeature
from paygrade.entitlements.model import Entitlement
from paygrade.entitlements.sources import bought_by
from paygrade.values.periods import Period
from paygrade.values.states import NOT_LIVE

PAST, FUTURE = timedelta(days=34), timedelta(minutes=5)
"""How old usage may be when it is told, and how far ahead. Stripe takes 35 calendar days and 5 minutes
(https://docs.stripe.com/api/billing/meter-event/create); a day is left for clocks and zones."""
SURE = timedelta(hours=23)
"""How long telling an event again is sure to count once: Stripe knows an identifier for at least 24 hours."""

OpenReport = Literal["failing", "not_reported", "different"]
"""Why a report needs attention: it has an `error`, a `reason`, or a `difference`."""

_MINUTE = timedelta(minutes=1)
_SECOND = timedelta(seconds=1)
_PAID_FOR = (None, "trialing", "active", "grace")
"""States in which going over a soft limit is bought; a plan that stands in for arrears sells nothing."""


class MeterEvent(Struct, frozen=True):
    """Usage of a customer as it is told to a meter of the provider: `quantity` units more (below 0: fewer) at `at`."""

    identifier: str
    meter: str
    customer: str
    quantity: int
    at: datetime


def reportable(feature: MeteredFeature, used: int, entitlement: Entitlement) -> int | None:
    """How many of the units `used` in a window the provider should know of.

    None: nothing can be said at the moment, and what was told stays. That is so where more was used than a limit
    allows which nobody may go over: it shrank, or arrears closed it, and nobody agreed to pay for the difference.
    """
    if feature.report == "all":
        return max(0, used)
    if used <= 0:
        return 0
    if not entitlement.granted or entitlement.credit is not None:
        return None
    if entitlement.unlimited or entitlement.limit is None or used <= entitlement.limit:
        return 0
    state = entitlement.sources[0].state if entitlement.sources else None
    if entitlement.owes:
        return 0
    return used - entitlement.limit if entitlement.soft and state in _PAID_FOR else None


def payer(account: Account, catalog: Catalog, at: datetime) -> str | None:
    """The customer who pays at `at`: whose live subscription buys the plan, else any with a live one; None: nobody."""
    found = sorted(_paying(account, catalog, at), key=lambda pair: _rank(pair[1], catalog))
    return found[0][0].id if found else None


def _paying(account: Account, catalog: Catalog, at: datetime) -> Iterator[tuple[Customer, Standing]]:
    counted = {subscription.id: subscription for subscription in account.subscriptions}
    for customer in account.customers:
        for subscription in customer.subscriptions:
            standing = standing_at(counted[subscription.id], catalog, at)
            if not customer.deleted and standing.state not in NOT_LIVE:
                yield customer, standing


def _rank(standing: Standing, catalog: Catalog) -> tuple[bool, bool]:
    buys_plan = any(isinstance(bought_by(catalog, item), Plan) for item in standing.subscription.items)
    return not buys_plan, standing.access == "none"


def last_instant(window: Period, at: datetime) -> datetime:
    """The instant whose limits and payer count for the window: `at`, or its last if it is over."""
    return at if window.until is None else min(at, window.until - timedelta.resolution)


def stamp(window: Period, at: datetime) -> datetime | None:
    """The instant an event told at `at` about this window carries; None: it is too late to tell of it."""
    first = _minute_after(window.from_at)
    stamped = max(at, first)
    if window.until is not None:
        stamped = min(stamped, _minute_before(window.until) - _SECOND)
    stamped = stamped.replace(microsecond=0)
    return stamped if at - PAST <= stamped <= at + FUTURE and stamped >= first else None


def summed_span(window: Period, at: datetime) -> Period:
    """The whole minutes over which the provider's sum, asked for at `at`, is what was told of the window."""
    until = _minute_before(at) + _MINUTE
    if window.until is not None:
        until = min(until, _minute_before(window.until))
    first = _minute_after(window.from_at)
    return Period(first, max(until, first + _MINUTE))


def identifier(account: str, feature: str, slot: str, *, number: int, reported: int, pending: int) -> str:
    """The name of the window's event `number`, which tells `pending` units after `reported` were told."""
    parts = (account, feature, slot, str(number), str(reported), str(pending))
    # A length before each part: no two lists of parts give the same text.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return f"pg_{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def _minute_before(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _minute_after(at: datetime) -> datetime:
    before = _minute_before(at)
    return before if before == at else before + _MINUTE
