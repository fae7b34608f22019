"""Snapshots: one account's entitlements and balances, true until a known instant."""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from paygrade.entitlements.model import Entitlement, Segment
from paygrade.usage.balances import Balance


class Snapshot(Struct, frozen=True, omit_defaults=True):
    """One account's entitlements and balances, true in `[as_of, until)`, with every segment in between.

    `version` is `<catalog version>.<account version>`. `known` False: there is no such account.
    """

    account: str
    version: str
    as_of: datetime
    until: datetime
    segments: tuple[Segment, ...]
    balances: dict[str, Balance] = {}
    roles: dict[str, str] = {}
    """Each member's role."""
    seats: dict[str, int] = {}
    """The place of each member with a seat, from 0: whoever's is beyond the number of seats may not use theirs."""
    known: bool = True


def entitlements_at(snapshot: Snapshot, at: datetime) -> Mapping[str, Entitlement]:
    """The entitlements in force at `at`."""
    for segment in snapshot.segments:
        if at < segment.until:
            return segment.entitlements
    return {}
