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
    if not decision.allowed or not decision.quantity or all(one.units is None for one in way):
        return decision
    entitlements, feature = entitlements_at(snapshot, at), decision.feature
    its = entitlements[feature]
    own = in_window(balance_of(snapshot, feature), its.from_at, at)
    credits = set_aside if to_hold else lambda its, quantity, said: price(its, own, quantity, said)
    for one in way:
        if one.units is None:
            continue
        amount = decision.quantity
        if one.pool != feature:
            amount = credits(its, decision.quantity, properties)
        row = row_of(one)
        used, resets_at = used_at(entitlements[one.pool], row, at)
        room = Room(one.units, used, row.reserved, resets_at, f"node {one.name}")
        if not room.fits(amount):
            limit, used_units, reserved, left = in_units(its, own, room, properties, priced=one.pool != feature)
            return replace(
                decision, allowed=False, reason="limit_reached", value=None, unlimited=False, limit=limit,
                used=used_units, reserved=reserved, remaining=left, resets_at=resets_at, limited_by=room.name,
            )  # fmt: skip
    return decision
