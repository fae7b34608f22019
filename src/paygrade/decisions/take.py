"""Taking a snapshot of an account: its segments from an instant up to the horizon, and what of them is its own."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.decisions.snapshots import NOBODY, Snapshot, SourceTerms, Span, Terms, shape_of
from paygrade.entitlements.derive import HORIZON, derive
from paygrade.entitlements.model import Entitlement, Segment
from paygrade.usage.balances import Balance

SEGMENTS_MAX = 64
"""An hourly quota turns 840 times within the horizon; the snapshot then ends after this many turns instead."""


def snapshot(account: Account, catalog: Catalog, at: datetime, *, own_time: bool = False) -> Snapshot:
    """What holds from `at` on, up to the horizon, assuming nothing but time happens.

    An account that lives by a test clock has what it has when that shows, and has it until that is advanced; with
    `own_time` it is asked for an instant that the clock will show.
    """
    version = f"{catalog.version}.{account.version}"
    if not account.exists:
        return snapshot_of(account.key, version, at, at + HORIZON, (), known=False)
    stands_still = account.clock_at is not None and not own_time
    segments = [derive(account, catalog, account.time(at) if stands_still else at)]
    if stands_still:
        segments = [Segment(at, at + HORIZON, segments[0].entitlements)]
    while segments[-1].until < at + HORIZON and len(segments) < SEGMENTS_MAX:
        segments.append(derive(account, catalog, segments[-1].until))
    until = segments[-1].until
    roles = {key: member.role for key, member in account.members.items() if member.role is not None}
    seats = {member: place for place, member in enumerate(account.seated)}
    taken = {key: Balance(used=len(seats)) for key, its in segments[0].entitlements.items() if its.in_seats and seats}
    return snapshot_of(account.key, version, at, until, segments, taken, roles=roles or NOBODY, seats=seats or NOBODY)


def snapshot_of(
    account: str,
    version: str,
    as_of: datetime,
    until: datetime,
    segments: Iterable[Segment],
    balances: dict[str, Balance] | None = None,
    *,
    roles: dict[str, str] | None = None,
    seats: dict[str, int] | None = None,
    known: bool = True,
) -> Snapshot:
    """The snapshot that these segments make."""
    dates: dict[datetime | None, int] = {None: 0, as_of: 1, until: 2}
    names: dict[str | None, int] = {None: 0}
    spans = tuple(
        Span(
            _place(dates, segment.from_at),
            _place(dates, segment.until),
            {key: _undated(its, dates, names) for key, its in segment.entitlements.items()},
        )
        for segment in segments
    )
    shape = shape_of(_encode(spans), spans)
    return Snapshot(
        account, version, as_of, until, shape, tuple(dates), tuple(names), {} if balances is None else balances,
        NOBODY if roles is None else roles, NOBODY if seats is None else seats, known,
    )  # fmt: skip


def with_segments(snapshot: Snapshot, segments: Iterable[Segment]) -> Snapshot:
    """The same account, with the same balances, with these segments."""
    its = snapshot
    return snapshot_of(
        its.account, its.version, its.as_of, its.until, segments, its.balances,
        roles=its.roles, seats=its.seats, known=its.known,
    )  # fmt: skip


def _place(places: dict[Any, int], what: object) -> int:  # Any: dates, or names
    found = places.get(what)
    if found is None:
        found = places[what] = len(places)
    return found


def _undated(its: Entitlement, dates: dict[datetime | None, int], names: dict[str | None, int]) -> Terms:
    sources = tuple(
        SourceTerms(
            replace(one, subscription=None, until=None) if one.subscription or one.until else one,
            _place(names, one.subscription),
            _place(dates, one.until),
        )
        for one in its.sources
    )
    bare = replace(its, from_at=None, resets_at=None, anchor_at=None, begun_at=None, sources=())
    return Terms(
        bare,
        _place(dates, its.from_at),
        _place(dates, its.resets_at),
        _place(dates, its.anchor_at),
        _place(dates, its.begun_at),
        sources,
    )


_encode = msgspec.json.Encoder().encode
