"""Instants, durations and recurring periods.

Laws: instants are aware and in UTC; intervals are `[from_at, until)`; calendar arithmetic happens in an IANA
zone; a month anchored on day 29-31 clamps to the month's last day and returns to its own day (no drift); the
windows of one recurrence and anchor tile time without gap or overlap; where the zone changes, each day of the calendar
(week, month …) still begins once.
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from msgspec import Struct
from msgspec.structs import replace

from paygrade.values.text import describe

Every = Literal["hour", "day", "week", "month", "quarter", "year", "lifetime", "custom"]
EVERY: tuple[Every, ...] = get_args(Every)

_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_DAYS = {"day": 1, "week": 7}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:[0-9]{1,6}[wdhms])+")
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
"""Instants that are read lie in `[EARLIEST, LATEST)`: so every window and period around them has two ends that the
calendar of years 1 to 9999 knows."""
ACCOUNT_ZONE = "account"
"""In the place of a zone: that of the account."""
CALENDAR = datetime(2001, 1, 1, tzinfo=UTC)
"""A Monday that begins a year, and so whatever else a calendar counts: an anchor for all of it."""


class Recurrence(Struct, frozen=True, omit_defaults=True):
    """How a window comes again.

    `length_s`: how long each window of a `custom` one is; None for all others. `calendar`: windows begin where those of
    the calendar in `zone` begin, else where the anchor lies; weeks on the day `week_begins`, counted from Monday, 0.
    `moves`: from which instants on which other zones count, in their order.
    """

    every: Every
    length_s: int | None = None
    calendar: bool = False
    zone: str = "UTC"
    week_begins: int = 0
    moves: tuple[tuple[datetime, str], ...] = ()


class Period(Struct, frozen=True):
    """One window of a recurrence, `[from_at, until)`. `until` is None for a lifetime."""

    from_at: datetime
    until: datetime | None


def parse_duration(text: str) -> timedelta:
    """Read `7d`, `90s`, `1w2d` or `12h30m`; ValueError for anything else. Units: w d h m s."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"`{text}` is not a duration; write for example `7d`, `12h` or `30m`")
    parts = re.findall(r"([0-9]+)([wdhms])", text)
    return timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in parts))


