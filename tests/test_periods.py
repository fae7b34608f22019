"""Law 9: aware UTC instants, half-open periods, anchors on days 29-31 clamp without drift."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.periods import EVERY, Every, add_months, parse_duration, parse_instant, period_at

utc = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
turning = st.sampled_from([every for every in EVERY if every != "lifetime"])
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"])


@given(utc, turning, utc, zones)
def test_a_period_contains_its_instant_and_the_next_begins_where_it_ends(
    anchor: datetime, every: Every, at: datetime, zone: str
) -> None:
    period = period_at(anchor, every, at, zone=zone)
    assert period.until is not None
    assert period.from_at <= at < period.until
    following = period_at(anchor, every, period.until, zone=zone)
    assert following.from_at == period.until
    assert period_at(anchor, every, period.until - timedelta(microseconds=1), zone=zone) == period


@given(utc, turning, zones)
def test_the_anchor_begins_a_period(anchor: datetime, every: Every, zone: str) -> None:
    assert period_at(anchor, every, anchor, zone=zone).from_at == anchor


def test_january_31_goes_to_february_28_and_back_to_march_31() -> None:
    anchor = datetime(2026, 1, 31, 10, tzinfo=UTC)
    turns = [add_months(anchor, months).date().isoformat() for months in range(5)]
    assert turns == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]
    march = period_at(anchor, "month", datetime(2026, 3, 30, tzinfo=UTC))
    assert (march.from_at.day, march.until and march.until.day) == (28, 31)


def test_a_day_in_a_zone_follows_its_wall_clock_over_the_change_to_summer_time() -> None:
    anchor = datetime(2026, 3, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    day = period_at(anchor, "day", datetime(2026, 3, 29, 12, tzinfo=UTC), zone="Europe/Berlin")
    assert day.until is not None
    assert day.until - day.from_at == timedelta(hours=23)


def test_a_lifetime_never_ends() -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    assert period_at(anchor, "lifetime", datetime(2099, 1, 1, tzinfo=UTC)).until is None


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("7d", 604800), ("1w2d", 777600)])
def test_durations_read_as_written(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "d7", "7 d", "-7d", "1.5d", "7y", "7D"])
def test_a_duration_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write for example `7d`"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["tomorrow", "2026-01-31T10:00:00", "2026-13-01T00:00:00Z"])
def test_an_instant_without_an_offset_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"instant|offset"):
        parse_instant(text)


def test_an_instant_in_any_offset_is_read_as_utc() -> None:
    assert parse_instant("2026-01-31T12:00:00+02:00") == datetime(2026, 1, 31, 10, tzinfo=UTC)
