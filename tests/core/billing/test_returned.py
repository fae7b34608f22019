"""What follows from a payment that went back: by the policy alone, and undone with it."""

from datetime import timedelta
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.facts import ReturnedOfPeriod
from paygrade.billing.returned import NOTHING, outcome_of, units_of
from paygrade.billing.standing import standing_at
from paygrade.catalog.model import LADDER_ACCESS as ACCESS
from paygrade.catalog.model import Consequence, Consequences, ReturnedPayment
from paygrade.entitlements.derive import derive
from support.samples import CATALOG, T0, account_with, instants, item, returned, subscription

consequence = st.sampled_from(get_args(Consequence))
consequences = st.builds(Consequences, consequence, consequence)
policies = st.builds(ReturnedPayment, consequences, consequences, st.none() | consequences, consequences)
ORDER: tuple[Consequence, ...] = get_args(Consequence)


@given(returned, policies, instants)
def test_nothing_follows_where_nothing_went_back_or_the_policy_ignores_it(
    went: ReturnedOfPeriod, policy: ReturnedPayment, at: object
) -> None:
    none = replace(went, refunded=0, disputed=0, lost=0, credited=0)
    assert outcome_of(none, policy, at) is NOTHING  # type: ignore[arg-type]  # drawn from typed strategies
    ignored = outcome_of(went, ReturnedPayment(), at)  # type: ignore[arg-type]
    assert not ignored.ended
    assert not ignored.voided
    assert ignored.ends_at is None


@given(returned, policies, instants, st.integers(0, 2**50))
def test_never_more_units_are_void_than_there_are_and_all_of_them_for_all_of_the_money(
    went: ReturnedOfPeriod, policy: ReturnedPayment, at: object, units: int
) -> None:
    outcome = outcome_of(went, policy, at)  # type: ignore[arg-type]
    void = units_of(units, outcome.voided, paid=outcome.paid)
    assert 0 <= void <= units
    assert (void == units) or outcome.voided < outcome.paid
    assert units == 0 or (void == 0) == (outcome.voided == 0)


@given(returned, policies, instants)
def test_a_stricter_word_never_leaves_more(went: ReturnedOfPeriod, policy: ReturnedPayment, at: object) -> None:
    before = outcome_of(went, policy, at)  # type: ignore[arg-type]
    strict = Consequences("end_now", "end_now")
    after = outcome_of(went, replace(policy, refund=strict), at)  # type: ignore[arg-type]
    assert after.ended >= before.ended


@given(returned, instants)
def test_a_dispute_that_is_won_leaves_everything_as_it_was(went: ReturnedOfPeriod, at: object) -> None:
    won = replace(went, refunded=0, disputed=0, lost=0, credited=0)
    bought = subscription(item("pro"), item("extra_calls", 2))
    before = derive(account_with(bought), CATALOG, T0)
    after = derive(account_with(replace(bought, returned=won)), CATALOG, T0)
    assert after == before


def test_a_part_of_a_unit_counts_whole_and_more_money_than_was_paid_counts_once() -> None:
    assert [units_of(3, counted, paid=100) for counted in (0, 1, 33, 34, 99, 100, 250)] == [0, 1, 1, 2, 3, 3, 3]


def test_what_is_held_or_given_once_is_no_units_of_a_payment() -> None:
    half = ReturnedOfPeriod(refunded=50, paid=100)
    its = derive(account_with(replace(subscription(item("pro", 4)), returned=half)), CATALOG, T0).entitlements
    assert (its["api_calls"].limit, its["ai_credits"].limit, its["seats"].limit) == (50_000, 2500, 4)
    assert its["exports"].granted


@pytest.mark.parametrize(
    ("went", "state", "plan"),
    [
        (ReturnedOfPeriod(refunded=100, paid=100), "unpaid", "free"),
        (ReturnedOfPeriod(refunded=40, credited=60, paid=100), "unpaid", "free"),
        (ReturnedOfPeriod(lost=100, paid=100), "unpaid", "free"),
        (ReturnedOfPeriod(disputed=100, paid=100), "active", None),
        (ReturnedOfPeriod(disputed=100, paid=100, until=T0), "unpaid", "free"),
        (ReturnedOfPeriod(disputed=99, paid=100, until=T0), "active", None),
        (ReturnedOfPeriod(refunded=5, paid=0), "active", None),
    ],
)
def test_access_that_ended_for_its_payment_stands_as_unpaid(
    went: ReturnedOfPeriod, state: str, plan: str | None
) -> None:
    standing = standing_at(replace(subscription(), returned=went), CATALOG, T0)
    assert (standing.state, standing.plan) == (state, plan)


def test_what_two_returns_take_is_taken_both_whatever_their_order() -> None:
    policy = ReturnedPayment(
        refund=Consequences(partial="end_at_period_end"), dispute=Consequences(partial="read_only")
    )
    went = ReturnedOfPeriod(refunded=10, disputed=10, paid=100, until=T0 + timedelta(days=3))
    open, over = (outcome_of(went, policy, T0 + timedelta(days=days)) for days in (0, 3))
    assert (open.read_only, open.ends_at, open.ended) == (True, went.until, False)
    assert open.note == (
        "the payment for this period was partly disputed, so only reading and exporting is left until access ends "
        "2026-03-13 12:00 UTC"
    )
    assert (over.read_only, over.ends_at, over.ended) == (False, None, True)
    assert over.note == "the payment for this period was partly refunded, so access has ended"
    now = replace(policy, dispute=Consequences(partial="end_now"))
    assert outcome_of(went, now, T0).ended


@settings(max_examples=30)
@given(returned, policies, instants)
def test_the_standing_is_never_wider_than_what_any_single_word_leaves(
    went: ReturnedOfPeriod, policy: ReturnedPayment, at: object
) -> None:
    bought = replace(subscription(item("pro")), returned=went)
    of_all = standing_at(bought, replace(CATALOG, policies=replace(CATALOG.policies, returned=policy)), at)  # type: ignore[arg-type]  # drawn from typed strategies
    for kind in ("refund", "dispute", "dispute_lost", "credit_note"):
        said = getattr(policy, kind) or policy.dispute
        alone = replace(ReturnedPayment(dispute_lost=Consequences()), **{kind: said})
        catalog = replace(CATALOG, policies=replace(CATALOG.policies, returned=alone))
        one = standing_at(bought, catalog, at)  # type: ignore[arg-type]
        assert ACCESS.index(of_all.access) >= ACCESS.index(one.access)
