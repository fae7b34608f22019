"""What `paygrade doctor` says of one thing it looked at."""

from typing import Literal

from msgspec import Struct


class Symptom(Struct, frozen=True):
    """One thing looked at. `note` is worth knowing, `wrong` keeps the server from doing its work."""

    what: str
    state: Literal["ok", "note", "wrong"]
    detail: str


def shown(names: list[str], *, most: int = 5) -> str:
    """The first of these, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
