"""Nodes as requests name them: the counters on their way, and how those are kept.

Laws: a node is found as it is stated in the database, in the transaction that decides; what is not there is refused.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.billing.facts import Node
from paygrade.billing.nodes import StatedNode, fold_nodes, is_path, on_the_way, places
from paygrade.decisions.decide import AnyDecision
from paygrade.decisions.nodes import decide_at
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.entitlements.model import Entitlement
from paygrade.usage.balances import Row
from paygrade.usage.history import fold
from paygrade.usage.ledger import release
from paygrade.usage.nodes import Way, way

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction


class Ways:
    """The ways to nodes that some requests name."""

    def __init__(self, nodes: Mapping[str, Mapping[str, Node]], at: datetime) -> None:
        self._nodes, self._at = nodes, at
        self._found: dict[tuple[str, str, str, str], Way] = {}

    def find(
        self,
        entitlements: Mapping[str, Entitlement],
        account: str,
        feature: str,
        node: str | None,
        properties: Mapping[str, object] | None,
    ) -> Way:
        """The counters on the way to this node, that a use with these properties is in. Refused `unknown_node`."""
        if node is None or feature not in entitlements:
            return ()
        key = (account, feature, node, repr(properties))
        found = self._found.get(key)
        if found is None:
            nodes = on_the_way(account, node, self._nodes.get(account, {}), self._at)
            found = self._found[key] = way(entitlements, feature, nodes, properties)
        return found


async def find_ways(tx: "Transaction", wanted: Iterable[tuple[str, str | None]], at: datetime) -> Ways:
    """The ways to these (account, node), as stated now; where none is named, nothing is asked."""
    paths = {(account, place) for account, node in wanted if node is not None for place in places(node)}
    return Ways(_plain(await tx.nodes.find(paths)) if paths else {}, at)


async def load_nodes(store: "Store", named: Iterable[tuple[str, str]]) -> dict[str, dict[str, Node]]:
    """By account and path, what is stated of the nodes on the way to these (account, node)."""
    paths = {(account, place) for account, node in named if is_path(node) for place in places(node)}
    if not paths:
        return {}
    async with store.transaction() as tx:
        return _plain(await tx.nodes.find(paths))


def _plain(stated: Mapping[str, Mapping[str, StatedNode]]) -> dict[str, dict[str, Node]]:
    return {account: {path: one.node for path, one in its.items()} for account, its in stated.items()}


async def decide_at_node(
    tx: "Transaction",
    decision: AnyDecision,
    snapshot: Snapshot,
    node: str | None,
    *,
    properties: Mapping[str, object] | None = None,
    at: datetime,
    now: datetime,
) -> tuple[AnyDecision, list[int]]:
    """What was decided of the account, as far as its node lets it; and the numbers of the facts of nodes on the way.

    Of the past with what was known then. Refused `unknown_node`.
    """
    if node is None or not snapshot.known:
        return decision, []
    account, past = snapshot.account, at < now
    if past:
        saved = await tx.accounts.facts(account, recorded_until=at)
        stated: Mapping[str, StatedNode] = fold_nodes(one.fact for one in saved)
    else:
        stated = (await tx.nodes.find([(account, place) for place in places(node)])).get(account, {})
    ways = Ways(_plain({account: stated}), at)
    its = ways.find(entitlements_at(snapshot, at), account, decision.feature, node, properties)
    slots = [(one.pool, one.slot) for one in its if one.units is not None]
    if past:
        rows = fold(await tx.ledger.drawn(account, at)) if slots else {}
    else:
        rows = await rows_at(tx, account, slots, at)
    decided = decide_at(
        decision, snapshot, its, lambda one: rows.get((one.pool, one.slot), _NOTHING), at, properties=properties
    )
    return decided, [stated[place].number for place in places(node) if place in stated]


async def rows_at(
    tx: "Transaction", account: str, slots: Iterable[tuple[str, str]], at: datetime
) -> dict[tuple[str, str], Row]:
    """These slots (pool, slot) of an account, without what reservations held that have expired by `at`."""
    wanted = [(account, *slot) for slot in slots]
    kept = await tx.ledger.load(wanted) if wanted else {}
    rows = {key[1:]: each.row for key, each in kept.items()}
    if any(each.expires_at is not None and each.expires_at <= at for each in kept.values()):
        for reservation in await tx.ledger.open_reservations([account]):
            for posting in release(reservation.held) if reservation.expires_at <= at else ():
                if (row := rows.get((posting.pool, posting.slot))) is not None:
                    rows[posting.pool, posting.slot] = replace(row, reserved=row.reserved + posting.reserved)
    return rows


_NOTHING = Row()
