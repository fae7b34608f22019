"""Nodes as operators state them: the teams, people and agents below an account, and what each may use.

Laws: of many nodes stated at once all are taken or none; a node is stated below one that is; stating what is stated
already changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Fact, Node, NodeLimit
from paygrade.billing.nodes import SUBJECT, StatedNode, limits_on, places, unknown_node
from paygrade.catalog.model import Catalog
from paygrade.decisions.decide import Room
from paygrade.entitlements.derive import derive
from paygrade.entitlements.model import Entitlement, kind_of
from paygrade.entitlements.sources import offers
from paygrade.server.operations.accounts.record import load_account, lock_account
from paygrade.server.operations.audit.note import note
from paygrade.server.operations.paging import cut, read_place
from paygrade.server.operations.updates.announce import announce_fact
from paygrade.server.state.nodes import rows_at
from paygrade.usage.balances import Row
from paygrade.usage.nodes import counter, used_at
from paygrade.values.errors import Refused
from paygrade.values.text import on_wire

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction


class NodeLimitView(Struct, frozen=True):
    """A limit that holds at a node, and what is used of it in the present window. `inherited`: it is what the node
    above gives `each`. `units` None: only children have it."""

    feature: str
    units: int | None
    each: int | None
    where: dict[str, str]
    inherited: bool
    used: int
    reserved: int
    remaining: int | None
    resets_at: datetime | None


class NodeView(Struct, frozen=True):
    """A node as it is stated, with the limits that hold there."""

    node: str
    limits: tuple[NodeLimitView, ...]
    open: bool
    reason: str
    expires_at: datetime | None


class NodesView(Struct, frozen=True):
    """Nodes by path. `next` is the `after` of the next page; None: there is none."""

    account: str
    nodes: tuple[NodeView, ...]
    next: str | None = None


async def list_nodes(
    store: "Store", *, account: str, below: str | None = None, after: str | None = None, limit: int = 100, at: datetime
) -> NodesView:
    """List nodes.

    The account's nodes by path, each with the limits that hold there and what is used of them in the present window.
    `below`: only those below this node. Refused `unknown_account`, `invalid_query`.
    """
    place = read_place(after, tuple[str], name="after")
    async with store.reading() as tx:
        held = (await load_account(tx, account)).account
        found = await tx.nodes.page(account, below=below, after=place[0] if place else "", limit=limit + 1)
        shown, further = cut([one.node for one in found], limit, lambda node: (node.path,))
        return replace(await _view(tx, held, shown, at), next=further)


async def put_nodes(store: "Store", *, account: str, nodes: Sequence[Node], at: datetime) -> NodesView:
    """Add or update nodes.

    State many nodes at once, all or none; others stay as they are. Each replaces all that was said of its node. A node
    that is `removed` may not be used any more, nor what is below it, unless the node above is `open`; what was used
    stays counted. Refused `unknown_account`, `unknown_node` for a node that is removed or below one that isn't stated,
    `unknown_feature`, `not_countable`, `already_expired`.
    """
    async with store.transaction() as tx:
        held, catalog = await lock_account(tx, account), await tx.catalogs.in_force()
        known = await _find(tx, account, nodes)
        stated = {path for path, one in known.items() if one.node.stands(at)}
        stated |= {node.path for node in nodes if not node.removed}
        for node in nodes:
            if node.removed and node.path not in known:
                raise unknown_node(account, node.path)
            if not node.removed:
                _refuse_misfit(account, node, catalog, stated, at)
        told = await _record(tx, held, nodes, known, at)
        return await _view(tx, told, [node for node in nodes if not node.removed], at)


async def _find(tx: "Transaction", account: str, nodes: Iterable[Node]) -> dict[str, StatedNode]:
    """What is stated of these nodes and those above them."""
    wanted = {(account, place) for node in nodes for place in places(node.path)}
    return (await tx.nodes.find(wanted)).get(account, {})


async def _record(
    tx: "Transaction",
    account: Account,
    nodes: Sequence[Node],
    known: Mapping[str, StatedNode],
    at: datetime,
) -> Account:
    """Record what is said of nodes that differs from what was said before: which people they are is personal."""
    new = [node for node in nodes if node.path not in known or known[node.path].node != node]
    if not new:
        return account
    numbers = range(account.version + 1, account.version + 1 + len(new))
    facts = [Fact(number, f"{SUBJECT}{node.path}", number, at, node) for number, node in zip(numbers, new, strict=True)]
    told = await tx.accounts.save_nodes(account, facts, at)
    await tx.nodes.put(account.key, [StatedNode(f.number, f.number, n) for f, n in zip(facts, new, strict=True)])
    pairs = {node.path: [known[node.path].node if node.path in known else None, node] for node in new}
    note(tx, "node.set", account.key, changes={"nodes": len(new)}, personal={"nodes": pairs}, at=at)
    await tx.tell("paygrade_account", account.key)
    await announce_fact(tx, account, told, facts[0].subject if len(facts) == 1 else "nodes", at)
    return told


def _refuse_misfit(account: str, node: Node, catalog: Catalog, stated: set[str], at: datetime) -> None:
    for place in places(node.path)[:-1]:
        if place not in stated:
            raise unknown_node(account, place)
    if node.expires_at is not None and node.expires_at <= at:
        detail = f"`expires_at` of `{node.path}` is in the past; choose a later time, or leave it out"
        raise Refused("already_expired", detail)
    for limit in node.limits:
        offer = offers(catalog).get(limit.feature)
        if offer is None:
            raise Refused("unknown_feature", f"the catalog has no feature or credit `{limit.feature}`")
        if kind_of(offer) in ("boolean", "config"):
            raise Refused("not_countable", f"`{limit.feature}` is {kind_of(offer)}: it has no units to limit at nodes")


async def _view(tx: "Transaction", account: Account, nodes: Sequence[Node], at: datetime) -> NodesView:
    now = account.time(at)
    its = derive(account, await tx.catalogs.in_force(), now).entitlements
    above = await _find(tx, account.key, nodes)
    limits = {node.path: _limits(node, above) for node in nodes}
    slots = {
        counter(its[limit.feature], path, limit.where)
        for path, found in limits.items()
        for limit, _ in found
        if limit.feature in its
    }
    rows = await rows_at(tx, account.key, slots, at)
    shown = tuple(
        NodeView(
            node.path,
            tuple(_limit(node.path, limit, its.get(limit.feature), rows, now, inherited=inherited)
                  for limit, inherited in limits[node.path]),
            node.open,
            node.reason,
            node.expires_at,
        )
        for node in nodes
    )  # fmt: skip
    return NodesView(account.key, shown)


def _limits(node: Node, above: Mapping[str, StatedNode]) -> list[tuple[NodeLimit, bool]]:
    """The limits a node has by itself, and those the node above gives each of its children."""
    parent = next((above[place].node for place in places(node.path)[-2:-1] if place in above), None)
    way = [node] if parent is None else [parent, node]
    holding = [(limit, units) for path, limit, units in limits_on(way) if path == node.path]
    own = sum(limit.units is not None for limit in node.limits)  # they come first
    given = [NodeLimit(limit.feature, units, where=limit.where) for limit, units in holding[own:]]
    return [*((limit, False) for limit in node.limits), *((limit, True) for limit in given)]


def _limit(
    path: str,
    limit: NodeLimit,
    its: Entitlement | None,
    rows: Mapping[tuple[str, str], Row],
    at: datetime,
    *,
    inherited: bool,
) -> NodeLimitView:
    used, reserved, resets_at = 0, 0, None
    if its is not None:
        row = rows.get(counter(its, path, limit.where), Row())
        used, resets_at = used_at(its, row, at)
        reserved = row.reserved
    remaining = None if limit.units is None else Room(limit.units, used, reserved, None).left
    return NodeLimitView(
        limit.feature, limit.units, limit.each, limit.where, inherited, on_wire(used), on_wire(reserved), remaining,
        resets_at,
    )  # fmt: skip
