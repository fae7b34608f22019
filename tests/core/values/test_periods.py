"""Law 9: aware UTC instants, half-open windows, anchors on days 29-31 clamp without drift."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.values.periods import (
    CALENDAR,
    EVERY,
    Every,
    Period,
    Recurrence,
    add_months,
    parse_duration,
    parse_instant,
    window_at,
)

utc = st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
turning = st.sampled_from([every for every in EVERY if every not in ("lifetime", "custom")])
recurrences = st.builds(Recurrence, turning, calendar=st.booleans(), zone=zones) | st.builds(
    Recurrence, st.just("custom"), st.integers(60, 3650 * 86400)
)


@given(recurrences, utc, utc)
def test_a_window_contains_its_instant_and_the_next_begins_where_it_ends(
    recurrence: Recurrence, anchor: datetime, at: datetime
) -> None:
    window = window_at(recurrence, anchor, at)
    assert window.until is not None
    assert window.from_at <= at < window.until
    assert window_at(recurrence, anchor, window.from_at) == window
    following = window_at(recurrence, anchor, window.until)
    assert following.from_at == window.until
    assert window_at(recurrence, anchor, window.until - timedelta(microseconds=1)) == window


@given(recurrences, utc)
def test_the_anchor_begins_a_window_unless_the_calendar_does(recurrence: Recurrence, anchor: datetime) -> None:
    assert (window_at(recurrence, anchor, anchor).from_at == anchor) or recurrence.calendar


@given(turning, zones, utc, utc, utc)
def test_windows_of_the_calendar_are_the_same_for_every_anchor(
    every: Every, zone: str, anchor: datetime, other: datetime, at: datetime
) -> None:
    recurrence = Recurrence(every, calendar=True, zone=zone)
    assert window_at(recurrence, anchor, at) == window_at(recurrence, other, at)


@given(st.sampled_from(["day", "week", "month", "quarter", "year"]), zones, utc)
def test_windows_of_the_calendar_begin_at_midnight_of_their_zone(every: Every, zone: str, at: datetime) -> None:
    began = window_at(Recurrence(every, calendar=True, zone=zone), at, at).from_at.astimezone(ZoneInfo(zone))
    assert (began.hour, began.minute, began.second, began.microsecond) == (0, 0, 0, 0)
    assert every != "week" or began.weekday() == 0
    assert every not in ("month", "quarter", "year") or began.day == 1
    assert every != "quarter" or began.month % 3 == 1
    assert every != "year" or began.month == 1


def test_january_31_goes_to_february_28_and_back_to_march_31() -> None:
    anchor = datetime(2026, 1, 31, 10, tzinfo=UTC)
    turns = [add_months(anchor, months).date().isoformat() for months in range(5)]
    assert turns == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]
    march = window_at(Recurrence("month"), anchor, datetime(2026, 3, 30, tzinfo=UTC))
    assert (march.from_at.day, march.until and march.until.day) == (28, 31)


def test_a_day_in_a_zone_follows_its_wall_clock_over_the_change_to_summer_time() -> None:
    anchor = datetime(2026, 3, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    day = window_at(Recurrence("day", zone="Europe/Berlin"), anchor, datetime(2026, 3, 29, 12, tzinfo=UTC))
    assert day.until is not None
    assert day.until - day.from_at == timedelta(hours=23)


def test_a_month_of_the_calendar_in_berlin_begins_an_hour_or_two_before_utcs() -> None:
    berlin = Recurrence("month", calendar=True, zone="Europe/Berlin")
    march = window_at(berlin, datetime(2020, 5, 17, tzinfo=UTC), datetime(2026, 3, 31, 21, 59, tzinfo=UTC))
    assert march == Period(datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC))


def test_hours_of_the_calendar_follow_zones_of_half_an_hour() -> None:
    at = datetime(2026, 3, 10, 12, 15, tzinfo=UTC)
    hour = window_at(Recurrence("hour", calendar=True, zone="Asia/Kolkata"), at, at)
    assert hour == Period(datetime(2026, 3, 10, 11, 30, tzinfo=UTC), datetime(2026, 3, 10, 12, 30, tzinfo=UTC))


def test_ten_days_are_ten_days_whatever_the_month() -> None:
    anchor = datetime(2026, 2, 20, 9, tzinfo=UTC)
    window = window_at(Recurrence("custom", 864_000), anchor, datetime(2026, 3, 5, tzinfo=UTC))
    assert window == Period(datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 12, 9, tzinfo=UTC))


def test_a_lifetime_never_ends() -> None:
    anchor = datetime(2026, 1, 1, tzinfo=UTC)
    assert window_at(Recurrence("lifetime"), anchor, datetime(2099, 1, 1, tzinfo=UTC)) == Period(anchor, None)


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


def test_a_time_zone_this_machine_lacks_is_named_with_what_to_install() -> None:
    asked = (
        "import sys, zoneinfo; sys.modules['tzdata'] = None; zoneinfo.reset_tzpath([])\n"
        "from datetime import UTC, datetime; from paygrade.values.periods import Recurrence, window_at\n"
        "at = datetime(2026, 3, 1, tzinfo=UTC)\n"
        "print(window_at(Recurrence('day', calendar=True), at, at).until)\n"
        "window_at(Recurrence('day', calendar=True, zone='Europe/Berlin'), at, at)"
    )
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert found.stdout == "2026-03-02 00:00:00+00:00\n"
    assert found.stderr.splitlines()[-1] == (
        "LookupError: this machine does not have the time zone `Europe/Berlin`, which the catalog uses; "
        "install the package `tzdata`"
    )


ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kolkata", "America/Havana",
     "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Beirut"]
)  # fmt: skip
CALENDARS = st.sampled_from(["day", "week", "month", "quarter", "year"])


@given(
    CALENDARS,
    ZONES,
    st.lists(st.tuples(st.integers(0, 80 * 24 * 60), ZONES), max_size=6),
    st.integers(0, 90 * 24 * 60),
    st.integers(0, 6),
)
def test_a_zone_that_changes_begins_no_day_of_the_calendar_twice(
    every: Every, zone: str, moves: list[tuple[int, str]], minute: int, week_begins: int
) -> None:
    start = datetime(2026, 2, 20, tzinfo=UTC)
    stated = tuple(sorted((start + timedelta(minutes=at), name) for at, name in moves))
    recurrence = Recurrence(every, calendar=True, zone=zone, week_begins=week_begins, moves=stated)
    at = start + timedelta(minutes=minute)
    window = window_at(recurrence, CALENDAR, at)
    assert window.until is not None
    assert window.from_at <= at < window.until
    # They tile time, whenever one looks.
    assert window_at(recurrence, CALENDAR, window.from_at) == window
    assert window_at(recurrence, CALENDAR, window.until - timedelta(microseconds=1)) == window
    assert window_at(recurrence, CALENDAR, window.until).from_at == window.until
    # Over any stretch there are no more windows than days (weeks, months …) of the calendar, whatever moved in it.
    begun, ends = 0, start - timedelta(days=2)
    while ends < at:
        found = window_at(recurrence, CALENDAR, ends)
        assert found.until is not None
        begun, ends = begun + 1, found.until
    first = window_at(replace(recurrence, zone="Etc/GMT+12", moves=()), CALENDAR, start - timedelta(days=2))
    days, ends = 0, first.from_at
    while ends < at + timedelta(hours=26):
        days, ends = days + 1, window_at(replace(recurrence, zone="Etc/GMT+12", moves=()), CALENDAR, ends).until or at
    assert begun <= days + 1
    # What comes later moves nothing that has begun.
    known = tuple(move for move in stated if move[0] <= at)
    assert window_at(replace(recurrence, moves=known), CALENDAR, at).from_at == window.from_at


def test_local_days_have_23_or_25_hours_and_weeks_begin_when_they_are_said_to() -> None:
    day = Recurrence("day", calendar=True, zone="America/New_York")
    spring, autumn = datetime(2026, 3, 8, 12, tzinfo=UTC), datetime(2026, 11, 1, 12, tzinfo=UTC)
    lengths = [(w.until or w.from_at) - w.from_at for w in (window_at(day, CALENDAR, at) for at in (spring, autumn))]
    assert lengths == [timedelta(hours=23), timedelta(hours=25)]
    sunday = Recurrence("week", calendar=True, week_begins=6)
    assert window_at(sunday, CALENDAR, datetime(2026, 3, 11, tzinfo=UTC)).from_at == datetime(2026, 3, 8, tzinfo=UTC)


def test_who_moves_east_or_west_goes_on_with_the_day_they_are_in() -> None:
    moved = datetime(2026, 3, 10, 12, tzinfo=UTC)
    west = Recurrence("day", calendar=True, zone="Europe/Berlin", moves=((moved, "America/New_York"),))
    assert window_at(west, CALENDAR, moved) == Period(
        datetime(2026, 3, 9, 23, tzinfo=UTC), datetime(2026, 3, 11, 4, tzinfo=UTC)
    )
    # It is the 11th in Auckland already, and that day has not been given yet.
    east = replace(west, moves=((moved, "Pacific/Auckland"),))
    assert window_at(east, CALENDAR, moved) == Period(moved, datetime(2026, 3, 11, 11, tzinfo=UTC))
    # Back and forth: the 11th has begun, and begins only once.
    back = replace(west, moves=((moved, "Pacific/Auckland"), (moved + timedelta(hours=1), "Europe/Berlin")))
    assert window_at(back, CALENDAR, moved + timedelta(hours=13)) == Period(
        moved, datetime(2026, 3, 11, 23, tzinfo=UTC)
    )
