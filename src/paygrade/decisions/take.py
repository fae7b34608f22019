"""Taking a snapshot of an account: its segments from an instant up to the horizon, and what of them is its own."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.decisions.snapshots import HELD, NOBODY, Snapshot, SourceTerms, Span, Terms, shape_of
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
    now = account.time(at) if stands_still else at
    # Who has a seat is told once for all segments: they end with the next invitation that gives one back.
    last = min((one.expires_at for one in account.invitations(now).values() if one.expires_at), default=None)
    last = None if stands_still else last
    while segments[-1].until < at + HORIZON and segments[-1].until != last and len(segments) < SEGMENTS_MAX:
        segments.append(derive(account, catalog, segments[-1].until))
    until = segments[-1].until
    roles = {key: member.role for key, member in account.members.items() if member.role is not None}
    seats = dict.fromkeys(account.holding_seats(now), HELD)
    seats |= {member: place for place, member in enumerate(account.seated)}
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
    # The first and the last instant have places of their own, even where they are one.
    dates: list[datetime | None] = [None, as_of, until]
    names: list[str | None] = [None]
    places: dict[object, int] = {None: 0, until: 2, as_of: 1}
    spans = tuple(
        Span(
            _place(places, dates, segment.from_at),
            _place(places, dates, segment.until),
            {key: _undated(its, places, dates, names) for key, its in segment.entitlements.items()},
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


Kept = TypeVar("Kept")


def _place(places: dict[object, int], kept: list[Kept], one: Kept) -> int:
    """Which of those that are kept this is: dates, or names."""
    found = places.get(one)
    if found is None:
        found = places[one] = len(kept)
        kept.append(one)
    return found


def _undated(
    its: Entitlement, places: dict[object, int], dates: list[datetime | None], names: list[str | None]
) -> Terms:
    sources = tuple(
        SourceTerms(
            replace(one, subscription=None, until=None) if one.subscription or one.until else one,
            _place(places, names, one.subscription),
            _place(places, dates, one.until),
        )
        for one in its.sources
    )
    bare = replace(its, from_at=None, resets_at=None, anchor_at=None, begun_at=None, sources=())
    return Terms(
        bare,
        _place(places, dates, its.from_at),
        _place(places, dates, its.resets_at),
        _place(places, dates, its.anchor_at),
        _place(places, dates, its.begun_at),
        sources,
    )


_encode = msgspec.json.Encoder().encode
