"""The decision: may they, now, and why?

Laws: `decide` is pure in its arguments, total and never raises; one more is allowed iff
`used + reserved + quantity <= limit`; every decision names its reason and its sources, and the instant and
version it was made on.
"""

from datetime import datetime

from msgspec import Struct

from paygrade.entitlements import Entitlement, Segment, Snapshot
from paygrade.sources import Reason, Source


class Decision(Struct, frozen=True, gc=False):
    """The answer for `quantity` more units of `feature`. Truthy when allowed.

    `limit`, `used`, `reserved` and `remaining` are units of the feature (for a feature paid in credits: what the
    credits buy, rounded down); None where nothing is counted. `as_of` is when the snapshot it rests on was taken;
    `stale` says that the snapshot's time had run out.
    """

    allowed: bool
    reason: Reason
    account: str
    feature: str
    quantity: int
    limit: int | None
    used: int | None
    reserved: int | None
    remaining: int | None
    unlimited: bool
    resets_at: datetime | None
    value: bool | int | str | None
    plan: str | None
    sources: tuple[Source, ...]
    as_of: datetime
    version: str
    stale: bool

    def __bool__(self) -> bool:
        return self.allowed


def decide(snapshot: Snapshot, feature: str, quantity: int, at: datetime, *, member: str | None = None) -> Decision:
    """Whether this account may use `quantity` more units of `feature` at `at`.

    `quantity` 0 asks whether it has the feature at all. A feature with roles needs a `member` who has one of them.
    """
    # The hot path of every product that asks: subscripts and comparisons, no call that need not be.
    try:
        segment, stale = snapshot.segments[0], False
        if at >= segment.until:
            segment, stale = _segment_at(snapshot, at), at >= snapshot.until
        entitlement = segment.entitlements[feature]
    except (IndexError, KeyError):
        return _unknown(snapshot, feature, quantity, at)
    allowed, reason, limit = entitlement.granted, entitlement.reason, entitlement.limit
    used: int | None = None
    reserved: int | None = None
    remaining: int | None = None
    if limit is not None:
        credit, used, reserved = entitlement.credit, 0, 0
        if snapshot.balances:
            balance = snapshot.balances.get(credit or feature)
            # A balance of another period says nothing about this one.
            if balance is not None and balance.from_at == entitlement.from_at:
                used, reserved = balance.used, balance.reserved
        total = used + reserved
        remaining = limit - total if limit > total else 0
        asked = total + (quantity if credit is None else -(-quantity * entitlement.rate // entitlement.per))
        if allowed:
            if asked > limit and not entitlement.soft:
                allowed, reason = False, "limit_reached" if credit is None else "insufficient_credit"
            elif entitlement.tiers and asked > entitlement.tiers[0][0]:
                reason = _tier(entitlement, asked)
        if credit is not None:
            limit, used, reserved, remaining = _bought_units(entitlement, (limit, used, reserved, remaining))
    if allowed and entitlement.roles and snapshot.roles.get(member or "") not in entitlement.roles:
        allowed, reason = False, "role_not_permitted"
    return Decision(
        allowed,
        reason,
        snapshot.account,
        feature,
        quantity,
        limit,
        used,
        reserved,
        remaining,
        entitlement.unlimited,
        entitlement.resets_at,
        entitlement.value if allowed else None,
        entitlement.plan,
        entitlement.sources,
        snapshot.as_of,
        snapshot.version,
        stale,
    )


def _segment_at(snapshot: Snapshot, at: datetime) -> Segment:
    """The segment `at` falls in; the last one when time has run past them all."""
    for segment in snapshot.segments:
        if at < segment.until:
            return segment
    return snapshot.segments[-1]


def _bought_units(entitlement: Entitlement, credits: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    limit, used, reserved, remaining = (amount * entitlement.per // entitlement.rate for amount in credits)
    return limit, used, reserved, remaining


def _tier(entitlement: Entitlement, total: int) -> Reason:
    reason = entitlement.reason
    for threshold, beyond in entitlement.tiers:
        if total > threshold:
            reason = beyond
    return reason


def _unknown(snapshot: Snapshot, feature: str, quantity: int, at: datetime) -> Decision:
    return Decision(
        False,
        "unknown_feature" if snapshot.known else "unknown_account",
        snapshot.account,
        feature,
        quantity,
        None,
        None,
        None,
        None,
        False,
        None,
        None,
        None,
        (),
        snapshot.as_of,
        snapshot.version,
        at >= snapshot.until,
    )
