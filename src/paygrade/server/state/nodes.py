"""Nodes, as this process remembers them, and the counters on the ways to them.

Laws: remembering changes cost, never meaning: what was loaded before a change of the account was heard is not
remembered after it, and what is not there is never remembered.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
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
from paygrade.values.text import as_text

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

KEPT_MAX = 100_000
"""Nodes and ways that are remembered of all accounts together; a way is some hundred bytes."""
_WayKey = tuple[str, str, str | None, datetime | None, int | None]


class KnownWay(Struct):
    """The nodes on a way until one of them ends; `names`: of which properties the counters depend, and those by the
    values of these."""

    nodes: tuple[Node, ...]
    until: datetime | None
    names: tuple[str, ...]
    by_values: dict[tuple[str | None, ...], Way]


class AccountNodes:
    """Some of one account's nodes by path, and the ways that were asked for."""

    def __init__(self, account: str, nodes: dict[str, Node]) -> None:
        self.account, self.nodes = account, nodes
        self._ways: dict[_WayKey, KnownWay] = {}
        self.kept = 0
        """How many ways."""

    def way(
        self,
        entitlements: Mapping[str, Entitlement],
        feature: str,
        node: str,
        properties: Mapping[str, object] | None,
        at: datetime,
    ) -> Way:
        """The counters on the way to this node, that a use with these properties is in. Refused `unknown_node`."""
        its = entitlements[feature]
        key = (feature, node, its.credit, its.from_at, its.rolling_s)
        known = self._ways.get(key)
        if known is None or (known.until is not None and at >= known.until):
            nodes = on_the_way(self.account, node, self.nodes, at)
            until = min((one.expires_at for one in nodes if one.expires_at is not None), default=None)
            names = sorted({name for one in nodes for limit in one.limits for name in limit.where})
            known = self._ways[key] = KnownWay(nodes, until, tuple(names), {})
        values = tuple([as_text(properties.get(name)) if properties else None for name in known.names])
        found = known.by_values.get(values)
        if found is None:
            found = known.by_values[values] = way(entitlements, feature, known.nodes, properties)
            self.kept += 1
        return found


class Ways:
    """The ways to the nodes that some requests name."""

    def __init__(self, nodes: Mapping[str, AccountNodes], at: datetime) -> None:
        self._nodes, self._at = nodes, at

    def find(
        self,
        entitlements: Mapping[str, Entitlement],
        account: str,
        feature: str,
        node: str | None,
        properties: Mapping[str, object] | None,
    ) -> Way:
        """The counters on the way to this node; none where none is named. Refused `unknown_node`."""
        if node is None or feature not in entitlements:
            return ()
        return self._nodes[account].way(entitlements, feature, node, properties, self._at)


class Nodes:
    """Nodes of the accounts whose nodes were named last."""

    def __init__(self, *, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._known: dict[str, AccountNodes] = {}
        self._loading: dict[str, object] = {}

    async def ways(
        self, tx: "Transaction", wanted: Iterable[tuple[str, str | None]], at: datetime, *, remember: bool
    ) -> Ways:
        """The ways to these (account, node), as they are stated; those that are not remembered are read in `tx`.
        `remember`: changes are being heard."""
        named: dict[str, set[str]] = {}
        for account, node in wanted:
            if node is not None:
                named.setdefault(account, set()).update(places(node))
        found = {account: self._known.get(account) for account in named}
        missing = {
            (account, path)
            for account, paths in named.items()
            for path in paths
            if (known := found[account]) is None or path not in known.nodes
        }
        read = await self._read(tx, missing, remember=remember) if missing else {}
        return Ways({account: read.get(account) or known for account, known in found.items()}, at)  # type: ignore[misc]  # one of both

    async def _read(
        self, tx: "Transaction", missing: set[tuple[str, str]], *, remember: bool
    ) -> dict[str, AccountNodes]:
        """The accounts of these, with them."""
        ticket, accounts = object(), {account for account, _ in missing}
        self._loading.update(dict.fromkeys(accounts, ticket))
        read = {}
        try:
            stated = await tx.nodes.find(missing)
            for account in accounts:
                nodes = {path: one.node for path, one in stated.get(account, {}).items()}
                before, heard = self._known.get(account), self._loading.get(account) is not ticket
                if not remember or heard:
                    read[account] = AccountNodes(account, {**(before.nodes if before is not None else {}), **nodes})
                    continue
                its = read[account] = before or AccountNodes(account, {})
                its.nodes.update(nodes)
                self._known[account] = its
        finally:
            for account in accounts:
                if self._loading.get(account) is ticket:
                    del self._loading[account]
        if sum(len(its.nodes) + its.kept for its in self._known.values()) > self._kept_max:
            self.forget_all()
        return read

    def forget(self, account: str) -> None:
        self._known.pop(account, None)
        self._loading.pop(account, None)

    def forget_all(self) -> None:
        self._known.clear()
        self._loading.clear()


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
        saved = await tx.accounts.facts(
            account, recorded_until=at if believed else None, happened_until=None if believed else at
        )
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
