"""The decision at a node: what the account may, as far as every node on the way lets it.

Laws: what the account is denied, it is denied at every node, for the same reason; otherwise the first node from the
root whose limit does not fit denies, and the decision names it.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from msgspec.structs import replace

from paygrade.decisions.decide import AnyDecision, Room, in_units
from paygrade.decisions.snapshots import Snapshot, balance_of, entitlements_at
from paygrade.usage.balances import Row, in_window
from paygrade.usage.nodes import NodeCounter, Way, used_at
from paygrade.usage.prices import price, set_aside

RowOf = Callable[[NodeCounter], Row]
"""How a counter is kept."""


def decide_at(
    decision: AnyDecision,
    snapshot: Snapshot,
    way: Way,
    row_of: RowOf,
    at: datetime,
    *,
    to_hold: bool = False,
    properties: Mapping[str, object] | None = None,
) -> AnyDecision:
    """What was decided of the account on this snapshot, as far as the nodes on the way have room for it."""
    if not decision.allowed or not decision.quantity:
        return decision
    feature, credits = decision.feature, None
    for one in way:
        if one.units is None:
            continue
        amount, row = decision.quantity, row_of(one)
        if one.pool != feature:
            if credits is None:
                credits = _credits(snapshot, feature, amount, at, to_hold=to_hold, properties=properties)
            amount = credits
        used, resets_at = used_at(one, row, at)
        if used + row.reserved + amount > one.units:
            room = Room(one.units, used, row.reserved, resets_at, f"node {one.name}")
            return _denied(decision, snapshot, room, at, properties, priced=one.pool != feature)
    return decision


def _credits(
    snapshot: Snapshot,
    feature: str,
    quantity: int,
    at: datetime,
    *,
    to_hold: bool,
    properties: Mapping[str, object] | None,
) -> int:
    """What so many units cost."""
    its = entitlements_at(snapshot, at)[feature]
    if to_hold:
        return set_aside(its, quantity, properties)
    return price(its, in_window(balance_of(snapshot, feature), its.from_at, at), quantity, properties)


def _denied(
    decision: AnyDecision,
    snapshot: Snapshot,
    room: Room,
    at: datetime,
    properties: Mapping[str, object] | None,
    *,
    priced: bool,
) -> AnyDecision:
    its = entitlements_at(snapshot, at)[decision.feature]
    own = in_window(balance_of(snapshot, decision.feature), its.from_at, at)
    limit, used, reserved, left = in_units(its, own, room, properties, priced=priced)
    return replace(
        decision, allowed=False, reason="limit_reached", value=None, unlimited=False, limit=limit, used=used,
        reserved=reserved, remaining=left, resets_at=room.resets_at, limited_by=room.name,
    )  # fmt: skip
