"""Words that several sections of a catalog document share: how windows come again, how long they are, what money is.

Laws: a window written back reads the same; what can be said in two ways (`month`, `{ period: month }`) is one window;
a word that would change nothing where it stands (the zone of an hour) is a mistake.
"""

from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import NamedTuple

from paygrade.catalog.reader import Node
from paygrade.values.periods import EVERY, Every, Recurrence, parse_duration, render_duration, zones
from paygrade.values.text import flow, is_key

_PERIODS: tuple[Every, ...] = tuple(every for every in EVERY if every != "custom")
_ALIGN = ("subscription", "calendar")
_WINDOW_MIN = timedelta(minutes=1)
_CUSTOM_MAX = timedelta(days=3650)
"""Near enough that the end of such a window stays within the years that can be written."""
_ROLLING_MAX = timedelta(days=34)
"""As far back as a usage event may tell of what happened."""


class Window(NamedTuple):
    """What units count in: windows that come again, the last so many seconds, or neither."""

    recurrence: Recurrence | None = None
    rolling_s: int | None = None

    def render(self) -> dict[str, object]:
        """Write the keys that say this."""
        if self.rolling_s is not None:
            return {"rolling": render_duration(timedelta(seconds=self.rolling_s))}
        return {} if self.recurrence is None else {"every": _render_every(self.recurrence)}

    def __str__(self) -> str:
        return ", ".join(f"{key}: {flow(value)}" for key, value in self.render().items())


def read_window(node: Node, example: str) -> Window:
    """Read `every` or `rolling` of a mapping that must say one of them; neither, where that was reported."""
    if not node.has("rolling"):
        return read_every(node, example)
    found = node.mistakes_found
    rolling = node.get("rolling", None)
    if node.has("every"):
        rolling.wrong("units count by the period or by what came last; remove `every` or `rolling`")
    length_s = _length_s(rolling, _ROLLING_MAX)
    return Window(rolling_s=length_s) if node.mistakes_found == found else Window()


def read_every(node: Node, example: str) -> Window:
    """Read `every` of a mapping that must say it."""
    found = node.mistakes_found
    recurrence = _recurrence(node.need("every", example))
    return Window(recurrence) if node.mistakes_found == found else Window()


def read_duration(node: Node) -> timedelta | None:
    """Read a duration, the longest there is for one that is longer; None where there is none, which was reported."""
    text = node.text("a duration such as `7d` or `12h`")
    if not text:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        node.wrong(str(error))
        return None
    except OverflowError:
        return timedelta.max


def read_currency(node: Node) -> str:
    what = "an ISO 4217 code of three lower-case letters, such as `usd`"
    code = node.text(what)
    if code and not (is_key(code) and code.isalpha() and len(code) == 3):
        node.expected(what)
    return code


def _recurrence(node: Node) -> Recurrence:
    if not isinstance(node.value, Mapping):
        return _turns(node)
    node = node.fields("period", "align", "zone")
    recurrence = _turns(node.need("period", "month"))
    calendar = node.get("align", "subscription").choice(_ALIGN) == "calendar"
    zone = _zone(node.get("zone", "UTC"))
    if recurrence.every in ("lifetime", "custom") or (recurrence.every == "hour" and not calendar):
        for field in ("align", "zone") if recurrence.every != "hour" else ("zone",):
            if node.has(field):
                node.get(field, None).wrong(f"{_NOT_OF_THE_CALENDAR[recurrence.every]}; remove `{field}`")
        return recurrence
    return Recurrence(recurrence.every, calendar=calendar, zone=zone)


_NOT_OF_THE_CALENDAR = {
    "lifetime": "`lifetime` never begins again",
    "custom": "a length of your own has no place in the calendar",
    "hour": "hours counted from the subscription are the same in every zone",
}


def _turns(node: Node) -> Recurrence:
    """Read how often: a word, or a duration, which begins with a digit."""
    if isinstance(node.value, str) and node.value[:1].isdigit():
        return Recurrence("custom", _length_s(node, _CUSTOM_MAX))
    return Recurrence(node.choice(_PERIODS))


def _length_s(node: Node, at_most: timedelta) -> int:
    length = read_duration(node)
    if length is None:
        return 0
    if not _WINDOW_MIN <= length <= at_most:
        shortest, longest = render_duration(_WINDOW_MIN), render_duration(at_most)
        node.wrong(f"a window lasts from `{shortest}` to `{longest}`; write a duration between them")
    return int(min(length, at_most).total_seconds())


def _zone(node: Node) -> str:
    what = "an IANA time zone such as `Europe/Berlin`"
    zone = node.text(what)
    if zone and zone not in zones():
        near = get_close_matches(zone[:64], zones(), n=1)
        node.wrong(f"unknown zone `{zone[:64]}`; " + (f"did you mean `{near[0]}`?" if near else f"write {what}"))
    return zone


def _render_every(recurrence: Recurrence) -> object:
    if recurrence.length_s is not None:
        return render_duration(timedelta(seconds=recurrence.length_s))
    fields: dict[str, object] = {"period": recurrence.every}
    if recurrence.calendar:
        fields["align"] = "calendar"
    if recurrence.zone != "UTC":
        fields["zone"] = recurrence.zone
    return fields if len(fields) > 1 else recurrence.every
