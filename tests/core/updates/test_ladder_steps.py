"""Each step of an access ladder is told on its instant, once, whichever ladder it is of."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.facts import ReturnedOfPeriod, Subscription
from paygrade.billing.standing import standing_at
from paygrade.catalog.model import Catalog, Consequences, Ladder, LadderAccess, Ladders, ReturnedPayment, Step
from paygrade.updates.overview import follow_dates, overview
from support.samples import CATALOG, T0, account_with, item, subscription

SECOND = timedelta(seconds=1)


def told(bought: Subscription, catalog: Catalog, days: int = 400) -> list[tuple[str, timedelta]]:
    """What dates bring about from the first second of the arrears on."""
    account = account_with(bought)
    news, _ = follow_dates(account, catalog, overview(account, catalog, T0), T0, T0 + timedelta(days=days))
    return [(one.type, one.occurred_at - T0) for one in news]


def _ladder(steps: list[tuple[int, LadderAccess]]) -> Ladder:
    ends = [SECOND * sum(length for length, _ in steps[: number + 1]) for number in range(len(steps))]
    given = sorted((access for _, access in steps), key=("full", "read", "none").index)
    return (*(Step(end, access) for end, access in zip(ends, given, strict=True)), Step(None, "none", "free"))


accesses: st.SearchStrategy[LadderAccess] = st.sampled_from(("full", "read", "none"))
ladders = st.lists(st.tuples(st.integers(1, 40 * 86400), accesses), max_size=5).map(_ladder)


@settings(max_examples=25)
@given(ladders, st.sampled_from(("past_due", "unpaid")), st.booleans())
def test_every_step_of_every_ladder_is_told_on_its_second(ladder: Ladder, status: str, own: bool) -> None:
    plans, policies = CATALOG.plans, CATALOG.policies
    if own:
        plans = {**plans, "pro": replace(plans["pro"], ladders=Ladders(**{status: ladder}))}
    else:
        policies = replace(policies, **{status: ladder})
    catalog = replace(CATALOG, plans=plans, policies=policies)
    late = replace(subscription(item("pro"), status=status), unpaid_since=T0)  # type: ignore[arg-type]  # one of two
    ends = [step.until for step in ladder if step.until is not None]
    assert [after for type, after in told(late, catalog) if type == "grace.step"] == ends
    # What access that leaves holds from the same second on.
    for number, end in enumerate(ends, 1):
        before, after = (standing_at(late, catalog, T0 + end - each) for each in (SECOND, 0 * SECOND))
        assert (before.step, after.step) == (number, number + 1)
        assert (after.access, after.plan) == (ladder[number].access, ladder[number].plan)


def test_access_that_ends_with_a_period_that_was_paid_back_is_told_on_its_second() -> None:
    policy = ReturnedPayment(refund=Consequences("end_at_period_end"))
    catalog = replace(CATALOG, policies=replace(CATALOG.policies, returned=policy))
    until = timedelta(days=9, seconds=1)
    went_back = ReturnedOfPeriod(refunded=100, paid=100, until=T0 + until)
    assert ("account.state_changed", until) in told(replace(subscription(item("pro")), returned=went_back), catalog)
