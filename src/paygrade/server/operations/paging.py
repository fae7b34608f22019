"""Pages of a list: rows in the order of a key, each page beginning after the last key of the page before.

Law: a page costs what it shows, however many rows come before it; a row that stays is on exactly one page, whatever
comes and goes meanwhile.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from paygrade.values.errors import Refused

Row = TypeVar("Row")
Place = TypeVar("Place", bound=tuple[object, ...])


def cut(
    rows: Sequence[Row], limit: int, place: Callable[[Row], tuple[object, ...]]
) -> tuple[tuple[Row, ...], str | None]:
    """The page of `limit` rows, of one more that were looked for, and its `next`: where the last row stands in the
    order. None: there are no more."""
    shown = tuple(rows[:limit])
    return shown, written(place(shown[-1])) if len(rows) > limit else None


def read_place(text: str | None, kind: type[Place], *, name: str) -> Place | None:
    """Where a page begins, of a list whose order these columns make. Refused `invalid_query`."""
    if text is None:
        return None
    try:
        place = msgspec.json.decode(urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)), type=kind)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        place = None
    # PostgreSQL keeps no NUL in a text.
    if place is None or any(isinstance(part, str) and "\0" in part for part in place):
        raise Refused("invalid_query", f"`{name}` must be the `next` of an earlier page")
    return place


def written(place: tuple[object, ...]) -> str:
    """What `read_place` reads."""
    return urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()
