"""Law 12 and the dates a subscription carries: they take effect on the instant, and no ladder step is skipped."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.facts import Phase, Subscription
from paygrade.billing.standing import in_phase, rung, standing_at
from paygrade.catalog.model import Step
from paygrade.values.states import State, Status
from support.samples import CATALOG, T0, instants, item, subscription, subscriptions

DAY = timedelta(days=1)
ladders = st.lists(st.timedeltas(timedelta(hours=1), timedelta(days=30)), max_size=4).map(
    lambda lengths: (
        *(Step(sum(lengths[: n + 1], timedelta()), "full") for n in range(len(lengths))),
        Step(None, "none", "free"),
    )
)


@given(ladders, instants)
def test_no_ladder_step_is_skipped_and_each_begins_where_the_last_ended(
    ladder: tuple[Step, ...], anchor: object
) -> None:
    at, seen = T0, []
    while True:
        step, until = rung(ladder, T0, at)
        seen.append(step)
        if until is None:
            break
        assert rung(ladder, T0, until - timedelta(microseconds=1))[0] == step
        at = until
    assert tuple(seen) == ladder


@given(ladders, st.timedeltas(timedelta(), timedelta(days=400)))
def test_a_late_look_finds_the_step_of_its_date(ladder: tuple[Step, ...], late: timedelta) -> None:
    step, _ = rung(ladder, T0, T0 + late)
    index = ladder.index(step)
    assert step.until is None or late < step.until
    assert index == 0 or late >= (ladder[index - 1].until or timedelta())


@given(subscriptions("x"), instants)
def test_a_standing_holds_until_the_date_it_names(subscription: object, at: object) -> None:
    standing = standing_at(subscription, CATALOG, at)  # type: ignore[arg-type]  # drawn from typed strategies
    if standing.until is not None:
        assert standing.until > at  # type: ignore[operator]
        just_before = standing_at(subscription, CATALOG, standing.until - timedelta(microseconds=1))  # type: ignore[arg-type]
        assert (just_before.state, just_before.access, just_before.plan) == (
            standing.state,
            standing.access,
            standing.plan,
        )


@pytest.mark.parametrize(
    ("status", "state", "access"),
    [
        ("trialing", "trialing", "full"),
        ("active", "active", "full"),
        ("past_due", "grace", "full"),
        ("unpaid", "unpaid", "none"),
        ("paused", "paused", "none"),
        ("incomplete", "incomplete", "none"),
        ("canceled", "canceled", "none"),
        ("expired", "expired", "none"),
        (None, "incomplete", "none"),
    ],
)
def test_each_provider_status_becomes_one_state(status: Status | None, state: State, access: str) -> None:
    standing = standing_at(subscription(status=status, unpaid_since=T0), CATALOG, T0)
    assert (standing.state, standing.access) == (state, access)


def test_the_ladder_leads_from_grace_over_read_to_the_free_plan() -> None:
    late = subscription(status="past_due", unpaid_since=T0)
    at_days = {days: standing_at(late, CATALOG, T0 + days * DAY) for days in (0, 6, 7, 20, 21, 300)}
    assert [(s.state, s.access, s.plan) for s in at_days.values()] == [
        ("grace", "full", None),
        ("grace", "full", None),
        ("past_due", "read", None),
        ("past_due", "read", None),
        ("past_due", "none", "free"),
        ("past_due", "none", "free"),
    ]


def test_a_set_cancellation_takes_effect_at_its_instant_though_nobody_said_so() -> None:
    ending = subscription(ends_at=T0 + DAY)
    assert standing_at(ending, CATALOG, T0 + DAY - timedelta(microseconds=1)).state == "active"
    assert standing_at(ending, CATALOG, T0 + DAY).state == "canceled"


def test_a_planned_phase_takes_effect_at_its_instant_though_nobody_said_so() -> None:
    later = Phase(T0 + 2 * DAY, (item("pro", 7),), trial_ends_at=T0 + 4 * DAY)
    planned = replace(subscription(item("pro")), next=(Phase(T0 + DAY, (item("scale"),)), later))
    assert standing_at(planned, CATALOG, T0).until == T0 + DAY
    assert standing_at(planned, CATALOG, T0 + DAY - timedelta(microseconds=1)).subscription == planned
    first = standing_at(planned, CATALOG, T0 + DAY)
    assert (first.state, first.until, first.subscription.items) == ("active", T0 + 2 * DAY, (item("scale"),))
    assert first.subscription.next == (later,)
    second = standing_at(planned, CATALOG, T0 + 3 * DAY)
    assert (second.state, second.until, second.subscription.items) == ("trialing", T0 + 4 * DAY, (item("pro", 7),))
    assert standing_at(planned, CATALOG, T0 + 5 * DAY).state == "active"


@given(subscriptions("x"), instants, instants)
def test_what_is_in_a_phase_by_then_stands_as_it_will_from_there_on(
    stated: Subscription, at: datetime, later: datetime
) -> None:
    at, later = min(at, later), max(at, later)
    assert in_phase(in_phase(stated, at), later).items == in_phase(stated, later).items
    ended = in_phase(replace(stated, status="canceled"), later)
    assert ended.items == stated.items


@pytest.mark.parametrize("after", ["active", "canceled", "paused"])
def test_a_trial_turns_into_what_the_provider_will_make_of_it(after: Status) -> None:
    trial = subscription(status="trialing", trial_ends_at=T0 + DAY, after_trial=after)
    assert standing_at(trial, CATALOG, T0).until == T0 + DAY
    assert standing_at(trial, CATALOG, T0 + DAY).state == after
