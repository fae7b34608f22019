"""Contracts: what follows from terms by date alone."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from paygrade.billing.contracts import (
    billed_months,
    by_the_month,
    months_between,
    period_at,
    subscription_of,
    term_at,
)
from paygrade.billing.facts import Contract
from paygrade.billing.standing import standing_at
from paygrade.catalog.model import NO_CATALOG
from paygrade.values.periods import add_months

T0 = datetime(2026, 1, 31, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANTS = st.integers(0, 15 * 365 * 24).map(
    lambda hours: datetime(2025, 1, 1, tzinfo=UTC) + hours * timedelta(hours=1)
)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    starts_at, months = draw(INSTANTS), draw(st.none() | st.integers(1, 40))
    return Contract(
        plan="pro",
        starts_at=starts_at,
        ends_at=None if months is None else add_months(starts_at.replace(day=min(starts_at.day, 28)), months),
        renews=months is not None and starts_at.day <= 28 and draw(st.booleans()),
        amount=draw(st.integers(0, 10**12)),
        currency="usd",
        interval=draw(st.sampled_from(["month", "year"])),
        interval_count=draw(st.integers(1, 6)),
    )


@given(contracts(), INSTANTS)
def test_terms_and_periods_tile_time_without_gap_or_overlap(contract: Contract, at: datetime) -> None:
    term, period = term_at(contract, at), period_at(contract, at)
    assert period.until is not None
    assert period.from_at == contract.starts_at or period.from_at <= at
    assert at < period.until
    assert period_at(contract, period.until).from_at == period.until
    if term.state == "active":
        assert term.from_at <= at
        assert term.until is None or at < term.until
    if contract.renews:
        assert term.until is not None
        assert term_at(contract, term.until).from_at == term.until


@given(contracts(), INSTANTS)
def test_a_contract_gives_what_it_sells_from_its_start_to_its_end_and_at_no_other_time(
    contract: Contract, at: datetime
) -> None:
    standing = standing_at(subscription_of("contract:a", contract), NO_CATALOG, at)
    states = {"planned": "incomplete", "active": "active", "ended": "canceled"}
    assert standing.state == states[term_at(contract, at).state]
    assert (standing.access == "full") == (standing.state == "active")
    if standing.until is not None:
        assert term_at(contract, standing.until).state != term_at(contract, at).state


@given(contracts())
def test_an_amount_by_the_month_comes_to_the_whole_within_half_a_unit_each(contract: Contract) -> None:
    months = billed_months(contract)
    assert abs(by_the_month(contract) * months - contract.amount) * 2 <= months


def test_a_term_from_a_months_last_day_returns_to_it() -> None:
    assert months_between(T0, datetime(2026, 4, 30, tzinfo=UTC)) == 3
    assert months_between(T0, datetime(2026, 4, 29, tzinfo=UTC)) is None
    contract = Contract(
        "pro", T0, 1200, "usd", interval="month", ends_at=datetime(2026, 2, 28, tzinfo=UTC), renews=True
    )
    assert [term_at(contract, T0 + n * DAY).from_at.day for n in (0, 27, 28, 58, 59)] == [31, 31, 28, 28, 31]
