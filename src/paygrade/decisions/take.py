"""Taking a snapshot of an account: its segments from an instant up to the horizon."""

from datetime import datetime
from typing import Any

from paygrade.billing.accounts import Account
from paygrade.catalog.model import (
    Catalog,
)
from paygrade.decisions.snapshots import Snapshot
from paygrade.entitlements.derive import HORIZON, derive
from paygrade.usage.balances import Balance

SEGMENTS_MAX = 64
"""An hourly quota turns 840 times within the horizon; the snapshot then ends after this many turns instead."""


_NOBODY: dict[str, Any] = {}  # shared by all accounts without members, so that they cost nothing


def snapshot(account: Account, catalog: Catalog, at: datetime) -> Snapshot:
    """What holds from `at` on, up to the horizon, assuming nothing but time happens."""
    version = f"{catalog.version}.{account.version}"
    if not account.exists:
        return Snapshot(account.key, version, at, at + HORIZON, (), known=False)
    segments = [derive(account, catalog, at)]
    while segments[-1].until < at + HORIZON and len(segments) < SEGMENTS_MAX:
        segments.append(derive(account, catalog, segments[-1].until))
    until = segments[-1].until
    roles = {key: member.role for key, member in account.members.items() if member.role is not None}
    seats = {member: place for place, member in enumerate(account.seated)}
    taken = {key: Balance(used=len(seats)) for key, its in segments[0].entitlements.items() if its.in_seats and seats}
    return Snapshot(account.key, version, at, until, tuple(segments), taken, roles or _NOBODY, seats or _NOBODY)