def render_duration(duration: timedelta) -> str:
    """Write a duration of whole seconds so that `parse_duration` reads it."""
    parts = (
        (duration.days, "d"),
        (duration.seconds // 3600, "h"),
        (duration.seconds // 60 % 60, "m"),
        (duration.seconds % 60, "s"),
    )
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def parse_instant(text: str) -> datetime:
    """Read an RFC 3339 instant with an offset (`2026-01-31T10:00:00Z`) as UTC; ValueError for anything else."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{describe(text)} is not an instant; write for example `2026-01-31T10:00:00Z`") from None
    if instant.tzinfo is None:
        raise ValueError(f"{describe(text)} has no offset; add `Z` for UTC")
    if not EARLIEST <= instant < LATEST:
        raise ValueError(
            f"{describe(text)} is not in the years {EARLIEST.year} to {LATEST.year - 1}; to set no end, leave it out"
        )
    return instant.astimezone(UTC)


def add_months(anchor: datetime, months: int) -> datetime:
    """Move by whole months, clamping the day to the month's length. Always move from the anchor: moving from
    an already clamped result is what makes days 29-31 drift."""
    index = anchor.year * 12 + anchor.month - 1 + months
    year, month = divmod(index, 12)
    day = min(anchor.day, monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def window_at(recurrence: Recurrence, anchor: datetime, at: datetime) -> Period:
    """The window of this recurrence that contains `at`; the anchor may lie before or after it.

    Days and longer keep the anchor's wall-clock time in the zone; hours and custom lengths are exact.
    """
    every = recurrence.every
    if every == "lifetime":
        return Period(from_at=anchor, until=None)
    if recurrence.moves:
        return _window_of_zones(recurrence, at)
    zone = _zone(recurrence.zone)
    local = CALENDAR.replace(tzinfo=zone) if recurrence.calendar else anchor.astimezone(zone)
    if recurrence.week_begins and every == "week":
        local += timedelta(days=recurrence.week_begins)
    if every in ("hour", "custom"):
        length = timedelta(seconds=recurrence.length_s or _UNITS["h"])
        from_at = local.astimezone(UTC) + (at - local) // length * length
        return Period(from_at, from_at + length)
    turns = _turns_guess(local, every, at.astimezone(zone))
    from_at, until = _turn(local, every, turns), _turn(local, every, turns + 1)
    while from_at > at:
        turns -= 1
        from_at, until = _turn(local, every, turns), from_at
    while until <= at:
        turns += 1
        from_at, until = until, _turn(local, every, turns + 1)
    return Period(from_at, until)


_MOMENT = timedelta(microseconds=1)
_APART = timedelta(hours=27)
"""No two zones are further apart."""
_EVER, _NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class _Zoned(Struct, frozen=True):
    """A calendar in one zone, which counts in `[from_at, until)`."""

    recurrence: Recurrence
    from_at: datetime
    until: datetime

    def window(self, at: datetime) -> Period:
        return window_at(self.recurrence, CALENDAR, at)

    def date(self, at: datetime) -> date:
        """The day of the calendar with which the window began that `at` lies in."""
        return self.window(at).from_at.astimezone(_zone(self.recurrence.zone)).date()


def _window_of_zones(recurrence: Recurrence, at: datetime) -> Period:
    """The window at `at` of a calendar whose zone changes: it begins with the first instant at which its date has come
    in the zone of that instant, and none begins twice (ADR 31)."""
    begins = [_EVER, *(since for since, _ in recurrence.moves)]
    ends = [*begins[1:], _NEVER]
    names = (recurrence.zone, *(name for _, name in recurrence.moves))
    spans = [
        _Zoned(replace(recurrence, zone=name, moves=()), *ends_of)
        for name, *ends_of in zip(names, begins, ends, strict=True)
    ]
    reached = _reached(spans, at)
    from_at = at
    while _reached(spans, from_at) == reached:
        span = next(one for one in spans if one.from_at <= from_at < one.until)
        began = max(span.window(from_at).from_at, span.from_at)
        from_at = began - _MOMENT
    until = at
    while _reached(spans, until) == reached:
        span = next(one for one in spans if one.from_at <= until < one.until)
        ends_at = span.window(until).until
        until = min(span.until, ends_at or span.until)
    return Period(from_at + _MOMENT, until)


def _reached(spans: Sequence[_Zoned], at: datetime) -> date:
    """The latest day of the calendar that has come by `at`, in whichever zone counted when it came."""
    near = [one for one in spans if one.from_at <= at and at - 2 * _APART < one.until]
    return max(one.date(min(at, one.until - _MOMENT)) for one in near)


def _turns_guess(anchor: datetime, every: Every, at: datetime) -> int:
    if every in _DAYS:
        return (at - anchor).days // _DAYS[every]
    return ((at.year - anchor.year) * 12 + at.month - anchor.month) // _MONTHS[every]


def _turn(local: datetime, every: Every, turns: int) -> datetime:
    # Adding to an aware datetime moves its wall clock; the zone then supplies the offset of that day.
    if every in _DAYS:
        moved = local + timedelta(days=turns * _DAYS[every])
    else:
        moved = add_months(local, turns * _MONTHS[every])
    return moved.astimezone(UTC)


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """The IANA time zones that are known everywhere: without those that only name a machine's own."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError:
        # A catalog names only zones there are, so it is this machine that lacks them.
        # https://docs.python.org/3/library/zoneinfo.html#data-sources
        raise LookupError(
            f"this machine does not have the time zone `{name}`, which the catalog uses; install the package `tzdata`"
        ) from None


def soonest(dates: Iterable[datetime | None], at: datetime) -> datetime | None:
    """The first of these dates that is still to come."""
    return min((date for date in dates if date is not None and date > at), default=None)
