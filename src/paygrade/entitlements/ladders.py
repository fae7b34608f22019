"""What each state of a subscription leaves of a plan, step by step: the whole access ladder as one table.

Laws: nothing here says what is left; a subscription is put into each state, and those who decide are asked at each
instant at which a date changes it. So the table holds for every account that has the plan in its newest version, and
no override, block or other subscription.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Fact, Item, ManualSubscription, Profile, ReturnedOfPeriod, Subscription
from paygrade.billing.standing import Standing, standing_at
from paygrade.catalog.model import Catalog, Consequence, Plan
from paygrade.catalog.offers import Access, BooleanFeature, Credit
from paygrade.entitlements.sources import Holding, holdings, opens
from paygrade.values.states import State, Status

ACCESS: tuple[Access, ...] = get_args(Access)
Return = Literal["refund", "dispute", "dispute_lost", "credit_note"]
_BEGUN_AT = datetime(2200, 1, 1, tzinfo=UTC)
"""Later than any version was kept for, so that the newest counts; when exactly has no meaning."""
_PAID_UNTIL = _BEGUN_AT + timedelta(days=30)
_RETURNED: dict[Return, dict[str, int]] = {
    "refund": {"refunded": 1},
    "dispute": {"disputed": 1},
    "dispute_lost": {"lost": 1},
    "credit_note": {"credited": 1},
}


class AccessLeft(Struct, frozen=True, kw_only=True):
    """What is left of a plan while its subscription stands so: the classes of features that are open, and whether its
    credits can be spent. `counts_as`: the plan that counts in its place, or beside it; None: no other does.

    `step` is that of its ladder. It begins `from_s` seconds after the arrears did and ends after `until_s` (None: it
    lasts). `returned`: all of the payment of the period went back in this way, and the catalog has the `consequence`
    for it; `from_s` None: from the end of that period on.
    """

    status: Status
    state: State
    open: tuple[Access, ...]
    credits: bool
    counts_as: str | None = None
    step: int | None = None
    from_s: int | None = 0
    until_s: int | None = None
    returned: Return | None = None
    consequence: Consequence | None = None


class PlanLadder(Struct, frozen=True):
    """The whole ladder of a plan, from a trial to its end."""

    plan: str
    rows: tuple[AccessLeft, ...]


def ladder_table(catalog: Catalog, plan: Plan) -> PlanLadder:
    """What each state leaves of a plan on sale."""
    rows = [row for status in get_args(Status) for row in _rows(catalog, plan, _bought(plan, status))]
    for returned, amounts in _RETURNED.items():
        went_back = ReturnedOfPeriod(paid=1, until=_PAID_UNTIL, **amounts)
        said: Any = catalog.policies.returned  # Any: its fields are of one type, and have the names of `Return`
        consequence = (getattr(said, returned) or said.dispute).full
        for row in _rows(catalog, plan, replace(_bought(plan, "active"), returned=went_back)):
            # Where the paid period ends is no number of seconds.
            from_s, until_s = (row.from_s, None) if row.from_s == 0 else (None, row.until_s)
            rows.append(replace(row, returned=returned, consequence=consequence, from_s=from_s, until_s=until_s))
    return PlanLadder(plan.ref, tuple(rows))


def _bought(plan: Plan, status: Status) -> Subscription:
    unpaid_since = _BEGUN_AT if status in ("past_due", "unpaid") else None
    return Subscription("sub", status, (Item("item", plan=plan.key),), _BEGUN_AT, unpaid_since=unpaid_since)


def _rows(catalog: Catalog, plan: Plan, subscription: Subscription) -> Iterator[AccessLeft]:
    account = apply(Account("account"), Fact(1, "profile", 1, _BEGUN_AT, Profile(_BEGUN_AT)))
    account = apply(account, Fact(2, "subscription:sub", 2, _BEGUN_AT, ManualSubscription(subscription)))
    at: datetime | None = _BEGUN_AT
    while at is not None:
        standing = standing_at(subscription, catalog, at)
        yield _row(plan, subscription, standing, holdings(account, catalog, at), at)
        at = standing.until


def _row(
    plan: Plan, subscription: Subscription, standing: Standing, had: tuple[Holding, ...], at: datetime
) -> AccessLeft:
    own = next((one for one in had if one.standing is not None and not one.stands_in), None)
    instead = next((one.bought.key for one in had if isinstance(one.bought, Plan) and one is not own), None)
    assert subscription.status is not None
    return AccessLeft(
        status=subscription.status,
        state=standing.state,
        open=tuple(each for each in ACCESS if own is not None and opens(own, BooleanFeature(plan.key, access=each))),
        credits=own is not None and opens(own, Credit(plan.key)),
        counts_as=instead,
        step=standing.step,
        from_s=_seconds(at),
        until_s=None if standing.until is None else _seconds(standing.until),
    )


def _seconds(at: datetime) -> int:
    return int((at - _BEGUN_AT).total_seconds())
