"""Top-ups: when one is asked for, and which window and id it has."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from paygrade.catalog.model import TopUp
from paygrade.usage.top_ups import TopUpState, may_ask, top_up_id, window_of
from paygrade.values.periods import Every

STATES: st.SearchStrategy[list[TopUpState]] = st.lists(st.sampled_from(["asked", "paid", "failed"]), max_size=6)


def policy(at_most: int = 3, every: Every = "month") -> TopUp:
    return TopUp("ai_credits", below=500, add=5000, at_most=at_most, every=every, amount=2000, currency="usd")


@given(st.integers(-1000, 10**9), STATES, st.integers(1, 5))
def test_a_top_up_is_asked_for_only_when_little_is_left_and_none_is_open_or_failed(
    balance: int, earlier: list[TopUpState], at_most: int
) -> None:
    expected = balance < 500 and set(earlier) <= {"paid"} and len(earlier) < at_most
    assert may_ask(policy(at_most), balance, earlier) is expected


@given(st.integers(0, 10**6))
def test_the_windows_of_a_policy_are_the_calendars(hours: int) -> None:
    at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    month, week = window_of(policy(every="month"), at), window_of(policy(every="week"), at)
    assert (month.from_at.day, month.from_at.hour) == (1, 0)
    assert (week.from_at.weekday(), week.from_at.hour) == (0, 0)
    for window in (month, week):
        assert window.until is not None
        assert window.from_at <= at < window.until


def test_two_who_ask_at_once_ask_for_the_same_top_up() -> None:
    window = window_of(policy(), datetime(2026, 3, 10, tzinfo=UTC))
    ids = {top_up_id(account, "ai_credits", window, number) for account in ("acme", "globex") for number in (0, 1)}
    assert len(ids) == 4
    assert top_up_id("acme", "ai_credits", window, 0) in ids
