"""The past, by what was known then and by what is known now."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.accounts import replay
from paygrade.billing.facts import Customer, Departed, Fact, ManualSubscription, Subscription
from paygrade.billing.past import Learned, account_at, moments
from paygrade.entitlements.derive import derive
from support.samples import CATALOG, T0, customer_fact, fact_lists, instants, item, subscription

DAY = timedelta(days=1)
EVER = datetime(9000, 1, 1, tzinfo=UTC)


@st.composite
def histories(draw: st.DrawFn) -> list[Learned]:
    """Facts as they were read over time, some recorded late, some told of by events."""
    found, at = list[Learned](), T0 - 20 * DAY
    for fact in draw(fact_lists()):
        happened_at = at + timedelta(seconds=draw(st.integers(0, 86400)))
        at = happened_at + timedelta(seconds=draw(st.integers(0, 2 * 86400)))
        told = draw(st.sampled_from([None, happened_at]))
        recorded_at = max(
            [at + timedelta(seconds=draw(st.integers(0, 3600))), *(one.recorded_at for one in found[-1:])]
        )
        found.append(Learned(replace(fact, as_of=at, happened_at=told), recorded_at))
    return found


@given(histories(), st.booleans())
def test_once_every_fact_was_read_the_past_is_the_account_as_it_is(history: list[Learned], believed: bool) -> None:
    assert account_at("acme", history, EVER, believed=believed) == replay("acme", (one.fact for one in history))


@given(histories(), instants)
def test_what_is_learned_later_changes_nothing_of_what_was_believed(history: list[Learned], at: datetime) -> None:
    known = [one for one in history if one.recorded_at <= at]
    then = replay("acme", (one.fact for one in known))
    assert account_at("acme", known, at, believed=True) == account_at("acme", history, at, believed=True) == then


@given(histories(), instants, st.data())
def test_the_past_is_one_in_whatever_order_the_facts_come(
    history: list[Learned], at: datetime, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(history))
    for believed in (True, False):
        assert account_at("acme", shuffled, at, believed=believed) == account_at("acme", history, at, believed=believed)


@given(histories(), st.booleans())
def test_moments_are_where_the_past_changes_and_each_is_the_past_of_its_time(
    history: list[Learned], believed: bool
) -> None:
    found = list(moments("acme", history, believed=believed))
    assert [one.since for one in found] == sorted({one.since for one in found})
    for one, until in zip(found, [*(one.since for one in found[1:]), EVER][: len(found)], strict=True):
        for at in (one.since, until - timedelta(microseconds=1)):
            assert account_at("acme", history, at, believed=believed) == one.account


def read(number: int, *subscriptions: Subscription, at: datetime, told: datetime | None = None) -> Learned:
    """A reading of the customer that was saved an hour later."""
    fact = replace(customer_fact(*subscriptions, number=number), as_of=at, happened_at=told)
    return Learned(fact, at + timedelta(hours=1))


def plans(history: list[Learned], at: datetime, *, believed: bool) -> set[str | None]:
    found = derive(account_at("acme", history, at, believed=believed), CATALOG, at).entitlements
    return {its.plan for its in found.values() if its.granted}


PRO, SCALE = subscription(started_at=T0), subscription(item("scale"), started_at=T0)


@pytest.mark.parametrize(
    ("what", "history", "turns"),
    [
        ("a subscription nobody had heard of begins when it says", [
            read(1, at=T0 - DAY), read(2, PRO, at=T0 + 2 * DAY)],
         [(T0, "pro@3")]),
        ("the first reading of all too", [read(1, PRO, at=T0 + 2 * DAY)], [(T0, "pro@3")]),
        ("another price in its line counts since its event", [
            read(1, PRO, at=T0 + DAY), read(2, SCALE, at=T0 + 5 * DAY, told=T0 + 3 * DAY)],
         [(T0, "pro@3"), (T0 + 3 * DAY, "scale@1")]),
        ("without an event since it was read", [read(1, PRO, at=T0 + DAY), read(2, SCALE, at=T0 + 5 * DAY)],
         [(T0, "pro@3"), (T0 + 5 * DAY, "scale@1")]),
        ("an event before the reading before tells nothing", [
            read(1, PRO, at=T0 + DAY), read(2, SCALE, at=T0 + 5 * DAY, told=T0)],
         [(T0, "pro@3"), (T0 + 5 * DAY, "scale@1")]),
        ("an end counts since its date, whatever happened before", [
            read(1, PRO, at=T0 + DAY),
            read(2, replace(PRO, status="canceled", ended_at=T0 + 4 * DAY), at=T0 + 6 * DAY, told=T0 + 2 * DAY)],
         [(T0, "pro@3"), (T0 + 4 * DAY, "free@1")]),
    ],
)  # fmt: skip
def test_what_a_late_reading_shows_counts_since_it_was_so(
    what: str, history: list[Learned], turns: list[tuple[datetime, str]]
) -> None:
    for at, plan in turns:
        assert plan in plans(history, at, believed=False), what
        assert plan not in plans(history, at - timedelta(seconds=1), believed=False), what
    read_at = max(one.recorded_at for one in history)
    assert plans(history, read_at, believed=True) == plans(history, read_at, believed=False)
    assert turns[-1][1] not in plans(history, read_at - timedelta(seconds=1), believed=True), what


def test_of_a_customer_that_came_from_another_account_nothing_was_had_here_before() -> None:
    joined = replace(customer_fact(PRO), as_of=T0 + 5 * DAY, joined_at=T0 + 4 * DAY, happened_at=T0 + 4 * DAY)
    left = replace(joined, number=2, body=Departed("other"), joined_at=None)
    here, there = [Learned(joined, T0 + 6 * DAY)], [read(1, PRO, at=T0 + DAY), Learned(left, T0 + 6 * DAY)]
    before, after = T0 + 4 * DAY - timedelta(seconds=1), T0 + 4 * DAY
    assert not account_at("acme", here, before, believed=False).exists
    assert "pro@3" in plans(here, after, believed=False)
    assert "pro@3" in plans(there, before, believed=False)
    assert "pro@3" not in plans(there, after, believed=False)


def test_a_contract_that_is_stated_late_counts_since_it_began() -> None:
    bought = subscription(replace(item("pro"), plan="pro"), id="sub_m", started_at=T0)
    fact = Fact(1, "subscription:sub_m", 1, T0 + 3 * DAY, ManualSubscription(bought))
    assert "pro@3" in plans([Learned(fact, T0 + 3 * DAY)], T0, believed=False)
    assert plans([Learned(fact, T0 + 3 * DAY)], T0 + 2 * DAY, believed=True) == {"free@1"}


def test_who_lives_by_a_test_clock_is_as_it_was_read() -> None:
    body = Customer("cus_1", T0, (PRO,), clock_at=T0 + 9 * DAY)
    history = [Learned(Fact(1, "stripe:cus_1", 1, T0 + 2 * DAY, body), T0 + 2 * DAY)]
    assert not account_at("acme", history, T0 + DAY, believed=False).exists
    assert account_at("acme", history, T0 + 2 * DAY, believed=False).exists
