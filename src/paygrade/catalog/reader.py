"""A plain document, as YAML or JSON hold it, under a reader that knows its place and collects every mistake.

Laws: reading never stops and never raises: a value that cannot be used is reported once and a stand-in is
returned, so that the rest is read as well; nothing built while mistakes were found leaves `refuse_if_any`.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from paygrade.values.errors import MISTAKES_MAX, Location, Mistake, Refused
from paygrade.values.text import _UNPRINTABLE, QUANTITY_MAX, describe, is_integer, is_key, one_of

_Option = TypeVar("_Option", bound=str)


def refused(mistakes: Collection[Mistake]) -> Refused:
    """The refusal of a catalog with these mistakes, in the order of its lines."""
    ordered = sorted(mistakes, key=lambda mistake: mistake.line or 0)
    count = "a mistake" if len(ordered) == 1 else f"{len(ordered)} mistakes, the first"
    return Refused("catalog_invalid", f"the catalog has {count} at {ordered[0]}", tuple(ordered))


class Mistakes:
    """The mistakes found so far. `lines` maps JSON Pointers to where they stand; a place without one stands where its
    parent does."""

    def __init__(self, lines: Mapping[str, Location]) -> None:
        self._lines = lines
        self._found: list[Mistake] = []
        self.defined: dict[str, Mapping[str, Any]] = {}
        """What the document has defined so far, by noun. Any: each noun names things of its own kind."""

    def __len__(self) -> int:
        return len(self._found)

    def add(self, pointer: str, message: str) -> None:
        self._found.append(Mistake(pointer, message, *self._location(pointer)))

    def unknown(self, noun: str, name: object, known: Collection[str]) -> str:
        """Say that there is no such name, with the nearest one or, when they are few, all of them."""
        text = f"unknown {noun} {describe(name)}"
        if isinstance(name, str) and len(name) <= 64 and len(self._found) < MISTAKES_MAX:
            near = get_close_matches(name, known, n=1)
            if near:
                return f"{text}; did you mean `{near[0]}`?"
        if 0 < len(known) <= 12:
            return f"{text}; write {one_of(known)}"
        return f"{text}; define it first or remove this line"

    def refuse_if_any(self) -> None:
        if self._found:
            raise refused(self._found)

    def _location(self, pointer: str) -> Location | tuple[None, None]:
        while pointer not in self._lines:
            if not pointer:
                return None, None
            pointer = pointer.rpartition("/")[0]
        return self._lines[pointer]


class Node:
    """One value of the document at its place. Each reading method reports what is wrong and returns a stand-in."""

    __slots__ = ("_mistakes", "key", "pointer", "value")

    def __init__(self, value: object, pointer: str, mistakes: Mistakes, key: str = "") -> None:
        self.value = value
        self.pointer = pointer
        self.key = key
        """The innermost key above or at this place that was chosen by people."""
        self._mistakes = mistakes

    @property
    def mistakes_found(self) -> int:
        """How many were found so far in the whole document."""
        return len(self._mistakes)

    def wrong(self, message: str) -> None:
        self._mistakes.add(self.pointer, message)

    def expected(self, what: str) -> None:
        if isinstance(self.value, float):
            self.wrong(f"{describe(self.value)} is a float; no floats: write minor units, as a whole number")
        else:
            self.wrong(f"expected {what}, not {describe(self.value)}")

    def unknown(self, noun: str, known: Collection[str], *, key: str | None = None) -> None:
        """Report that this value, or the `key` it stands under, names nothing known."""
        self.wrong(self._mistakes.unknown(noun, self.value if key is None else key, known))

    def fields(self, *known: str, hints: Mapping[str, str] = {}) -> "Node":
        """Read a mapping with fixed keys; `hints` says what to do about keys one could expect here."""
        if not isinstance(self.value, Mapping):
            self.expected("a mapping")
            return self._stand_in({})
        for key in self.value:
            if key not in known:
                self._child(key).wrong(hints.get(key) or self._mistakes.unknown("key", key, known))
        return self

    def defined(self, noun: str) -> Mapping[str, Any]:
        """What the document defines under this noun."""
        return self._mistakes.defined[noun]

    def has(self, key: str) -> bool:
        return isinstance(self.value, Mapping) and key in self.value

    def raw(self, key: str, default: object = None) -> object:
        """The value of a key as it stands there, unread."""
        return self.value.get(key, default) if isinstance(self.value, Mapping) else default

    def at(self, *steps: str) -> "Node":
        """The place below, whether there is something or not."""
        node = self
        for step in steps:
            node = Node(node.raw(step), f"{node.pointer}/{step}", self._mistakes, self.key)
        return node

    def hushed(self) -> "Node":
        """The same, about which nothing more is told."""
        return self._stand_in(self.value)

    def need(self, key: str, example: str) -> "Node":
        """The value of a mandatory key."""
        if isinstance(self.value, Mapping) and key in self.value:
            return self._child(key)
        self.wrong(f"`{key}` is missing; add for example `{key}: {example}`")
        return self._stand_in(None)

    def entries(self) -> dict[str, "Node"]:
        """Read a mapping whose keys are chosen by people."""
        if not isinstance(self.value, Mapping):
            self.expected("a mapping (`{}` if it is empty)")
            return {}
        entries = {}
        for key in self.value:
            child = self._child(key)
            if is_key(key):
                child.key = key
                entries[key] = child
            else:
                child.wrong(f"{describe(key)} is not a key; use a-z, 0-9 and `_`, starting with a letter")
        return entries

    def named(self) -> dict[str, "Node"]:
        """Read a mapping whose keys are not ours to choose, such as the values of a property."""
        if not isinstance(self.value, Mapping):
            self.expected("a mapping")
            return {}
        named = {}
        for key in self.value:
            child = self._child(key)
            if isinstance(key, str) and key.strip() and not _UNPRINTABLE.search(key):
                named[key] = child
            else:
                child.wrong(f"{describe(key)} is not a name; write a string without control characters")
        return named

    def items(self) -> list["Node"]:
        if not isinstance(self.value, list | tuple):
            self.expected("a list")
            return []
        return [
            Node(item, f"{self.pointer}/{index}", self._mistakes, self.key) for index, item in enumerate(self.value)
        ]

    def text(self, what: str = "a text") -> str:
        """Read a text that is not empty."""
        if isinstance(self.value, str) and self.value.strip():
            return self.note()
        self.expected(what)
        return ""

    def note(self) -> str:
        """Read a text for people, which may be empty."""
        if not isinstance(self.value, str):
            self.expected("a text")
            return ""
        if _UNPRINTABLE.search(self.value):
            self.wrong("a string can't contain control characters; remove them")
        return self.value

    def flag(self) -> bool:
        if isinstance(self.value, bool):
            return self.value
        self.expected("`true` or `false`")
        return False

    def integer(self, at_least: int = 0, at_most: int = QUANTITY_MAX) -> int:
        if is_integer(self.value) and at_least <= self.value <= at_most:
            return self.value
        limits = f"at least {at_least}" if at_most == QUANTITY_MAX else f"from {at_least} to {at_most}"
        too_large = is_integer(self.value) and self.value > QUANTITY_MAX
        self.expected(f"a whole number up to {QUANTITY_MAX}" if too_large else f"a whole number, {limits}")
        return at_least

    def choice(self, options: tuple[_Option, ...]) -> _Option:
        for option in options:
            if self.value == option:
                return option
        if isinstance(self.value, str):
            self.unknown("word", options)
        else:
            self.expected(one_of(options))
        return options[0]

    def _child(self, key: object) -> "Node":
        assert isinstance(self.value, Mapping)
        name = key if isinstance(key, str) else describe(key)
        escaped = name.replace("~", "~0").replace("/", "~1")
        return Node(self.value[key], f"{self.pointer}/{escaped}", self._mistakes, self.key)

    def _stand_in(self, value: object) -> "Node":
        # What is wrong with a stand-in was already said about the place it stands in for.
        hushed = Mistakes({})
        hushed.defined = self._mistakes.defined
        return Node(value, self.pointer, hushed, self.key)
