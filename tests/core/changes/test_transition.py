"""Settlements: a change that has come about is settled as its quote said, once, and never gives less than is bought."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from test_quote import (
    BOUGHT,
    DAY,
    FEB14,
    FEB28,
    JAN31,
    NOW,
    USUAL,
    WANTED,
    _stated,
    account,
    asked,
    catalog,
)
from test_quote import bought as item_of

from paygrade.billing.accounts import Account, apply, replay
from paygrade.billing.facts import DowngradeGrace, Fact, Phase, Subscription
from paygrade.catalog.model import Catalog
from paygrade.changes.plan_change import asked_for
from paygrade.changes.request import ChangeRequest
from paygrade.changes.transition import (
    PlanTransition,
    as_stood,
    bought,
    has_changed,
    is_as_expected,
    may_have_changed,
    next_turn,
    transition,
)
from paygrade.decisions.decide import decide
from paygrade.decisions.take import snapshot
from paygrade.entitlements.derive import derive
from paygrade.usage.balances import Balance
from paygrade.values.errors import Refused
from support.samples import CATALOG, T0, customer_fact, item, subscription

RULES = st.sampled_from(
    [
        (),
        ({**NOW, "usage": "convert", "over_limit": "grace", "grace": "14d"},),
        ({"direction": "downgrade", "when": "now", "over_limit": "keep"}, {**NOW, "usage": "prorate"}),
        ({"direction": "upgrade", "when": "refuse"}, {**NOW, "usage": "reset"}),
    ]
)


def settled(
    before: Account, after: Account, sold: Catalog = USUAL, *, at: datetime = FEB14, since: datetime | None = None,
    calls: int = 0, projects: int = 0,
) -> PlanTransition | None:  # fmt: skip
    # Calls were used in the window that ran before; where another one has begun, nothing was used in it.
    window = snapshot(before, sold, at).segments[0].entitlements["calls"].from_at
    held = replace(
        snapshot(after, sold, at), balances={"calls": Balance(calls, 0, window), "projects": Balance(projects)}
    )
    return transition(before, since or at, after, sold, held, at, change="chg_1", active_at={})


@given(WANTED, BOUGHT, RULES, st.integers(0, 27 * 86_400), st.integers(0, 9999), st.integers(0, 99))
def test_what_a_quote_said_is_what_follows_when_nothing_else_has_changed(
    wanted: ChangeRequest, item: tuple[str, int, str], rules: Any, after_s: int, calls: int, projects: int
) -> None:
    at, sold = JAN31 + timedelta(seconds=after_s), catalog(*rules)
    known = account(item_of(item[0], item[1], interval=item[2]))
    try:
        made = asked(known, replace(wanted, when="now"), sold, at=at, calls=calls, levels={"projects": projects})
    except Refused:
        return
    after = _stated(known, made)
    found = settled(known, after, sold, at=at, calls=calls, projects=projects)
    assert found is not None
    assert (found.direction, found.matched) == (made.direction, made.matched)
    assert (found.plan_before, found.plan_after) == (made.plan_before, made.plan_after)
    assert [(d.feature, d.how, d.before, d.after) for d in found.deltas] == [
        (d.feature, d.how, d.before, d.after) for d in made.deltas
    ]
    assert found.usage == made.usage
    # The periods of `_stated` are roughly those a provider would have.
    assert [replace(v, until=None) for v in found.violations] == [replace(v, until=None) for v in made.violations]
    expected = asked_for(made, id="chg_1", key="k", subject="stripe:cus_1", at=at).expected
    assert expected is not None
    assert is_as_expected(expected, bought(after, sold, at).get("sub_1", ()))


@given(BOUGHT, st.integers(0, 27 * 86_400))
def test_what_has_not_changed_is_not_settled(item: tuple[str, int, str], after_s: int) -> None:
    known, at = account(item_of(item[0], item[1], interval=item[2])), JAN31 + timedelta(seconds=after_s)
    assert settled(known, known, at=at, since=JAN31) is None
    # Another name for the same price, or another period, is no change of what is bought.
    (customer,) = known.customers
    (one,) = customer.subscriptions
    later = replace(one, items=tuple(replace(i, id="si_other", period_from_at=at) for i in one.items))
    stated = Fact(9, "stripe:cus_1", 9, at, replace(customer, subscriptions=(later,)))
    assert settled(known, apply(known, stated), at=at) is None


@given(BOUGHT, RULES, st.integers(0, 99))
def test_what_is_left_for_a_while_never_gives_less_than_what_is_bought(
    item: tuple[str, int, str], rules: Any, projects: int
) -> None:
    sold = catalog(*rules)
    known = account(item_of(item[0], item[1], interval=item[2]))
    after = account(item_of("pro" if item[0] == "scale" else "scale", 1))
    found = settled(known, after, sold, projects=projects)
    assert found is not None
    left = after
    for number, leeway in enumerate(found.leeways, start=50):
        left = apply(left, Fact(number, f"leeway:{leeway.feature}", number, FEB14, leeway))
    for feature, its in derive(after, sold, FEB14).entitlements.items():
        more = derive(left, sold, FEB14).entitlements[feature]
        assert more.granted >= its.granted
        assert more.limit is None or (its.limit is not None and more.limit >= its.limit)
    over = max((leeway.until for leeway in found.leeways), default=FEB14)
    assert derive(left, sold, over).entitlements == derive(after, sold, over).entitlements


def test_a_leeway_is_a_segment_of_its_own_and_names_its_change() -> None:
    known = account(item_of("pro"))
    left = apply(known, Fact(9, "leeway:projects", 9, FEB14, DowngradeGrace("projects", 40, FEB14 + 3 * DAY, "chg_1")))
    seen = snapshot(left, USUAL, FEB14)
    assert seen.segments[0].until == FEB14 + 3 * DAY
    held = replace(seen, balances={"projects": Balance(12)})
    now, later = decide(held, "projects", 1, FEB14), decide(held, "projects", 1, FEB14 + 3 * DAY)
    assert (now.allowed, now.reason, now.limit) == (True, "grace", 40)
    assert (now.sources[-1].kind, now.sources[-1].note) == ("leeway", "chg_1")
    assert (later.allowed, later.limit) == (False, 10)


def test_a_leeway_opens_nothing_that_is_suspended() -> None:
    paused = account(item_of("pro"), status="paused")
    left = apply(paused, Fact(9, "leeway:projects", 9, FEB14, DowngradeGrace("projects", 40, FEB28, "chg_1")))
    assert derive(left, USUAL, FEB14).entitlements["projects"].limit == 2
    blocked = account(item_of("pro"), status="unpaid")
    left = apply(blocked, Fact(9, "leeway:sso", 9, FEB14, DowngradeGrace("sso", 1, FEB28, "chg_1")))
    assert not derive(left, USUAL, FEB14).entitlements["sso"].granted


def test_an_end_that_came_by_its_date_is_settled_as_what_it_was_until_then() -> None:
    ending = account(item_of("pro"), ends_at=FEB28)
    assert next_turn(ending, FEB14) == FEB28
    sold = catalog({"direction": "downgrade", "when": "period_end", "over_limit": "grace", "grace": "7d"})
    assert settled(ending, ending, sold, at=FEB28 - timedelta(seconds=1), since=FEB14) is None
    found = settled(ending, ending, sold, at=FEB28, since=FEB14, projects=9)
    assert found is not None
    assert (found.direction, found.plan_before, found.plan_after) == ("downgrade", "pro@1", "free@1")
    assert [(leeway.feature, leeway.limit, leeway.until) for leeway in found.leeways] == [
        ("projects", 10, FEB28 + 7 * DAY)
    ]
    assert settled(ending, ending, sold, at=FEB28 + DAY, since=FEB28) is None
    stood = as_stood(ending, FEB14, FEB28)
    assert derive(stood, sold, FEB28).entitlements["exports"].granted


def test_a_trial_that_ran_out_to_nothing_is_settled_as_an_end() -> None:
    trial = account(item_of("pro"), status="trialing", trial_ends_at=FEB28, after_trial="canceled")
    found = settled(trial, trial, at=FEB28, since=FEB14)
    assert found is not None
    assert (found.direction, found.plan_after) == ("downgrade", "free@1")
    assert {delta.feature for delta in found.deltas} >= {"exports", "projects"}


def test_a_rule_that_refuses_is_passed_over_for_what_has_happened() -> None:
    sold = catalog({"direction": "upgrade", "when": "refuse"}, {"when": "now", "usage": "reset"})
    found = settled(account(item_of("pro")), account(item_of("scale")), sold, calls=10)
    assert found is not None
    assert found.matched.number == 2
    assert [(u.feature, u.used_after) for u in found.usage] == [("calls", 0)]


def test_a_change_is_there_with_the_price_that_was_asked_for_as_far_as_both_are_known() -> None:
    monthly, yearly, unknown = (
        bought(account(one), USUAL, FEB14)["sub_1"]
        for one in (
            item_of("pro"),
            item_of("pro", interval="year"),
            replace(item_of("pro"), lookup_key=None, plan="pro"),
        )
    )
    wanted = (("pro", 1, "pro_year"),)
    assert [is_as_expected(wanted, found) for found in (monthly, yearly, unknown)] == [False, True, True]
    assert is_as_expected((("pro", 1, None),), monthly)


LINES = st.builds(
    lambda what, line, quantity: replace(item(what, quantity), id=line),
    st.sampled_from(["pro", "scale", "extra_calls", "nothing"]),
    st.sampled_from(["si_1", "si_2", "planned:price_unmapped"]),
    st.integers(0, 2),
)
READINGS = st.builds(
    lambda lines, to_come, status: subscription(*lines, status=status, next=to_come),
    st.lists(LINES, min_size=1, max_size=2, unique_by=lambda line: line.id),
    st.lists(st.builds(Phase, st.just(T0 + timedelta(days=1)), st.lists(LINES, max_size=2).map(tuple)), max_size=1).map(
        tuple
    ),
    st.sampled_from(["active", "trialing", "past_due", "canceled", None]),
)


@given(st.lists(READINGS, min_size=2, max_size=4), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2))
@example(  # the same price that nothing names, first in a line that was planned, then in one that bought something
    [
        subscription(
            replace(item("pro"), id="si_1"),
            replace(item("scale"), id="si_2"),
            next=(Phase(T0 + timedelta(days=1), (replace(item("nothing"), id="planned:price_unmapped"),)),),
        ),
        subscription(replace(item("nothing"), id="si_1")),
    ],
    1,
    1,
    1,
)
@example(  # nothing is bought, then nothing that is known: what the line bought is still there
    [
        subscription(replace(item("pro", 0), id="si_1")),
        subscription(
            replace(item("pro"), id="si_1"),
            next=(Phase(T0 + timedelta(days=1), (replace(item("nothing", 0), id="si_1"),)),),
        ),
    ],
    1,
    0,
    1,
)
def test_what_may_have_changed_is_all_that_has_whatever_is_sold(
    readings: list[Subscription], unseen: int, since_days: int, days: int
) -> None:
    """The quick look, which knows no catalog, passes nothing over, however many readings came since the last look."""
    facts = [customer_fact(one, number=number) for number, one in enumerate(readings, start=1)]
    before, after = replay("acme", facts[:-unseen]), replay("acme", facts)
    since, at = T0 + timedelta(days=since_days), T0 + timedelta(days=since_days + days)
    if has_changed(before, since, after, CATALOG, at):
        assert may_have_changed(before, since, after, at)
