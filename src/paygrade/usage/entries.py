"""Entries: the lines of the ledger as they are kept, and the rows they add up to.

Laws: an entry is written once and never changed; every balance is the sum of the draws of its entries, and nothing
but draws changes one; an id has at most one entry; ids that are chosen never meet those that are derived.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from paygrade.usage.balances import Grant, Row, SlotDetail, parse_slot

EntryKind = Literal[
    "event",
    "consume",
    "reserve",
    "commit",
    "release",
    "extend",
    "expire",
    "grant",
    "void",
    "set",
    "carry_over",
    "lease",
]


Key = tuple[str, str, str]
"""Account, pool and slot."""


class Posting(Struct, frozen=True, array_like=True, gc=False):
    """Units added to what is used and held of one slot. `exact`: what they cost in credits, as a fraction, before
    rounding (only where a feature is paid in credits)."""

    pool: str
    slot: str
    used: int
    reserved: int = 0
    exact: str | None = None


class Held(Struct, frozen=True, omit_defaults=True):
    """What an open reservation holds.

    `units` of the feature; `paid` what they were taken from, in burn order; `counted` the other counters they are
    in: by units of the feature, or, where `priced`, by credits. `properties` are those it was priced with. `leased`: it
    is a lease, all of which counts in this slot. `node`: where it is held.
    """

    units: int
    paid: tuple[tuple[str, str, int], ...]
    counted: tuple[tuple[str, str], ...] = ()
    priced: tuple[tuple[str, str], ...] = ()
    properties: Mapping[str, Any] | None = None
    """Any: JSON as it was told."""
    leased: str | None = None
    node: str | None = None

    @property
    def credits(self) -> int:
        return sum(units for _, _, units in self.paid)

    @property
    def by_credit(self) -> bool:
        """Whether credits pay, even if all that were set aside are spent: then the window counts beside them."""
        return self.window is not None

    @property
    def window(self) -> str | None:
        """The slot of the feature's own window, which counts beside what credits pay; None where they do not."""
        return next((slot for _, slot in self.counted if parse_slot(slot).kind == "window"), None)


class Entry(Struct, frozen=True, gc=False):
    """One line of the ledger: what was asked under an id, and what it drew."""

    account: str
    id: str
    kind: EntryKind
    feature: str
    quantity: int
    time: datetime
    recorded_at: datetime
    digest: int
    draws: tuple[Posting, ...] = ()
    denied: str | None = None
    member: str | None = None
    properties: Mapping[str, Any] | None = None
    """Any: JSON as it was told."""
    answer: bytes | None = None


class Answered(NamedTuple):
    """What an id was answered with before."""

    digest: int
    kind: str
    denied: str | None
    answer: bytes | None


class Kept(NamedTuple):
    """A slot as it is kept, its version, and when something held on it may end by itself."""

    row: Row
    version: int
    expires_at: datetime | None


class Change(NamedTuple):
    """What becomes of a slot."""

    key: Key
    used: int
    reserved: int
    version: int
    expires_at: datetime | None
    detail: SlotDetail | None


class Reservation(Struct, frozen=True):
    """Units held for a while before they are used."""

    account: str
    id: str
    feature: str
    member: str | None
    units: int
    committed: int
    state: Literal["open", "committed", "released", "expired"]
    held: Held
    made_at: datetime
    expires_at: datetime


class Taken(NamedTuple):
    """What a unit of work begins with, and what its ids were answered with before."""

    kept: dict[Key, Kept]
    grants: dict[tuple[str, str], list[Grant]]
    reservations: dict[tuple[str, str], Reservation]
    answered: dict[tuple[str, str], Answered]


class Alert(Struct, frozen=True):
    """A threshold that usage passed: `percent` of a limit of `units`. `resolved_at` None: it stands."""

    account: str
    pool: str
    slot: str
    percent: int
    used: int
    units: int
    raised_at: datetime
    resolved_at: datetime | None = None


def derived(*parts: object) -> str:
    """The id of an entry that nobody named, made of what it is about: one that nobody can choose, since a key holds
    no tab."""
    return "\t".join(str(part) for part in parts)


def digest(*parts: object) -> int:
    """A 64-bit mark of what was asked under an id: the same id with another one is a conflict."""
    return _digest("\x1f".join(["" if part is None else str(_ordered(part)) for part in parts]))


@lru_cache(maxsize=1024)
def _digest(text: str) -> int:
    # Most of what is asked is asked again and again: one more call of the same feature.
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _ordered(part: object) -> object:
    """Properties say the same in whatever order they are written."""
    return sorted(part.items()) if isinstance(part, dict) else part
