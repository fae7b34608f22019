"""Counting at nodes: the counters on the way from the account to one of its nodes.

Laws: whatever is used at a node is counted once at it and at every node above it, in the same entry; what is held there
is given back or used at all of them; so nothing below a node comes to more than the node.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.facts import Node
from paygrade.billing.nodes import limits_on
from paygrade.entitlements.model import Entitlement
from paygrade.usage.balances import (
    NOWHERE,
    Row,
    Tally,
    freed_at,
    node_slot,
    parse_slot,
    rolled,
    rolling_slot,
    slot_of,
)
from paygrade.usage.entries import Held, Posting
from paygrade.values.text import as_text


class NodeCounter(Struct, frozen=True):
    """One counter of a node. `units`: its limit; None: it has none. `name`: the node, with the properties it is for.
    It counts in the window that ends at `resets_at`, or the last `rolling_s` seconds."""

    pool: str
    slot: str
    name: str
    resets_at: datetime | None
    rolling_s: int | None
    units: int | None = None


Way = tuple[NodeCounter, ...]
"""The counters from the root to a node; of each, those of a feature before those of the credit that pays for it."""


def way(
    entitlements: Mapping[str, Entitlement],
    feature: str,
    nodes: Sequence[Node],
    properties: Mapping[str, object] | None,
) -> Way:
    """The counters that a use of this feature with these properties is in, at these nodes from the root."""
    its = entitlements[feature]
    pools = (feature,) if its.credit is None else (feature, its.credit)
    found: dict[tuple[str, str], NodeCounter] = {}
    for node in nodes:
        for pool in pools:
            one = entitlements[pool]
            key = counter(one, node.path)
            found[key] = NodeCounter(*key, node.path, one.resets_at, one.rolling_s)
    for path, limit, units in limits_on(nodes):
        if limit.feature in pools and _meets(properties, limit.where):
            one = entitlements[limit.feature]
            key = counter(one, path, limit.where)
            found[key] = NodeCounter(*key, parse_slot(key[1]).node, one.resets_at, one.rolling_s, units)
    return tuple(sorted(found.values(), key=lambda one: (_depth(one), pools.index(one.pool), one.slot)))


def _depth(one: NodeCounter) -> int:
    return one.name.partition("?")[0].count("/")


def counter(its: Entitlement, node: str, where: Mapping[str, str] = NOWHERE) -> tuple[str, str]:
    """The pool and slot that a node counts this in, in the window that runs."""
    window = slot_of(its.from_at) if its.rolling_s is None else rolling_slot(its.rolling_s)
    return its.feature, node_slot(window, node, where)


def used_at(its: Entitlement | NodeCounter, row: Row, at: datetime) -> tuple[int, datetime | None]:
    """What counts as used in a counter of a node, and when that comes back."""
    if its.rolling_s is None:
        return row.used, its.resets_at
    tally = Tally(row.used, row.reserved, row.detail.buckets if row.detail is not None else ())
    return rolled(tally, its.rolling_s, at), freed_at(tally, its.rolling_s)


def _meets(properties: Mapping[str, object] | None, where: Mapping[str, str]) -> bool:
    return all(as_text((properties or {}).get(name)) == value for name, value in where.items())


def spend_at(way: Way, postings: Iterable[Posting], feature: str, quantity: int) -> tuple[Posting, ...]:
    """What using `quantity` units draws, `postings`, with what it draws at nodes."""
    drawn = tuple(postings)
    return (*drawn, *(Posting(one.pool, one.slot, _amount(one, drawn, feature, quantity)) for one in way))


def hold_at(
    way: Way, postings: Iterable[Posting], held: Held, feature: str, *, node: str
) -> tuple[tuple[Posting, ...], Held]:
    """What holding units draws, and what it holds, with what it does at nodes."""
    amounts = {True: held.units, False: held.credits}
    beside = tuple(Posting(one.pool, one.slot, 0, amounts[one.pool == feature]) for one in way)
    own = tuple((one.pool, one.slot) for one in way if one.pool == feature)
    priced = tuple((one.pool, one.slot) for one in way if one.pool != feature)
    at_node = replace(held, counted=(*held.counted, *own), priced=(*held.priced, *priced), node=node)
    return (*postings, *beside), at_node


def _amount(one: NodeCounter, drawn: Iterable[Posting], feature: str, quantity: int) -> int:
    """Units of the feature, or what was paid for them."""
    if one.pool == feature:
        return quantity
    return sum(posting.used for posting in drawn if posting.pool == one.pool and parse_slot(posting.slot).pays)
