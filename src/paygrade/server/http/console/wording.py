"""How pages write figures, money, instants and states: the same everywhere.

Laws: an instant is UTC, short on the screen and whole in its `<time>`; figures have their thousands apart; a state has
one word and one of five meanings (`ok`, `wait`, `stop`, `hand`, `act`; empty: nothing to say).
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from markupsafe import Markup, escape

from paygrade.values.money import amount

_SIGNS = {"usd": "$", "eur": "€", "gbp": "£"}
_STATES = {
    "active": ("Active", "ok"),
    "trialing": ("Trial", "wait"),
    "grace": ("Grace", "wait"),
    "past_due": ("Past due", "stop"),
    "unpaid": ("Unpaid", "stop"),
    "paused": ("Paused", ""),
    "incomplete": ("Incomplete", "wait"),
    "canceled": ("Canceled", ""),
    "expired": ("Expired", ""),
}


def number(units: int | float) -> str:
    """`12,400`."""
    return f"{units:,}"


def short(units: int) -> str:
    """Of a large figure what one remembers: `4.2 M`."""
    for size, unit in ((10**9, "bn"), (10**6, "M"), (10**5, "k")):
        if units >= size:
            figure = units / (size if size != 10**5 else 1000)
            return f"{figure:.0f} {unit}" if figure >= 100 else f"{figure:.1f} {unit}".replace(".0 ", " ")
    return number(units)


def money(units: int, currency: str) -> str:
    """`$1,480.00`, `9,900 JPY`."""
    figure, _, code = amount(units, currency).partition(" ")
    sign, digits = ("−", figure[1:]) if figure.startswith("-") else ("", figure)
    whole, point, rest = digits.partition(".")
    told = f"{int(whole):,}{point}{rest}"
    mark = _SIGNS.get(currency.lower())
    return f"{sign}{mark}{told}" if mark else f"{sign}{told} {code}"


def share(part: int, whole: int) -> str:
    """A width in a bar: `81.06%`, never more than all of it."""
    return f"{min(100.0, max(0.0, 100 * part / whole if whole > 0 else 100.0)):.4g}%"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 account`, `12 accounts`."""
    return f"{number(count)} {noun if count == 1 else nouns or noun + 's'}"


def words(key: str) -> str:
    """A key as people read it: `api_calls` is `Api calls`."""
    told = key.replace("_", " ")
    return told[:1].upper() + told[1:]


def state_words(state: str) -> str:
    return _STATES.get(state, (words(state), ""))[0]


def state_tone(state: str) -> str:
    return _STATES.get(state, ("", ""))[1]


def instant(at: datetime) -> str:
    """The whole of it: `2026-12-14 09:12:07 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(at: datetime) -> str:
    """As machines read it."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def typed(at: datetime) -> str:
    """As a field for dates takes it: `2026-12-14T09:12`."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M}"


def short_day(at: datetime, now: datetime | None) -> str:
    """`14 Dec`, with its year if that is another one."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b}" if now is None or at.year == now.astimezone(UTC).year else f"{at.day} {at:%b %Y}"


def short_time(at: datetime, now: datetime | None) -> str:
    """`Today, 14:20`, `Mon 14 Dec, 09:12`, `18 Nov 2025`: as much as one needs to know."""
    at = at.astimezone(UTC)
    if now is None:
        return f"{short_day(at, now)}, {at:%H:%M}"
    days = (at.date() - now.astimezone(UTC).date()).days
    near = {0: "Today", 1: "Tomorrow", -1: "Yesterday"}.get(days)
    if near is not None:
        return f"{near}, {at:%H:%M}"
    if abs(days) < 14:
        return f"{at:%a} {short_day(at, now)}, {at:%H:%M}"
    return short_day(at, now) if abs(days) >= 180 else f"{short_day(at, now)}, {at:%H:%M}"


def span(length: timedelta) -> str:
    """About how long: `84 ms`, `3 minutes`, `4 days`."""
    seconds = length.total_seconds()
    if seconds < 1:
        return f"{round(seconds * 1000)} ms"
    for size, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return plural(round(seconds / size), noun)
    return plural(round(seconds), "second")


def seconds(length_s: float) -> str:
    """About how long: `84 ms`, `3 minutes`."""
    return span(timedelta(seconds=length_s))


def pretty(value: object) -> str:
    """Data as one reads it: JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def time_tag(at: datetime, told: str) -> Markup:
    """An instant, short to read and whole to look at."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at), instant(at), told)


def moment(at: datetime, now: datetime | None) -> Markup:
    return time_tag(at, short_time(at, now))


def day(at: datetime, now: datetime | None) -> Markup:
    return time_tag(at, short_day(at, now))


def clock(at: datetime) -> Markup:
    """`14:20:11`."""
    return time_tag(at, f"{at.astimezone(UTC):%H:%M:%S}")


def sentence(text: str) -> str:
    """A message of the API, which begins in lower case, as a sentence of its own."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def ticked(text: str) -> Markup:
    """A message in which what somebody wrote stands between backticks."""
    parts = str(text).split("`")
    shown = [Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)]
    return Markup("").join(shown) if len(parts) % 2 else escape(text)


def shown_value(value: object) -> str:
    """What an entitlement is, in a word."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "On" if value else "Off"
    return number(value) if isinstance(value, int) else str(value)


def term(text: str) -> str:
    """What a catalog gives, as versions are compared by it: `10,000 with other overage`, `no, not in plan`."""
    if text.startswith("no ("):
        return f"no, {words(text[4:].rstrip(')')).lower()}"
    figure, space, more = text.partition(" ")
    return f"{number(int(figure))}{space}{more}" if figure.isdecimal() else text


# Any: filters of every kind.
FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number,
    "short": short,
    "money": money,
    "share": share,
    "plural": plural,
    "words": words,
    "state_words": state_words,
    "state_tone": state_tone,
    "instant": instant,
    "iso": iso,
    "typed": typed,
    "moment": moment,
    "day": day,
    "clock": clock,
    "span": span,
    "seconds": seconds,
    "pretty": pretty,
    "sentence": sentence,
    "ticked": ticked,
    "shown_value": shown_value,
    "term": term,
}
