"""Nodes as questions and usage events name them: how they are stated, and what is kept of their counters."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from paygrade.billing.facts import Node
from paygrade.billing.nodes import StatedNode, fold_nodes, is_path, places
from paygrade.decisions.decide import AnyDecision
from paygrade.decisions.nodes import decide_at
from paygrade.decisions.snapshots import Snapshot, entitlements_at
from paygrade.server.state.nodes import AccountNodes
from paygrade.usage.balances import Row
from paygrade.usage.history import fold
from paygrade.usage.ledger import release

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction


async def load_nodes(store: "Store", named: Iterable[tuple[str, str]]) -> dict[str, dict[str, Node]]:
    """By account and path, what is stated of the nodes on the way to these (account, node)."""
    paths = {(account, place) for account, node in named if is_path(node) for place in places(node)}
    if not paths:
        return {}
    async with store.transaction() as tx:
        found = await tx.nodes.find(paths)
    return {account: {path: one.node for path, one in its.items()} for account, its in found.items()}


async def decide_at_node(
    tx: "Transaction",
    decision: AnyDecision,
    snapshot: Snapshot,
    node: str | None,
    *,
    properties: Mapping[str, object] | None = None,
    at: datetime,
    now: datetime,
    believed: bool = False,
) -> tuple[AnyDecision, list[int]]:
    """What was decided of the account, as far as its node lets it; and the numbers of the facts of nodes on the way.

    Of the past by what is known of it now, or with `believed` by what was known then. Refused `unknown_node`.
    """
    if node is None or not snapshot.known:
        return decision, []
    account, past = snapshot.account, at < now
    if past:
        known_until = {"recorded_until" if believed else "happened_until": at}
        saved = await tx.accounts.facts(account, **known_until)
        stated: Mapping[str, StatedNode] = fold_nodes(one.fact for one in saved)
    else:
        stated = (await tx.nodes.find([(account, place) for place in places(node)])).get(account, {})
    known = AccountNodes(account, {path: one.node for path, one in stated.items()})
    entitlements = entitlements_at(snapshot, at)
    its = known.way(entitlements, decision.feature, node, properties, at) if decision.feature in entitlements else ()
    slots = [(one.pool, one.slot) for one in its if one.units is not None]
    if past:
        rows = fold(await tx.ledger.drawn(account, at, believed=believed)) if slots else {}
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
