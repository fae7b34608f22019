"""Snapshots: one account's entitlements and balances, true until a known instant.

What accounts of one plan have alike is a *shape*, kept once for all of them. An account keeps its dates, its
subscriptions and its balances: in a shape, a number stands for each date and subscription, which says the place of it
among those of the account (0: none).

Laws: a snapshot gives back the segments it was made of; where its plain counts are kept as numbers alone, it is asked
and answers as before.
"""

from collections.abc import Iterator, Mapping, MutableSequence
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.entitlements.model import Entitlement, Segment, Source
from paygrade.usage.balances import Balance
from paygrade.values.text import QUANTITY_MAX

Dates = tuple[datetime | None, ...]
Names = tuple[str | None, ...]


class SourceTerms(Struct, frozen=True, array_like=True, gc=False):
    """A source without its subscription and its end, and which of the account's those are."""

    source: Source
    subscription: int
    until: int


class Terms(Struct, frozen=True, gc=False):
    """An entitlement without dates and sources, and which of the account's those are."""

    its: Entitlement
    from_at: int
    resets_at: int
    anchor_at: int
    begun_at: int
    sources: tuple[SourceTerms, ...]


class Span(Struct, frozen=True, array_like=True, gc=False):
    """A segment without dates, and which of the account's those are."""

    from_at: int
    until: int
    terms: dict[str, Terms]


class Shape(Struct, frozen=True, eq=False, weakref=True):
    """What accounts of one plan have alike. There is one of a kind in a process; `written` is it as JSON.

    `until` and `terms` are those of the first segment; `pools`: the place of each feature and credit that is counted in
    it among the versions that are kept of an account.
    """

    spans: tuple[Span, ...]
    written: bytes
    until: int
    terms: dict[str, Terms]
    pools: dict[str, int]


class Snapshot(Struct, frozen=True, gc=False):
    """One account's entitlements and balances, true in `[as_of, until)`, with every segment in between.

    `version` is `<catalog version>.<account version>`. `known` False: there is no such account.
    """

    account: str
    version: str
    as_of: datetime
    until: datetime
    shape: Shape
    dates: Dates = (None,)
    names: Names = (None,)
    balances: dict[str, Balance] = {}
    roles: dict[str, str] = {}
    """Each member's role."""
    seats: dict[str, int] = {}
    """The place of each member with a seat, from 0: whoever's is beyond the number of seats may not use theirs. `HELD`
    is that of a seat which waits for somebody invited."""
    known: bool = True
    counts: MutableSequence[int] | None = None
    """Three numbers for each of the shape's pools: what is used and held in the window that runs, and the version of
    that; -1 where a balance is none of the ledger's. They are a balance where there is no other of the pool."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Every segment, the first one first."""
        return tuple(
            Segment(self.dates[span.from_at], self.dates[span.until], dict(Dated(self, span)))  # type: ignore[arg-type]  # of these there are
            for span in self.shape.spans
        )


def balance_of(snapshot: Snapshot, pool: str) -> Balance | None:
    """What is counted of a feature or credit; None: nothing is known to be."""
    found, counts = snapshot.balances.get(pool), snapshot.counts
    if found is not None or counts is None:
        return found
    place = snapshot.shape.pools.get(pool)
    if place is None or counts[3 * place + 2] < 0:
        return None
    return Balance(counts[3 * place], counts[3 * place + 1], window_of(snapshot, pool))


def balances_of(snapshot: Snapshot) -> dict[str, Balance]:
    """All that is counted."""
    if snapshot.counts is None:
        return snapshot.balances
    found = {pool: balance_of(snapshot, pool) for pool in (*snapshot.shape.pools, *snapshot.balances)}
    return {pool: balance for pool, balance in found.items() if balance is not None}


def window_of(snapshot: Snapshot, pool: str) -> datetime | None:
    """When the window began that usage of this pool counts in; None: it never begins anew."""
    return snapshot.dates[snapshot.shape.terms[pool].from_at]


HELD = QUANTITY_MAX
"""Beyond any number of seats."""
NOBODY: dict[str, Any] = {}
"""Shared by all accounts without members, so that they cost nothing. Any: roles and seats alike."""


class Dated(Mapping[str, Entitlement]):
    """The entitlements of one segment of an account, with its dates: made when they are asked for."""

    __slots__ = ("_made", "_snapshot", "terms")

    def __init__(self, snapshot: Snapshot, span: Span) -> None:
        self._snapshot, self.terms = snapshot, span.terms
        self._made: dict[str, Entitlement] = {}

    def __getitem__(self, key: str) -> Entitlement:
        made = self._made.get(key)
        if made is None:
            terms, dates = self.terms[key], self._snapshot.dates
            made = self._made[key] = replace(
                terms.its, sources=sources_of(self._snapshot, terms),
                from_at=dates[terms.from_at], resets_at=dates[terms.resets_at],
                anchor_at=dates[terms.anchor_at], begun_at=dates[terms.begun_at],
            )  # fmt: skip
        return made

    def __contains__(self, key: object) -> bool:
        return key in self.terms

    def __iter__(self) -> Iterator[str]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)


def entitlements_at(snapshot: Snapshot, at: datetime) -> Mapping[str, Entitlement]:
    """The entitlements in force at `at`."""
    dates = snapshot.dates
    for span in snapshot.shape.spans:
        if at < dates[span.until]:  # type: ignore[operator]  # a segment has an end
            return Dated(snapshot, span)
    return {}


def sources_of(snapshot: Snapshot, terms: Terms) -> tuple[Source, ...]:
    """Where an entitlement comes from."""
    dates, names = snapshot.dates, snapshot.names
    return tuple(
        [
            replace(one.source, subscription=names[one.subscription], until=dates[one.until])
            if one.subscription or one.until
            else one.source
            for one in terms.sources
        ]
    )


def shape_of(written: bytes, spans: tuple[Span, ...] | None = None) -> Shape:
    """The shape that is written so; `spans` where they are known already."""
    found = _shapes.get(written)
    if found is None:
        spans = _decode(written) if spans is None else spans
        first = spans[0] if spans else Span(1, 2, {})
        counted = [key for key, terms in first.terms.items() if terms.its.kind not in ("boolean", "config")]
        pools = {key: place for place, key in enumerate(counted)}
        found = _shapes[written] = Shape(spans, written, first.until, first.terms, pools)
    return found


_shapes: WeakValueDictionary[bytes, Shape] = WeakValueDictionary()
_decode = msgspec.json.Decoder(tuple[Span, ...]).decode
