"""Phrases: how a sentence of a story is read into a call of the function it stands above.

Laws: a phrase is written once, as people say it; `<name>` is a blank, `[…]` may be left out, `<name:a|b>` is one of
these words; what the blanks accept is in BLANKS; a sentence that fits no phrase is a mistake that names the nearest.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from difflib import SequenceMatcher, get_close_matches
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from paygrade.values.periods import parse_duration, parse_instant

Known = ParamSpec("Known")
Result = TypeVar("Result")

ItemsSaid = tuple[tuple[str, int | None], ...]
"""Prices with their quantities: `pro_monthly x3 and extra_calls_monthly`."""


class Phrases(Generic[Result]):
    """The sentences of one speaker, and what each of them does."""

    def __init__(self, speaker: str) -> None:
        self.speaker = speaker
        self.known: list[tuple[str, re.Pattern[str], Callable[..., Result]]] = []

    def say(self, template: str) -> Callable[[Callable[Known, Result]], Callable[Known, Result]]:
        """Let `template` mean the function below it; the blanks are its keyword arguments."""

        def add(meant: Callable[Known, Result]) -> Callable[Known, Result]:
            self.known.append((template, _pattern(template), meant))
            return meant

        return add

    def read(self, sentence: str) -> partial[Result]:
        """What the sentence does, with its blanks filled in. ValueError if it fits no phrase."""
        for _, pattern, meant in self.known:
            found = pattern.fullmatch(sentence)
            if found is not None:
                blanks = found.groupdict().items()
                return partial(meant, **{name: read_blank(name, text) for name, text in blanks if text is not None})
        raise ValueError(f"`{sentence}` is nothing the {self.speaker} says; {self._nearest(sentence)}")

    def shown(self) -> list[str]:
        """Every phrase as docs/stories.md lists it: words to choose from stand in parentheses."""
        return [re.sub(r"<\w+:([^>|]+)>", r"\1", _choices(template)) for template, _, _ in self.known]

    def _nearest(self, sentence: str) -> str:
        nearest = sorted(self.shown(), key=lambda phrase: _likeness(phrase, sentence), reverse=True)[:3]
        return f"the nearest phrases are {', '.join(f'`{phrase}`' for phrase in nearest)}"


def read_blank(name: str, text: str) -> Any:
    """The value a blank stands for; Any: its kind goes by its name. ValueError says what was expected."""
    _, read = BLANKS.get(name, _WORD)
    return read(text)


def read_value(text: str) -> bool | int | str:
    """`on`, `off`, a whole number, or any other text."""
    if text in ("on", "off"):
        return text == "on"
    return int(text) if re.fullmatch(r"-?[0-9]+", text) else text


def read_items(text: str) -> ItemsSaid:
    return tuple(_item(part) for part in text.split(" and "))


def _item(text: str) -> tuple[str, int | None]:
    price, _, quantity = text.partition(" x")
    return price, int(quantity) if quantity else None


def _days(text: str) -> timedelta:
    return timedelta(days=int(text))


def _instant(text: str) -> datetime:
    return parse_instant(text)


_WORD: tuple[str, Callable[[str], Any]] = (r"[\w@.-]+", str)
_INSTANT = (r"[0-9]\S*", _instant)
BLANKS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "subscription": (r"[\w-]+(?:/[\w-]+)?", str),
    "items": (r"[\w-]+(?: x[0-9]+)?(?: and [\w-]+(?: x[0-9]+)?)*", read_items),
    "later": (r"[\w-]+(?: x[0-9]+)?(?: and [\w-]+(?: x[0-9]+)?)*", read_items),
    "zone": (r"[A-Z][\w/+-]+", str),
    "customers": (r"@[\w-]+(?: and @[\w-]+)*", lambda text: tuple(text.split(" and "))),
    "members": (
        r"(?:nobody|[\w.-]+(?: and [\w.-]+)*)",
        lambda text: () if text == "nobody" else tuple(text.split(" and ")),
    ),
    "quantity": (r"[0-9]+", int),
    "units": (r"[0-9]+", int),
    "used": (r"[0-9]+", int),
    "counted": (r"-?[0-9]+", int),
    "limit": (r"[0-9]+", int),
    "version": (r"[0-9]+", int),
    "number": (r"[0-9]+", int),
    "times": (r"[0-9]+", int),
    "priority": (r"[0-9]+", int),
    "days": (r"[0-9]+", _days),
    "duration": (r"[0-9]\w*", parse_duration),
    "at": _INSTANT,
    "since": _INSTANT,
    "until": _INSTANT,
    "end": _INSTANT,
    "change": _INSTANT,
    "value": (r"\S+", read_value),
    "text": (r'"[^"]*"', lambda text: text[1:-1]),
    "terms": (r".+", lambda text: tuple(text.split(", "))),
    "wishes": (r".+", lambda text: tuple(text.split(", "))),
}


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(<[^>]+>|\[|\])", template)
    return re.compile("".join(_part(part) for part in parts))


def _part(part: str) -> str:
    if part in ("[", "]"):
        return {"[": "(?:", "]": ")?"}[part]
    if not part.startswith("<"):
        return re.escape(part)
    name, _, words = part[1:-1].partition(":")
    accepted = words or BLANKS.get(name, _WORD)[0]
    return f"(?P<{name}>{accepted})"


def _choices(template: str) -> str:
    return re.sub(r"<\w+:([^>]*\|[^>]*)>", r"(\1)", template)


def _likeness(phrase: str, sentence: str) -> tuple[float, float]:
    """How many of the words it must have the sentence has, spelling mistakes forgiven; then how alike they look."""
    needed = re.sub(r"\[[^]]*\]|<[^>]*>|\([^)]*\)", " ", phrase).split()
    found = [word for word in needed if get_close_matches(word, sentence.split(), n=1, cutoff=0.7)]
    return len(found) / max(1, len(needed)), SequenceMatcher(None, phrase, sentence).ratio()
