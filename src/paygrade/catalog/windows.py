"""Words that several sections of a catalog document share: how windows come again, how long they are, what money is.

Laws: a window written back reads the same; what can be said in two ways (`month`, `{ period: month }`) is one window;
a word that would change nothing where it stands (the zone of an hour) is a mistake.
"""

from collections.abc import Collection
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, NamedTuple

from paygrade.catalog.offers import OveragePrice
from paygrade.catalog.reader import Node
from paygrade.catalog.shapes import (
    POSITIVE,
    Brief,
    Law,
    Or,
    Plain,
    Record,
    Schema,
    Shape,
    T,
    Via,
    may,
    need,
    text,
    word,
)
from paygrade.values.periods import _DURATION, ACCOUNT_ZONE, EVERY, Recurrence, parse_duration, render_duration, zones
from paygrade.values.text import flow, is_key

_WINDOW_MIN = timedelta(minutes=1)
_CUSTOM_MAX = timedelta(days=3650)
"""Near enough that the end of such a window stays within the years that can be written."""
_ROLLING_MAX = timedelta(days=34)
"""As far back as a usage event may tell of what happened."""


class Window(NamedTuple):
    """What units count in: windows that come again, the last so many seconds, or neither."""

    recurrence: Recurrence | None = None
    rolling_s: int | None = None

    def written(self) -> dict[str, object]:
        """The key that says this."""
        if self.rolling_s is not None:
            return {"rolling": ROLLING.write(self.rolling_s)}
        return {} if self.recurrence is None else {"every": PERIODIC.write(self.recurrence)}

    def __str__(self) -> str:
        return ", ".join(f"{key}: {flow(value)}" for key, value in self.written().items())


def _duration(node: Node) -> timedelta | None:
    """The longest there is for one that is longer; None where there is none, which was reported."""
    said = node.text("a duration such as `7d` or `12h`")
    try:
        return parse_duration(said) if said else None
    except ValueError as error:
        node.wrong(str(error))
        return None
    except OverflowError:
        return timedelta.max


DURATION = Via[Any](Plain(_duration, {"type": "string", "pattern": f"^{_DURATION.pattern}$"}), back=render_duration)


class _Sound(Shape[T | None], frozen=True):
    """Another shape; None for a value with a mistake, so that nothing is concluded from it."""

    shape: Shape[T]

    def read(self, node: Node) -> T | None:
        found = node.mistakes_found
        value = self.shape.read(node)
        return value if node.mistakes_found == found else None

    def write(self, value: T | None) -> object:
        assert value is not None
        return self.shape.write(value)

    def schema(self) -> Schema:
        return self.shape.schema()


def _length(at_most: timedelta) -> Shape[int]:
    """How long a window is, in seconds."""

    def check(node: Node, length: timedelta | None) -> None:
        if length is not None and not _WINDOW_MIN <= length <= at_most:
            shortest, longest = render_duration(_WINDOW_MIN), render_duration(at_most)
            node.wrong(f"a window lasts from `{shortest}` to `{longest}`; write a duration between them")

    return Via(
        DURATION,
        lambda length: int((length or timedelta()).total_seconds()),
        lambda seconds: timedelta(seconds=seconds),
        check,
    )


def _is_length(value: object) -> bool:
    return isinstance(value, str) and value[:1].isdigit()


def _is_zone(node: Node, zone: str) -> None:
    if zone and zone not in zones():
        near = get_close_matches(zone[:64], zones(), n=1)
        write = f"did you mean `{near[0]}`?" if near else f"write {_A_ZONE}"
        node.wrong(f"unknown zone `{zone[:64]}`; {write}")


def is_currency(code: str) -> bool:
    return is_key(code) and code.isalpha() and len(code) == 3


def _is_currency(node: Node, code: str) -> None:
    if code and not is_currency(code):
        node.expected(_A_CURRENCY)


def _bar_the_calendar(node: Node) -> Collection[str]:
    """A word that would change nothing."""
    period = node.raw("period")
    keys, why = ["align", "zone"], "a length of your own can't be aligned to the calendar"
    if period == "lifetime":
        why = "`lifetime` never begins again"
    elif period == "hour" and node.raw("align") != "calendar":
        keys, why = ["zone"], "hours counted from the subscription are the same in every zone"
    elif not _is_length(period):
        return _bar_local(node)
    for key in filter(node.has, keys):
        node.at(key).wrong(f"{why}; remove `{key}`")
    return (*keys, *_bar_local(node))


