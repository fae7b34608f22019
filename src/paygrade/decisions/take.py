"""Taking a snapshot of an account: its segments from an instant up to the horizon."""

from datetime import datetime
from typing import Any

from paygrade.billing.accounts import Account
from paygrade.catalog.model import Catalog
from paygrade.decisions.snapshots import Snapshot
from paygrade.entitlements.derive import HORIZON, derive
from paygrade.entitlements.model import Segment
from paygrade.usage.balances import Balance

SEGMENTS_MAX = 64
"""An hourly quota turns 840 times within the horizon; the snapshot then ends after this many turns instead."""


_NOBODY: dict[str, Any] = {}  # shared by all accounts without members, so that they cost nothing


def snapshot(account: Account, catalog: Catalog, at: datetime, *, own_time: bool = False) -> Snapshot:
    """What holds from `at` on, up to the horizon, assuming nothing but time happens.

    An account that lives by a test clock has what it has when that shows, and has it until that is advanced; with
    `own_time` it is asked for an instant that the clock will show.
    """
    version = f"{catalog.version}.{account.version}"
    if not account.exists:
        return Snapshot(account.key, version, at, at + HORIZON, (), known=False)
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
    return Snapshot(account.key, version, at, until, tuple(segments), taken, roles or _NOBODY, seats or _NOBODY)
