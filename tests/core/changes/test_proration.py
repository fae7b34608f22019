"""Laws of proration: whole minor units, to the second, and there and back costs what time was used."""

import itertools
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.facts import BillingMode
from paygrade.catalog.model import Interval, Proration
from paygrade.changes.proration import (
    Billed,
    Costs,
    Line,
    Paid,
    Terms,
    credit,
    debit,
    period_at,
    prorate,
    renewal,
    share,
    until_then,
)

JAN31 = datetime(2026, 1, 31, 12, tzinfo=UTC)
FEB28, MAR31 = datetime(2026, 2, 28, 12, tzinfo=UTC), datetime(2026, 3, 31, 12, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
"""From the 31st of January to the 28th of February there are 28 days."""

MODES: tuple[BillingMode, ...] = ("classic", "flexible")
amounts = st.integers(-(10**12), 10**12)
wholes = st.integers(1, 366 * 86_400)
seconds_of_february = st.integers(0, 28 * 86_400)


def item(amount: int = 2500, quantity: int = 1, *, id: str = "si_1", what: str = "pro", **known: Any) -> Billed:
    """An item that was billed whole for February."""
    paid = Paid(amount * quantity, quantity, JAN31, FEB28)
    return Billed(id, what, amount, quantity, "month", 1, JAN31, FEB28, **{"paid": paid, **known})


def terms(mode: BillingMode = "flexible", proration: Proration = "charge_now", **known: bool) -> Terms:
    return Terms(mode, proration, JAN31, **known)


def amounts_of(costs: Costs) -> list[int]:
    return [line.amount for line in costs.lines]


@given(amounts, wholes, st.data())
def test_a_share_is_the_nearest_whole_number_and_halves_go_away_from_zero(
    amount: int, whole: int, data: st.DataObject
) -> None:
    part = data.draw(st.integers(0, whole))
    exact, shared = Fraction(amount * part, whole), share(amount, part=part, whole=whole)
    assert abs(exact - shared) <= Fraction(1, 2)
    assert abs(shared) >= abs(exact) or abs(exact - shared) < Fraction(1, 2)
    assert share(-amount, part=part, whole=whole) == -shared


@given(amounts, wholes, st.data())
def test_splitting_a_period_costs_what_the_whole_does_to_the_rounding(
    amount: int, whole: int, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, whole), max_size=5)))
    edges = [0, *cuts, whole]
    parts = [share(amount, part=until - begin, whole=whole) for begin, until in itertools.pairwise(edges)]
    assert abs(sum(parts) - amount) * 2 <= len(parts)
    assert share(amount, part=whole, whole=whole) == amount


