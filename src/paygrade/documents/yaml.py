"""Documents as people write them: YAML or JSON text read into plain data, with the line of every place.

Laws: what is read is mappings with text keys, lists, texts, whole numbers, booleans and null, and a text never
turns into something else by its looks (`no` and `on` are texts); what could be read in two ways is a mistake; the
cost of reading grows with the size of the text alone, which is limited.

Scalars follow the core schema of YAML 1.2 (§10.3), less what it has for floats and other number bases. Lists and
mappings are built here from PyYAML's parser events, since its loaders resolve YAML 1.1 and drop duplicate keys.
"""

import json
import re
from typing import Any

import yaml

from paygrade.catalog.parse import parse
from paygrade.catalog.reader import refused
from paygrade.values.errors import Location, Mistake, Refused
from paygrade.values.text import QUANTITY_MAX, describe

BYTES_MAX = 1 << 20
DEPTH_MAX = 32

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser where PyYAML was built with it
_WORDS: dict[str, object] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NO_FLOATS = "is a float; no floats: write minor units, as a whole number, or quote it if it is a string"
_DIGITS_MAX = len(str(QUANTITY_MAX))


def read_yaml(text: str | bytes) -> tuple[object, dict[str, Location]]:
    """Read one YAML document: the plain data, and JSON Pointers into it with where they stand.

    Raises Refused (`catalog_invalid`) with every mistake up to the first one that hides what follows: those of the
    text, and those of the catalog as far as it could be read.
    """
    source = _decode(text)
    builder = _Builder()
    try:
        for event in yaml.parse(source, Loader=_Loader):
            builder.take(event)
            if builder.gave_up:
                break
    except yaml.MarkedYAMLError as error:
        builder.mistakes.append(_syntax_mistake(error, line_max=source.count("\n") + 1))
        builder.gave_up = True
    except yaml.reader.ReaderError as error:
        before = source.encode()[: error.position].decode(errors="ignore")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        builder.mistakes.append(Mistake("", f"{error.reason}; remove the character from the text", line, column))
        builder.gave_up = True
    if builder.mistakes:
        raise refused([*builder.mistakes, *_further_mistakes(builder)])
    return builder.root, builder.lines


def read_json(text: str | bytes) -> tuple[object, dict[str, Location]]:
    """Read one JSON document as strictly; JSON has no lines worth naming, so there are none.

    Raises Refused (`catalog_invalid`) with every mistake.
    """
    source = _decode(text)
    mistakes: list[Mistake] = []

    def mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
        read: dict[str, object] = {}
        for key, value in pairs:
            if key in read:
                mistakes.append(Mistake("", f"{describe(key)} is twice in one mapping; remove one of them"))
            read[key] = value
        return read

    def integer(digits: str) -> int:
        if len(digits.lstrip("-")) <= _DIGITS_MAX:
            return int(digits)
        mistakes.append(Mistake("", f"{describe(digits)} is too large; write at most {QUANTITY_MAX}"))
        return 0

    def no_float(digits: str) -> None:
        mistakes.append(Mistake("", f"{describe(digits)} {_NO_FLOATS}"))

    try:
        document = json.loads(
            source, object_pairs_hook=mapping, parse_int=integer, parse_float=no_float, parse_constant=no_float
        )
    except json.JSONDecodeError as error:
        raise refused([Mistake("", f"this is not JSON: {error.msg.lower()}", error.lineno, error.colno)]) from None
    except RecursionError:
        raise refused([Mistake("", "nested too deeply; use fewer levels")]) from None
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        mistakes.append(Mistake("", "an escape such as `\\ud800` is half a character; write both or none"))
    if mistakes:
        raise refused(mistakes)
    return document, {}


def _further_mistakes(builder: "_Builder") -> list[Mistake]:
    """What is wrong with the catalog beside the places that could not be read, so that one look finds everything."""
    if builder.gave_up:
        return []
    try:
        parse(builder.root, lines=builder.lines)
    except Refused as caught:
        return [mistake for mistake in caught.mistakes if not builder.unread & set(_places_above(mistake.pointer))]
    return []


def _places_above(pointer: str) -> list[str]:
    steps = pointer.split("/")
    return ["/".join(steps[:count]) for count in range(1, len(steps) + 1)]


def _decode(text: str | bytes) -> str:
    try:
        data = text.encode() if isinstance(text, str) else text
        if len(data) > BYTES_MAX:
            raise refused(
                [Mistake("", f"the document is larger than {BYTES_MAX >> 20} MiB; leave out what is not sold")]
            )
        return data.decode("utf-8-sig")
    except UnicodeError:
        raise refused([Mistake("", "the document is not UTF-8; save it with that encoding")]) from None


def _syntax_mistake(error: yaml.MarkedYAMLError, *, line_max: int) -> Mistake:
    mark = error.problem_mark or error.context_mark
    context = f"{error.context}: " if error.context else ""
    message = f"this is not YAML: {context}{error.problem}"
    return Mistake("", message, min(mark.line + 1, line_max), mark.column + 1) if mark else Mistake("", message)


