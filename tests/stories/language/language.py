"""Stories: tickets that were never written, as text files that run.

    story a failed renewal walks down the ladder
    catalog standard

    2026-01-31T10:00Z
      provider: acme signs up with a good card
      provider: acme subscribes to pro_monthly x3
      acme seats: allowed plan, limit 3
    +7d
      operator: override acme seats limit 5 because "promised by sales"
      acme seats: allowed override, limit 5

Laws: a file is read whole or not at all; every mistake names file and line and says what was expected; within a
story time never goes back. docs/stories.md is the manual.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.facts import Member
from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse as parse_catalog
from paygrade.documents.yaml import read_yaml
from paygrade.values.errors import Refused
from paygrade.values.periods import parse_duration, parse_instant
from stories.language import expectations, owner_phrases
from stories.language.expectations import DecisionExpected, FindingsExpected
from stories.language.operator_phrases import Choice, Edition, Migrating, Statement, statements
from stories.language.owner_phrases import PlanChangeAsked, plan_change_lines
from stories.language.product_phrases import Asking, Refusal, askings, expecting
from stories.language.provider_phrases import Provider, happenings, read_term

HERE = Path(__file__).parent


class Happening(Struct, frozen=True):
    """Something at the provider."""

    do: Callable[[Provider], None]


class Weather(Struct, frozen=True):
    """How webhooks are delivered from here on; `sweep` reads everything again without waiting for any."""

    words: tuple[str, ...]


Meaning = (
    Happening
    | Statement
    | Choice
    | Edition
    | Migrating
    | Weather
    | Asking
    | PlanChangeAsked
    | DecisionExpected
    | FindingsExpected
)


class Line(Struct, frozen=True):
    """A line of a story, as it was written and as it was understood."""

    number: int
    text: str
    meaning: Meaning


class Moment(Struct, frozen=True):
    """An instant, and what happens and holds then, in this order."""

    at: datetime
    lines: tuple[Line, ...]


class Story(Struct, frozen=True):
    """A claim about access, and the moments that show it."""

    title: str
    path: Path
    line: int
    catalog: Catalog
    catalog_text: str
    document: dict[str, Any]
    """The catalog as plain data. Any: YAML nests freely."""
    moments: tuple[Moment, ...]


class StoryMistake(Exception):
    """A story cannot be read."""


WEATHER = ("calm", "doubled", "shuffled", "lost", "sweep")


def load(path: Path) -> tuple[Story, ...]:
    """Read all stories of a file. Raises StoryMistake."""
    return parse(path.read_text(), path)


def parse(text: str, path: Path) -> tuple[Story, ...]:
    """Read all stories of a text; `path` is where it stands, for mistakes and for the catalogs it names."""
    return tuple(_Reader(path, text).stories())


class _Reader:
    """The lines of one file, read from the first to the last."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = [
            (number, line.rstrip())
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        self.next = 0

    def stories(self) -> Iterator[Story]:
        if not self.lines:
            raise StoryMistake(f"{self.path}:1: the file is empty; start with `story <what it shows>`")
        while self.next < len(self.lines):
            yield self._story()

    def _story(self) -> Story:
        number, line = self._take()
        title = line.removeprefix("story ").strip()
        if not line.startswith("story ") or not title:
            raise self._mistake(number, f"expected `story <what it shows>`, found `{line}`")
        catalog, catalog_text, document = self._catalog()
        moments: list[Moment] = []
        while (line := self._peek()) and not line.startswith("story "):
            moments.append(self._moment(moments[-1].at if moments else None))
        if not moments:
            raise self._mistake(number, "a story needs a moment; write for example `2026-01-31T10:00Z`")
        lines = (line.meaning for moment in moments for line in moment.lines)
        if not any(isinstance(meaning, DecisionExpected | Asking | PlanChangeAsked) for meaning in lines):
            raise self._mistake(number, "a story that expects no decision cannot fail; say what must hold")
        return Story(title, self.path, number, catalog, catalog_text, document, tuple(moments))

    def _catalog(self) -> tuple[Catalog, str, dict[str, Any]]:
        """`catalog <name>`, or `catalog:` with YAML indented below it; `standard` where the story names none."""
        line = self._peek()
        if line == "catalog:":
            number, _ = self._take()
            below: list[str] = []
            while self._peek().startswith(" "):
                at, text = self._take()
                # Lines keep their places, so that a mistake in the catalog is found in the story.
                below += [""] * (at - number - 1 - len(below)) + [text]
            return self._parse_catalog("\n".join(below), number)
        number, name = (self.lines[self.next][0] if line else 1), "standard"
        if line.startswith("catalog "):
            number, _ = self._take()
            name = line.removeprefix("catalog ").strip()
        path = HERE / "catalogs" / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in path.parent.glob("*.yaml")))
            raise self._mistake(number, f"there is no catalog `{name}`; there are {known}")
        return self._parse_catalog(path.read_text(), 0)

    def _parse_catalog(self, text: str, number: int) -> tuple[Catalog, str, dict[str, Any]]:
        try:
            return _parsed_catalog(text)
        except Refused as refused:
            first = refused.mistakes[0]
            raise self._mistake(number + (first.line or 1), f"catalog: {first.message}") from None

    def _moment(self, before: datetime | None) -> Moment:
        number, line = self._take()
        if line.startswith(" "):
            raise self._mistake(number, "expected a time before the first line that happens in it")
        try:
            at = self._instant(line, before)
        except ValueError as error:
            raise self._mistake(number, str(error)) from None
        if before is not None and at < before:
            raise self._mistake(number, f"time only goes forward, and it is {before.isoformat()} already")
        lines: list[Line] = []
        while self._peek().startswith(" "):
            lines.append(self._line())
        return Moment(at, tuple(lines))

    def _instant(self, text: str, before: datetime | None) -> datetime:
        if not text.startswith("+"):
            if not re.match(r"[0-9]", text):
                raise ValueError(f"expected a time such as `2026-01-31T10:00Z` or `+7d`, found `{text}`")
            return parse_instant(text)
        if before is None:
            raise ValueError(f"`{text}` needs a moment before it; start with a time such as `2026-01-31T10:00Z`")
        return before + parse_duration(text[1:])

    def _line(self) -> Line:
        number, line = self._take()
        text = line.strip()
        try:
            return Line(number, text, _meaning(text))
        except ValueError as error:
            raise self._mistake(number, str(error)) from None

    def _peek(self) -> str:
        return self.lines[self.next][1] if self.next < len(self.lines) else ""

    def _take(self) -> tuple[int, str]:
        self.next += 1
        return self.lines[self.next - 1]

    def _mistake(self, number: int, message: str) -> StoryMistake:
        return StoryMistake(f"{self.path}:{number}: {message}")


