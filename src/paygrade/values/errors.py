"""The two kinds of failure the domain names; the third kind, an assertion, means we are wrong.

Refused: the caller asked for what the domain forbids. It carries a stable code and says what to do next.
Unavailable: the world failed (database, provider). Only the shell raises or retries it.
Which HTTP status each code maps to is the shell's business (`server/problems.py`).
"""

from typing import NamedTuple

from msgspec import Struct

MISTAKES_MAX = 100
"""So many are named; a document with more is not as it was meant, and its answer should not outgrow it."""


class Location(NamedTuple):
    """Where something stands in a text; both count from 1."""

    line: int
    column: int


class Mistake(Struct, frozen=True, omit_defaults=True):
    """One thing wrong with a document, and where: `pointer` is a JSON Pointer, `line` and `column` count from 1."""

    pointer: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line is not None else self.pointer or "document"
        return f"{place}: {self.message}"


class Refused(Exception):
    """The request cannot be granted as asked; nothing was changed. Of many mistakes the first MISTAKES_MAX are kept."""

    def __init__(self, code: str, detail: str, mistakes: tuple[Mistake, ...] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.mistakes = mistakes[:MISTAKES_MAX]


class Unavailable(Exception):
    """Something outside this process did not answer; the same request may succeed later, after `retry_after_s`
    where it said so."""

    def __init__(self, code: str, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