class _Open:
    """A mapping or list that is being filled, at its place."""

    def __init__(self, container: dict[str, object] | list[object], pointer: str) -> None:
        self.container = container
        self.pointer = pointer
        self.awaits_key = isinstance(container, dict)
        self.key: str | None = None
        """The key of the value to come. None: the key was a mistake, and its value is dropped."""


class _Builder:
    """Builds the data from parser events; never deeper than DEPTH_MAX and without recursion."""

    def __init__(self) -> None:
        self.root: object = None
        self.lines: dict[str, Location] = {"": Location(1, 1)}
        self.mistakes: list[Mistake] = []
        self.gave_up = False
        self.unread: set[str] = set()
        """Places whose value could not be read and is null instead."""
        self._open: list[_Open] = []
        self._documents = 0

    def take(self, event: Any) -> None:  # PyYAML's events are untyped
        at = Location(event.start_mark.line + 1, event.start_mark.column + 1)
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._give_up("a second document starts here; write one document per file", at)
            case yaml.AliasEvent():
                self._wrong(f"`*{event.anchor}` refers to another place; write the value out", at)
                self.unread.add(self._value(None, at))
            case yaml.ScalarEvent():
                self._refuse_properties(event, at)
                plain = event.implicit[0] and not event.style
                if self._open and self._open[-1].awaits_key:
                    self._key(event.value, at, plain=plain)
                elif plain:
                    self._plain_value(event.value, at)
                else:
                    self._value(event.value, at)
            case yaml.MappingStartEvent():
                self._start({}, event, at)
            case yaml.SequenceStartEvent():
                self._start([], event, at)
            case yaml.CollectionEndEvent():
                self._open.pop()

    def _plain_value(self, text: str, at: Location) -> None:
        known = len(self.mistakes)
        pointer = self._value(self._scalar(text, at), at)
        if len(self.mistakes) > known:
            self.unread.add(pointer)

    def _start(self, container: dict[str, object] | list[object], event: Any, at: Location) -> None:
        self._refuse_properties(event, at)
        if len(self._open) == DEPTH_MAX:
            self._give_up(f"nested deeper than {DEPTH_MAX} levels; use fewer levels", at)
            return
        if self._open and self._open[-1].awaits_key:
            self._wrong("a key is a text, not a mapping or a list; quote it if it starts with `{` or `[`", at)
        self._open.append(_Open(container, self._value(container, at)))

    def _key(self, name: str, at: Location, *, plain: bool) -> None:
        mapping = self._open[-1]
        assert isinstance(mapping.container, dict)
        mapping.awaits_key, mapping.key = False, None
        pointer = _below(mapping.pointer, name)
        if plain and name == "<<":
            self._wrong("`<<` merges another mapping in; write its keys out", at)
        elif plain and (name in _WORDS or _NUMBER.fullmatch(name)):
            self._wrong(f"a key is a text; quote `{name}` if you mean the text" if name else "a key is missing", at)
        elif name in mapping.container:
            first = self.lines[pointer].line
            self._wrong(f"{describe(name)} is here twice, first in line {first}; keep one of them", at)
        else:
            mapping.key = name
            self.lines[pointer] = at

    def _value(self, value: object, at: Location) -> str:
        """Put a value where it belongs and return its place."""
        if not self._open:
            self.root = value
            self.lines[""] = at
            return ""
        parent = self._open[-1]
        if isinstance(parent.container, list):
            pointer = f"{parent.pointer}/{len(parent.container)}"
            parent.container.append(value)
            self.lines[pointer] = at
            return pointer
        if parent.awaits_key:  # something that cannot be a key was used as one
            parent.awaits_key, parent.key = False, None
            return parent.pointer
        parent.awaits_key = True
        if parent.key is None:
            return parent.pointer
        parent.container[parent.key] = value
        return _below(parent.pointer, parent.key)

    def _scalar(self, text: str, at: Location) -> object:
        if text in _WORDS:
            return _WORDS[text]
        if not _NUMBER.fullmatch(text):
            return text
        digits = text.lstrip("+-")
        if not digits.isdigit():
            self._wrong(f"{describe(text)} {_NO_FLOATS}", at)
        elif not _INTEGER.fullmatch(text):
            self._wrong(
                f"{describe(text)} can be read in two ways; write `{digits.lstrip('0') or '0'}` or quote it", at
            )
        elif len(digits) > _DIGITS_MAX:
            self._wrong(f"{describe(text)} is too large; write at most {QUANTITY_MAX} or quote it", at)
        else:
            return int(text)
        return None

    def _refuse_properties(self, event: Any, at: Location) -> None:
        if event.anchor is not None:
            self._wrong(f"`&{event.anchor}` names this place to repeat it; remove it and write the value out", at)
        if event.tag is not None:
            self._wrong(f"{describe(event.tag)} is a tag; remove it, and quote what should be a string", at)

    def _give_up(self, message: str, at: Location) -> None:
        self._wrong(message, at)
        self.gave_up = True

    def _wrong(self, message: str, at: Location) -> None:
        self.mistakes.append(Mistake(self._open[-1].pointer if self._open else "", message, *at))


def _below(pointer: str, key: str) -> str:
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