def _bar_local(node: Node) -> Collection[str]:
    """Days are what people live by; and weeks of the calendar alone begin on a day of their own."""
    calendar = node.raw("align") == "calendar"
    if node.raw("zone") == ACCOUNT_ZONE and not calendar and node.raw("period") != "hour":
        node.at("zone").wrong("only windows of the calendar follow the account's zone; add `align: calendar`")
    elif node.raw("zone") == ACCOUNT_ZONE and node.raw("period") == "hour" and calendar:
        node.at("zone").wrong("hours are too short to follow the account's zone; name a zone, or count by the day")
    if not node.has("week_begins") or (calendar and node.raw("period") == "week"):
        return ()
    node.at("week_begins").wrong("only a week of the calendar begins on a day of its own; remove `week_begins`")
    return ("week_begins",)


def _where(period: Schema, then: Schema, otherwise: Schema) -> Schema:
    return {"if": {"properties": {"period": period}}, "then": then, "else": otherwise}


_A_ZONE = "an IANA time zone such as `Europe/Berlin`"
_A_CURRENCY = "an ISO 4217 code of three lower-case letters, such as `usd`"
CURRENCY = Via[str](text(_A_CURRENCY), check=_is_currency, law={"pattern": "^[a-z]{3}$"})

ZONE = Via[str](text(_A_ZONE), check=_is_zone)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_PERIODS: dict[str, tuple[str, Any]] = {every: (every, None) for every in EVERY if every != "custom"}
_LENGTH = Via(_length(_CUSTOM_MAX), lambda length_s: ("custom", length_s), lambda period: period[1])
_PERIOD = Or(_PERIODS, _LENGTH, _is_length)
_ALIGN = ("subscription", "calendar")
_OF_THE_CALENDAR = _where(
    {"enum": [period for period in _PERIODS if period not in ("hour", "lifetime")]},
    {},
    _where(
        {"const": "hour"},
        {"if": {"required": ["zone"]}, "then": {"required": ["align"]}},
        {"properties": {"align": False, "zone": False}},
    ),
)
_ALIGNED = Record(
    Recurrence,
    {
        "period": need("month", _PERIOD, of=("every", "length_s")),
        "align": may(Via(word(_ALIGN), lambda word: word == "calendar", lambda on: _ALIGN[on]), of="calendar"),
        "zone": may(Or({ACCOUNT_ZONE: ACCOUNT_ZONE}, ZONE), "An IANA time zone, or `account`: the account's own."),
        "week_begins": may(Via(word(WEEKDAYS), WEEKDAYS.index, WEEKDAYS.__getitem__), "The first day of a week."),
    },
    (Law(_OF_THE_CALENDAR, _bar_the_calendar),),
)
PERIODIC = _Sound(Brief(_ALIGNED, "period", _PERIOD))
ROLLING = _Sound(_length(_ROLLING_MAX))
EVERY_ABOUT = "How often a new window begins: aligned to the subscription, or to the calendar of a time zone."
WINDOW = {
    "every": may(PERIODIC, EVERY_ABOUT, of="recurrence"),
    "rolling": may(ROLLING, "Counts what was used in the last period of this length, from 1m to 34d.", of="rolling_s"),
}


UNIT_PRICE = Record(
    OveragePrice,
    {
        "amount": need("2", POSITIVE, "In minor units, for every `per` units."),
        "per": may(POSITIVE),
        "currency": need("usd", CURRENCY),
    },
    given={"per": 1},
)


def one_window(example: str) -> Law:
    """`every` or `rolling` must be said."""
    return Law({"oneOf": [{"required": ["every"]}, {"required": ["rolling"]}]}, lambda node: bar_two(node, example))


def bar_two(node: Node, example: str) -> Collection[str]:
    """Report where neither `every` nor `rolling` is said, or both are."""
    if not node.has("rolling"):
        node.need("every", example)
        return ()
    if node.has("every"):
        node.at("rolling").wrong("units count either by `every` or by `rolling`; remove one of them")
    return ("every",)