@given(st.integers(0, 10**9), st.integers(0, 1000), seconds_of_february, st.sampled_from(MODES))
def test_a_credit_and_the_debit_of_the_same_item_cancel_out(
    amount: int, quantity: int, after_s: int, mode: BillingMode
) -> None:
    its, at = item(amount, quantity), JAN31 + after_s * SECOND
    back, due = credit(its, mode, at), debit(its, at)
    assert (back is None) == (due is None) == (at >= FEB28)
    if back is not None and due is not None:
        assert back.amount + due.amount == 0
        assert type(back.amount) is int


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6 * 86_400)), min_size=1, max_size=4))
def test_up_and_down_and_up_again_cost_what_time_was_used(steps: list[tuple[int, int]]) -> None:
    """Classic billing: a credit is of the present price, so each change nets to the difference for the time left."""
    its, at, used, billed = item(3333, 3), JAN31, 0, 3 * 3333
    for quantity, after_s in steps:
        used, at = used + its.quantity * after_s, at + after_s * SECOND
        changed = replace(its, quantity=quantity)
        costs = prorate([its], [changed], terms("classic"), at)
        billed, its = billed + sum(amounts_of(costs)), costs.items[0]
    used += its.quantity * ((FEB28 - at) // SECOND)
    assert abs(billed - Fraction(used * 3333, 28 * 86_400)) <= len(steps)


@given(
    st.sampled_from(MODES),
    st.sampled_from(["charge_now", "next_invoice", "none"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6),
    st.integers(0, 50),
    st.sampled_from(["day", "week", "month", "year"]),
    seconds_of_february,
)
def test_whatever_changes_each_item_ends_up_in_a_period_that_contains_the_instant(
    mode: BillingMode,
    proration: Proration,
    reset: bool,
    idle: bool,
    amount: int,
    quantity: int,
    interval: Interval,
    after_s: int,
) -> None:
    at = JAN31 + after_s * SECOND
    wanted = [replace(item(amount, quantity), interval=interval), item(5, id="si_2", paid=None)]
    costs = prorate([item()], wanted, terms(mode, proration, reset=reset, idle=idle), at)
    assert [its.id for its in costs.items] == ["si_1", "si_2"]
    assert all(its.from_at <= at <= its.until for its in costs.items)
    assert all(type(line.amount) is int and line.from_at <= line.until for line in costs.lines)
    assert all((line.kind == "credit") == (line.amount < 0) for line in costs.lines if line.amount)
    if idle or proration == "none":
        assert not any(line.kind != "period" for line in costs.lines)


def test_an_upgrade_credits_the_old_price_and_debits_the_new_one() -> None:
    costs = prorate([item()], [item(10_000, what="scale")], terms(), JAN31 + 7 * DAY)
    assert costs.at_once
    assert costs.lines == (
        Line("credit", "pro", 1, -1875, JAN31 + 7 * DAY, FEB28),
        Line("debit", "scale", 1, 7500, JAN31 + 7 * DAY, FEB28),
    )


def test_prorations_of_the_next_invoice_are_the_same_lines_later() -> None:
    now = prorate([item()], [item(quantity=3)], terms(), JAN31 + DAY)
    later = prorate([item()], [item(quantity=3)], terms(proration="next_invoice"), JAN31 + DAY)
    assert (later.lines, later.at_once) == (now.lines, False)


def test_without_proration_a_change_is_free_until_the_next_period() -> None:
    costs = prorate([item()], [item(quantity=3)], terms(proration="none"), JAN31 + DAY)
    assert costs.lines == ()
    assert renewal(costs.items, costs.anchor_at) == (FEB28, (Line("period", "pro", 3, 7500, FEB28, MAR31),))


@pytest.mark.parametrize(("mode", "back"), [("classic", -5000), ("flexible", -1250)])
def test_classic_gives_back_what_it_costs_now_and_flexible_what_was_billed(mode: BillingMode, back: int) -> None:
    its = item(10_000, paid=Paid(2500, 1, JAN31, FEB28))
    line = credit(its, mode, JAN31 + 14 * DAY)
    assert line is not None
    assert line.amount == back


def test_flexible_gives_back_nothing_that_was_never_billed() -> None:
    assert credit(item(paid=None), "flexible", JAN31 + DAY) is None
    assert credit(item(paid=None), "classic", JAN31 + 14 * DAY) is not None


def test_flexible_billing_keeps_the_anchor_from_month_to_year() -> None:
    costs = prorate([item()], [replace(item(25_000), interval="year")], terms(), JAN31)
    assert (costs.anchor_at, costs.items[0].until) == (JAN31, datetime(2027, 1, 31, 12, tzinfo=UTC))
    assert (amounts_of(costs), costs.at_once) == ([-2500, 25_000], True)


def test_classic_billing_begins_anew_when_the_interval_changes() -> None:
    at = JAN31 + 14 * DAY
    costs = prorate([item()], [replace(item(25_000), interval="year")], terms("classic", "next_invoice"), at)
    assert (costs.anchor_at, costs.items[0].from_at, costs.items[0].until) == (at, at, at.replace(year=2027))
    assert (amounts_of(costs), costs.at_once) == ([-1250, 25_000], True)


def test_from_free_to_paid_is_billed_at_once() -> None:
    costs = prorate([item(0)], [item(2800)], terms(proration="next_invoice"), JAN31 + 14 * DAY)
    assert (amounts_of(costs), costs.at_once) == ([0, 1400], True)


def test_an_anchor_that_is_reset_bills_a_whole_period_from_now_on() -> None:
    at = JAN31 + 14 * DAY
    costs = prorate([item()], [item(10_000)], terms(proration="next_invoice", reset=True), at)
    assert (amounts_of(costs), costs.at_once, costs.anchor_at) == ([-1250, 10_000], True, at)
    assert amounts_of(prorate([item()], [item(10_000)], terms(proration="none", reset=True), at)) == [10_000]


def test_in_a_trial_nothing_is_billed_and_no_anchor_moves() -> None:
    trial = item(paid=None)
    for proration in ("charge_now", "none"):
        wanted = [replace(trial, amount=25_000, interval="year")]
        costs = prorate([trial], wanted, terms(proration=proration, reset=True, idle=True), JAN31 + DAY)
        assert (costs.lines, costs.at_once, costs.anchor_at) == ((), False, JAN31)
        assert costs.items[0].until == FEB28


def test_what_is_metered_is_never_prorated() -> None:
    metered = item(metered=True, paid=None)
    assert prorate([metered], [replace(metered, amount=10)], terms(), JAN31 + DAY).lines == ()
    assert renewal([metered], JAN31) == (FEB28, ())


def test_items_that_stay_cost_nothing_and_those_that_come_and_go_do() -> None:
    stays, goes, comes = (
        item(),
        item(1000, id="si_2", what="audit"),
        item(500, 4, id="new:calls", what="calls", paid=None),
    )
    costs = prorate([stays, goes], [stays, comes], terms(), JAN31 + 14 * DAY)
    assert [(line.what, line.amount) for line in costs.lines] == [("audit", -500), ("calls", 1000)]


def test_a_currency_without_minor_units_is_counted_in_whole_ones() -> None:
    """Amounts are minor units of whatever currency it is: 980 yen is 980."""
    costs = prorate([item(980)], [item(2980)], terms(), JAN31 + 9 * DAY)
    assert amounts_of(costs) == [-665, 2022]


def test_periods_that_begin_on_a_month_s_last_day_return_to_it() -> None:
    its = item()
    seen = []
    for _ in range(4):
        seen.append(its.until.strftime("%b %d"))
        its = until_then(its, JAN31, its.until + SECOND)
    assert seen == ["Feb 28", "Mar 31", "Apr 30", "May 31"]
    assert its.paid == Paid(2500, 1, its.from_at, its.until)
    assert until_then(its, JAN31, its.until) == its


@given(st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 4), st.integers(-900 * 86_400, 900 * 86_400))
def test_billing_periods_tile_time(interval: Interval, count: int, off_s: int) -> None:
    at = JAN31 + off_s * SECOND
    period = period_at(JAN31, (interval, count), at)
    assert period.until is not None
    assert period.from_at <= at < period.until
    assert period_at(JAN31, (interval, count), period.until).from_at == period.until
