"""Requests are paced for all threads together; the arithmetic takes its time as an argument."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.providers.stripe.rate_limiter import RateLimiter


@given(
    per_second=st.sampled_from([1, 5, 20]),
    pauses_s=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_no_second_holds_more_turns_than_the_pace_and_its_burst(per_second: int, pauses_s: list[float]) -> None:
    pace = RateLimiter(per_second)
    now_s, turns_at = 0.0, []
    for pause_s in pauses_s:
        now_s += pause_s
        turns_at.append(now_s + pace.take(now_s))
    assert turns_at == sorted(turns_at)
    for began in turns_at:
        within = [turn for turn in turns_at if began <= turn < began + 1]
        assert len(within) <= 2 * per_second


def test_a_pace_lets_a_burst_through_and_then_one_turn_after_another() -> None:
    pace = RateLimiter(2)
    assert [pace.take(10.0) for _ in range(5)] == [0, 0, 0.5, 1.0, 1.5]
    assert pace.take(11.5) == 0.5
    assert pace.take(99.0) == 0


def test_a_pace_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="above 0"):
        RateLimiter(0)
