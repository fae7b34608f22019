"""Billing periods: where a subscription's periods begin and end, counted from its billing cycle anchor.

Every boundary is counted from the anchor, never from the boundary before it, so an anchor on the 31st gives
Jan 31, Feb 28, Mar 31 and does not drift (Stripe docs: billing cycle). Instants are whole seconds since 1970,
UTC.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime

DAY_S = 86_400
HOUR_S = 3_600
MINUTE_S = 60


def boundary_after(anchor: int, *, interval: str, count: int, after: int) -> int:
    """Give the first boundary strictly after an instant; boundaries reach back before the anchor too."""
    return _boundary(anchor, interval=interval, step=_step_after(anchor, interval, count, after) * count)


def boundary_upto(anchor: int, *, interval: str, count: int, upto: int) -> int:
    """Give the last boundary at or before an instant."""
    return _boundary(anchor, interval=interval, step=(_step_after(anchor, interval, count, upto) - 1) * count)


def _step_after(anchor: int, interval: str, count: int, after: int) -> int:
    if interval in ("month", "year"):
        one, other = datetime.fromtimestamp(anchor, UTC), datetime.fromtimestamp(after, UTC)
        months = (other.year - one.year) * 12 + other.month - one.month
        step = months // (count * (12 if interval == "year" else 1)) - 1
    else:
        step = (after - anchor) // (count * DAY_S * (7 if interval == "week" else 1)) - 1
    while _boundary(anchor, interval=interval, step=step * count) <= after:
        step += 1
    return step


def _boundary(anchor: int, *, interval: str, step: int) -> int:
    match interval:
        case "day":
            return anchor + step * DAY_S
        case "week":
            return anchor + step * 7 * DAY_S
        case "month":
            return _add_months(anchor, step)
        case "year":
            return _add_months(anchor, step * 12)
        case _:
            raise ValueError(f"no such interval: {interval}")


def _add_months(anchor: int, months: int) -> int:
    moment = datetime.fromtimestamp(anchor, UTC)
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, monthrange(year, month + 1)[1])
    return int(moment.replace(year=year, month=month + 1, day=day).timestamp())


def next_on(
    at: int,
    *,
    day_of_month: int,
    month: int | None = None,
    hour: int | None = None,
    minute: int | None = None,
    second: int | None = None,
) -> int:
    """Give the first instant from now on that falls on a day of the month, the last one if the month is shorter.

    A time of day that is not given is that of `at`.
    """
    now = datetime.fromtimestamp(at, UTC)
    clock = {
        "hour": now.hour if hour is None else hour,
        "minute": now.minute if minute is None else minute,
        "second": now.second if second is None else second,
    }
    for step in range(14):
        year, index = divmod(now.year * 12 + now.month - 1 + step, 12)
        day = min(day_of_month, monthrange(year, index + 1)[1])
        found = int(datetime(year, index + 1, day, **clock, tzinfo=UTC).timestamp())
        if found >= at and month in (None, index + 1):
            return found
    raise AssertionError("every month has a last day, and every year each month")