@cache
def _parsed_catalog(text: str) -> tuple[Catalog, str, dict[str, Any]]:
    """A catalog, its text and its document, which many stories share: nobody changes it."""
    document, lines = read_yaml(text)
    catalog = parse_catalog(document, lines=lines)
    assert isinstance(document, dict), "the parser refuses everything else"
    return catalog, text, document


def _meaning(text: str) -> Meaning:
    speaker, _, sentence = text.partition(": ")
    match speaker:
        case "provider":
            do = happenings.read(sentence)
            for term in do.keywords.get("terms", ()):
                read_term(term)
            return Happening(do)
        case "operator":
            return _statement(sentence)
        case "product":
            asked, _, expected = sentence.partition(": ")
            return expecting(askings.read(asked)(), expected)
        case "owner":
            asked, _, expected = sentence.partition(": ")
            return owner_phrases.expecting(plan_change_lines.read(asked)(), expected)
        case "weather":
            return _weather(sentence)
        case _:
            return expectations.read(text)


def _statement(sentence: str) -> Statement | Choice | Edition | Migrating | Asking:
    said, refused, code = sentence.partition(": refused ")
    stated = statements.read(said if refused else sentence)()
    if not refused:
        return stated
    if isinstance(stated, Asking):
        return replace(stated, expected=Refusal(code))
    if isinstance(stated, Choice) or (isinstance(stated, Statement) and isinstance(stated.body, Member)):
        return replace(stated, refused=code)
    raise ValueError(f"only what is said of units and members can be refused in a story, not `{said}`")


def _weather(sentence: str) -> Weather:
    words = tuple(sentence.split(", "))
    for word in words:
        if word not in WEATHER:
            raise ValueError(f"there is no weather `{word}`; the words are {', '.join(WEATHER)}")
    return Weather(words)
