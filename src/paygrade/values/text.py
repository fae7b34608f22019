"""Numbers, keys and texts from outside: what they may be, and how a message shows them."""

import re
from collections.abc import Collection, Mapping
from typing import TypeGuard

QUANTITY_MAX = 2**53 - 1
"""The largest whole number that every JSON reader keeps exact (RFC 8259 §6)."""
KEY_LENGTH_MAX = 200
PAGE_MAX = 500
"""The most that a page of an answer lists, and how many rows whoever looks at all of them reads at a time."""


def on_wire(count: int) -> int:
    """A count as JSON readers can hold it: what is more is shown as the most there is. The ledger keeps it exact."""
    return count if -QUANTITY_MAX <= count <= QUANTITY_MAX else QUANTITY_MAX if count > 0 else -QUANTITY_MAX


_KEY = re.compile(r"[a-z][a-z0-9_]*")


_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""What PostgreSQL's texts or UTF-8 cannot hold, and what only spoils a log."""


def describe(value: object) -> str:
    """Name a value in a message, whatever it is and however long."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"`{str(value).lower()}`"
        case int() if abs(value) > 10**30:
            return "a number of more than 30 digits"
        case int() | float():
            return f"`{value}`"
        case str():
            return f"`{value}`" if len(value) <= 60 else f"`{value[:57]}...`"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def as_text(value: object) -> str | None:
    """A property's value as JSON writes it, whole numbers without a fraction; None: no text, number or boolean."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) else None


def flow(value: object) -> str:
    """Write plain data on one line, as flow-style YAML looks."""
    match value:
        case Mapping():
            return "{ " + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(flow(item) for item in value) + "]"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def one_of(words: Collection[str]) -> str:
    *most, last = (f"`{word}`" for word in words)
    return f"{', '.join(most)} or {last}" if most else last


def is_key(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def is_chosen_key(value: object) -> TypeGuard[str]:
    """Whether people may have chosen it as the key of an account, a member or an event: 1 to 200 printable characters,
    case-sensitive."""
    return isinstance(value, str) and 0 < len(value) <= KEY_LENGTH_MAX and value.isprintable()


def is_integer(value: object) -> TypeGuard[int]:
    # Python counts True among the integers; a document does not.
    return isinstance(value, int) and not isinstance(value, bool)
