"""Nodes: exact at every level whatever is asked, each use counted on its whole way, never allowed by absence."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from paygrade.billing.facts import Node, NodeLimit
from paygrade.billing.nodes import places
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check, explain
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.nodes import list_nodes, put_nodes
from paygrade.server.operations.accounts.rebuild import rebuild
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.events.ingest import ingest
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.history import UsageGroup, read_usage
from paygrade.server.operations.usage.requests import Asked, Commit, Consume, Extend, Lease, Release, Reserve
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import parse_slot
from paygrade.usage.events import UsageEvent
from paygrade.values.errors import Refused

LIMIT = 30
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "calls": {"kind": "metered"},
        "recent": {"kind": "metered", "event": "recent"},
        "peaks": {"kind": "metered", "event": "peak", "aggregate": "max", "value": "size"},
        "projects": {"kind": "level"},
        "tokens": {"kind": "metered", "event": "completion", "burns": {"ai_credits": {"rate": 1, "per": 10}}},
    },
    "credits": {"ai_credits": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "exports": True,
                "calls": {"limit": LIMIT, "every": "month"},
                "recent": {"limit": 10, "rolling": "1m"},
                "peaks": {"limit": 100, "every": "month"},
                "projects": 8,
                "ai_credits": {"grant": 10, "every": "month"},
            },
        }
    },
}  # fmt: skip
T0 = datetime(2026, 1, 31, 10, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
TREE = ("a", "a/x", "a/x/1", "a/x/1/deep", "a/y", "b", "b/z")


async def opened(store: Store, *nodes: Node, account: str = "acme") -> None:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account=account, name=account, links={}, traits={}, at=T0)
    if nodes:
        await put_nodes(store, account=account, nodes=nodes, at=T0)


def limited(
    path: str, units: int | None = None, *, each: int | None = None, feature: str = "calls", **more: Any
) -> Node:
    where = more.pop("where", {})
    return Node(path, (NodeLimit(feature, units, each, where),), **more)


async def asked(store: Store, one: Asked, at: datetime = T0) -> Answer:
    (answer,) = await use_together(store, Snapshots(), [one], at)
    assert isinstance(answer, Answer), answer
    return answer


async def refused(store: Store, one: Asked, at: datetime = T0) -> str:
    (answer,) = await use_together(store, Snapshots(), [one], at)
    assert isinstance(answer, Refused), answer
    return answer.code


async def counts(store: Store, account: str = "acme", pool: str = "calls") -> dict[str, tuple[int, int]]:
    """By node, with the properties it counts alone: what is used and held; of the account under ``."""
    async with store.transaction() as tx:
        slots = [slot for its, slot in await tx.ledger.slots_of(account) if its == pool]
        kept = await tx.ledger.load([(account, pool, slot) for slot in slots])
    rows = {parse_slot(slot).node: each.row for (_, _, slot), each in kept.items()}
    return {node: (row.used, row.reserved) for node, row in rows.items() if row.used or row.reserved}


class Holding(Struct):
    """A reservation as the auditor sees it."""

    node: str
    units: int
    until: datetime


class Auditor:
    """What may be used by limits alone, in the plainest words: sums, and no more."""

    def __init__(self, limits: dict[str, int]) -> None:
        self.limits = {"": LIMIT, **limits}
        self.used: dict[str, int] = defaultdict(int)
        self.holding: dict[str, Holding] = {}

    def taken(self, place: str, at: datetime) -> int:
        held = (one.units for one in self.holding.values() if one.until > at and place in on(one.node))
        return self.used[place] + sum(held)

    def tight(self, node: str, units: int, at: datetime) -> str | None:
        """The first place that has no room for them."""
        fits = (self.taken(place, at) + units <= self.limits.get(place, LIMIT) for place in on(node))
        return next((place for place, fit in zip(on(node), fits, strict=True) if not fit), None)

    def use(self, node: str, units: int) -> None:
        for place in on(node):
            self.used[place] += units


def on(node: str) -> tuple[str, ...]:
    return ("", *(places(node) if node else ()))


HOW = st.lists(
    st.tuples(
        st.sampled_from(["consume", "consume", "reserve", "commit", "keep", "release", "extend", "again"]),
        st.sampled_from(["", *TREE, "a/x", "a/x/1", "a/x/1"]),
        st.integers(1, 9),
        st.integers(0, 9),
    ),
    min_size=10,
    max_size=25,
)
LIMITS = st.fixed_dictionaries(
    {"a": st.integers(9, 20), "a/x": st.integers(4, 12)},
    optional={path: st.integers(0, 12) for path in TREE if path not in ("a", "a/x")},
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(limits=LIMITS, how=HOW)
def test_in_any_tree_no_node_goes_over_its_limit_and_children_never_come_to_more_than_their_parent(
    database_url: str, limits: dict[str, int], how: Any
) -> None:
    asyncio.run(played(database_url, limits, how))


async def played(database_url: str, limits: dict[str, int], how: Any) -> None:
    account, at, last = f"acme {uuid.uuid4().hex}", T0, None
    auditor = Auditor(limits)
    async with Store(database_url) as store:
        await opened(store, *(limited(path, limits.get(path)) for path in TREE), account=account)
        for number, (what, node, units, after_s) in enumerate(how):
            at += after_s * SECOND
            one = request(auditor, account, what, node, units, str(number), at) if what != "again" else last
            if one is None:
                continue
            before = await counts(store, account)
            (answer,) = await use_together(store, Snapshots(), [one], at)
            if what != "again":
                follow(auditor, one, answer, at)
            if what == "again" or not isinstance(answer, Answer) or not answer.took_effect:
                expired = not all(each.until > at for each in auditor.holding.values())
                assert expired or await counts(store, account) == before, "what is denied changes nothing"
            last = one if isinstance(one, Consume | Reserve) else last
        assert (await rebuild(store, account=account, at=at)).differences == ()
        later = at + 100 * SECOND
        await asked(store, Consume(account, "calls", "the end", 0, node="a/x/1/deep"), later)
        found = {node: used for node, (used, _) in (await counts(store, account)).items()}
        assert found == {node: used for node, used in auditor.used.items() if used}
        for path in TREE:
            children = [each for each in TREE if each.startswith(f"{path}/") and each.count("/") == path.count("/") + 1]
            assert sum(found.get(each, 0) for each in children) <= found.get(path, 0) <= limits.get(path, LIMIT)


def request(auditor: Auditor, account: str, what: str, node: str, units: int, id: str, at: datetime) -> Asked | None:
    """What is asked: of the reservation that was made first, where it is a step of one."""
    if what == "consume":
        return Consume(account, "calls", id, units, node=node or None)
    if what == "reserve":
        return Reserve(account, "calls", id, units, ttl_s=30, node=node or None)
    known = next((key for key, one in auditor.holding.items() if one.until > at), None)
    if known is None:
        return None
    match what:
        case "commit":
            return Commit(account, known, units)
        case "keep":
            return Commit(account, known, units, keep=True, id=id)
        case "release":
            return Release(account, known)
        case _:
            return Extend(account, known, ttl_s=30)


def follow(auditor: Auditor, one: Asked, answer: Answer | Refused, at: datetime) -> None:
    """Whether it was answered as sums say, and what they come to then."""
    match one:
        case Consume() | Reserve():
            assert isinstance(answer, Answer)
            tight = auditor.tight(one.node or "", one.quantity, at)
            assert answer.took_effect is (tight is None)
            assert answer.decision.limited_by == (f"node {tight}" if tight else None)
            if tight is None and isinstance(one, Consume):
                auditor.use(one.node or "", one.quantity)
            elif tight is None:
                auditor.holding[one.id] = Holding(one.node or "", one.quantity, at + 30 * SECOND)
        case Commit(quantity=int() as quantity):
            its = auditor.holding.pop(one.reservation)
            if quantity > its.units and auditor.tight(its.node, quantity, at) is not None:
                assert isinstance(answer, Refused)
                assert answer.code == "exceeds_reservation"
                auditor.holding[one.reservation] = its
                return
            assert isinstance(answer, Answer), answer
            auditor.use(its.node, quantity)
            if one.keep and its.units > quantity:
                auditor.holding[one.reservation] = Holding(its.node, its.units - quantity, its.until)
        case Release():
            del auditor.holding[one.reservation]
        case Extend():
            auditor.holding[one.reservation].until = at + 30 * SECOND


@pytest.mark.anyio
async def test_a_use_counts_at_every_node_on_its_way_and_the_denial_names_the_first_without_room(store: Store) -> None:
    await opened(store, limited("team", 20), limited("team/jane", 6), Node("team/jane/agent"))
    allowed = await asked(store, Consume("acme", "calls", "1", 5, node="team/jane/agent"))
    assert (allowed.decision.allowed, allowed.decision.limit, allowed.decision.used) == (True, LIMIT, 5)
    every = {"": (5, 0), "team": (5, 0), "team/jane": (5, 0), "team/jane/agent": (5, 0)}
    assert await counts(store) == every
    denied = (await asked(store, Consume("acme", "calls", "2", 2, node="team/jane/agent"))).decision
    assert (denied.reason, denied.limited_by) == ("limit_reached", "node team/jane")
    assert (denied.limit, denied.used, denied.remaining) == (6, 5, 1)
    assert await counts(store) == every
    # A denied id stays denied, whatever is stated later.
    await put_nodes(store, account="acme", nodes=[limited("team/jane", 60)], at=T0 + SECOND)
    again = await asked(store, Consume("acme", "calls", "2", 2, node="team/jane/agent"), T0 + SECOND)
    assert (again.took_effect, again.replayed, again.decision.limited_by) == (False, True, "node team/jane")
    assert await refused(store, Consume("acme", "calls", "2", 2, node="team/jane"), T0 + SECOND) == "id_conflict"


@pytest.mark.anyio
async def test_nothing_is_allowed_by_absence_and_a_refused_id_is_free_again(store: Store) -> None:
    await opened(store, limited("team", 9), Node("team/gone", expires_at=T0 + DAY))
    for node in ("nobody", "team/nobody", "team/nobody/below"):
        assert await refused(store, Consume("acme", "calls", "1", node=node)) == "unknown_node"
        assert await refused(store, Reserve("acme", "calls", "1", node=node)) == "unknown_node"
        with pytest.raises(Refused, match="has no node"):
            await check(store, Snapshots(), account="acme", feature="calls", node=node, at=T0)
        with pytest.raises(Refused, match="has no node"):
            await put_nodes(store, account="acme", nodes=[Node(f"{node}/more/than/that")], at=T0)
    assert await refused(store, Consume("acme", "calls", "2", node="team/gone"), T0 + DAY) == "unknown_node"
    assert await refused(store, Lease("acme", "calls", "3", 5, node="team")) == "not_leasable"
    assert await counts(store) == {}
    await put_nodes(store, account="acme", nodes=[Node("team/nobody")], at=T0)
    assert (await asked(store, Consume("acme", "calls", "1", node="team/nobody"))).took_effect
    await put_nodes(store, account="acme", nodes=[Node("team", removed=True)], at=T0)
    assert await refused(store, Consume("acme", "calls", "4", node="team/nobody")) == "unknown_node"
    with pytest.raises(Refused, match="has no node"):
        await put_nodes(store, account="acme", nodes=[Node("other", removed=True)], at=T0)


@pytest.mark.anyio
async def test_children_have_what_their_parent_gives_each_and_an_open_one_lets_them_come(store: Store) -> None:
    await opened(store, limited("bots", 8, each=3, open=True), limited("bots/big", 7))
    assert (await asked(store, Consume("acme", "calls", "1", 3, node="bots/new"))).took_effect
    denied = (await asked(store, Consume("acme", "calls", "2", node="bots/new/below"))).decision
    assert (denied.limited_by, denied.limit) == ("node bots/new", 3)
    assert (await asked(store, Consume("acme", "calls", "3", 5, node="bots/big"))).took_effect
    assert (await asked(store, Consume("acme", "calls", "4", 1, node="bots/big"))).decision.limited_by == "node bots"
    shown = await list_nodes(store, account="acme", at=T0)
    used = {one.node: [(its.units, its.each, its.inherited, its.used, its.remaining) for its in one.limits]
            for one in shown.nodes}  # fmt: skip
    assert used == {"bots": [(8, 3, False, 8, 0)], "bots/big": [(7, None, False, 5, 2)]}


@pytest.mark.anyio
async def test_a_limit_for_one_model_counts_the_uses_of_that_model(store: Store) -> None:
    both = Node("team", (NodeLimit("calls", 10), NodeLimit("calls", 2, where={"model": "large"})))
    await opened(store, both)
    for id, model in (("1", "large"), ("2", "small"), ("3", "large")):
        assert (await asked(store, Consume("acme", "calls", id, properties={"model": model}, node="team"))).took_effect
    more = Consume("acme", "calls", "4", properties={"model": "large"}, node="team")
    assert (await asked(store, more)).decision.limited_by == "node team?model=large"
    assert (await asked(store, Consume("acme", "calls", "5", node="team"))).took_effect
    assert await counts(store) == {"": (4, 0), "team": (4, 0), "team?model=large": (2, 0)}


@pytest.mark.anyio
async def test_credits_levels_and_rolling_windows_are_limited_at_nodes_too(store: Store) -> None:
    limits = (NodeLimit("ai_credits", 4), NodeLimit("tokens", 55), NodeLimit("recent", 3), NodeLimit("projects", 1))
    await opened(store, Node("team", limits))
    assert (await asked(store, Consume("acme", "tokens", "1", 35, node="team"))).took_effect
    assert await counts(store, pool="ai_credits") == {"": (4, 0), "team": (4, 0)}
    # Five more are paid for already, by the fourth credit.
    assert (await asked(store, Consume("acme", "tokens", "2", 5, node="team"))).took_effect
    denied = (await asked(store, Consume("acme", "tokens", "3", 1, node="team"))).decision
    assert (denied.reason, denied.limited_by, denied.used, denied.remaining) == ("limit_reached", "node team", 40, 0)
    assert (await asked(store, Reserve("acme", "projects", "4", node="team"))).took_effect
    assert not (await asked(store, Reserve("acme", "projects", "5", node="team"))).took_effect
    assert (await asked(store, Consume("acme", "recent", "6", 3, node="team"))).took_effect
    denied = (await asked(store, Consume("acme", "recent", "7", node="team"), T0 + 30 * SECOND)).decision
    assert (denied.limited_by, denied.resets_at) == ("node team", T0 + 61 * SECOND)
    assert (await asked(store, Consume("acme", "recent", "8", node="team"), T0 + 62 * SECOND)).took_effect
    assert (await rebuild(store, account="acme", at=T0 + 62 * SECOND)).differences == ()


@pytest.mark.anyio
async def test_events_count_at_nodes_over_their_limits_and_amendments_take_them_back(store: Store) -> None:
    await opened(store, limited("team", 2), Node("team/jane"))

    def event(
        id: str, quantity: int, node: str | None, amends: str | None = None, feature: str = "calls"
    ) -> UsageEvent:
        return UsageEvent(id=id, account="acme", feature=feature, quantity=quantity, node=node, amends=amends)

    async def told(*events: UsageEvent, at: datetime = T0) -> list[str]:
        return [one.code for one in (await ingest(store, Snapshots(), list(events), at)).rejected]

    sent = [event("1", 3, "team/jane"), event("2", 1, None), event("3", 1, "nobody"), event("4", 1, "not a node")]
    assert await told(*sent) == ["unknown_node", "invalid_event"]
    assert await counts(store) == {"": (4, 0), "team": (3, 0), "team/jane": (3, 0)}
    assert await told(event("5", 1, "team", amends="1")) == []
    assert await counts(store) == {"": (2, 0), "team": (1, 0)}
    assert await told(event("6", -2, "team")) == ["below_zero"]
    assert await told(event("1", 3, "team/jane")) == []
    peak = UsageEvent(id="7", account="acme", event="peak", properties={"size": 5}, node="team")
    assert await told(peak) == ["invalid_event"]
    # What happened counts where there was a node once.
    await put_nodes(store, account="acme", nodes=[Node("team", removed=True)], at=T0)
    assert await told(event("8", 1, "team")) == []
    assert (await rebuild(store, account="acme", at=T0)).differences == ()


@pytest.mark.anyio
async def test_checks_say_what_a_use_would_and_of_the_past_what_was_known_then(store: Store) -> None:
    await opened(store, limited("team", 5))
    await asked(store, Consume("acme", "calls", "1", 4, node="team"))
    await asked(store, Reserve("acme", "calls", "2", 1, ttl_s=10, node="team"), T0 + SECOND)

    async def answered(at: datetime, now: datetime) -> tuple[bool, str | None, int | None]:
        said = await check(store, Snapshots(), account="acme", feature="calls", node="team", at=at, now=now)
        return said.allowed, said.limited_by, said.used

    assert await answered(T0 + 2 * SECOND, T0 + 2 * SECOND) == (False, "node team", 4)
    assert (await answered(T0 + 12 * SECOND, T0 + 12 * SECOND))[0], "what was held has come back by itself"
    await put_nodes(store, account="acme", nodes=[limited("team", 9, reason="more")], at=T0 + DAY)
    await asked(store, Consume("acme", "calls", "3", 0, node="team"), T0 + DAY)
    assert await answered(T0 + 2 * SECOND, T0 + 2 * DAY) == (False, "node team", 4)
    assert (await answered(T0 + 12 * SECOND, T0 + 2 * DAY))[0]
    said = await explain(
        store, account="acme", feature="calls", quantity=9, node="team", at=T0 + 2 * DAY, now=T0 + 2 * DAY
    )
    assert said.decision.message == "acme can't use 9 calls: team has used 4 of 9"
    assert [fact.summary for fact in said.facts][:1] == ["node `team`: 9 `calls` (more)"]


@pytest.mark.anyio
async def test_thousands_of_nodes_leave_the_account_and_its_snapshot_as_small_as_one(store: Store) -> None:
    async def sizes(account: str) -> tuple[int, int]:
        async with store.transaction() as tx:
            state = await tx.accounts.lock_kept(account) or {}
        made = await Snapshots().load(store, account, T0)
        return len(state["statements"]), len(made.balances)

    await opened(store, Node("n0"))
    await asked(store, Consume("acme", "calls", "1", node="n0"))
    before = await sizes("acme")
    await put_nodes(store, account="acme", nodes=[limited(f"n0/{number}", 5) for number in range(2_000)], at=T0)
    uses: list[Asked] = [Consume("acme", "calls", f"use {n}", node=f"n0/{n}") for n in range(20)]
    assert all(isinstance(one, Answer) and one.took_effect for one in await use_together(store, Snapshots(), uses, T0))
    assert await sizes("acme") == before


@pytest.mark.anyio
async def test_usage_is_read_by_team_person_and_agent(store: Store) -> None:
    await opened(store, limited("team", 9, where={"model": "large"}), Node("team/jane"), Node("team/bo"))
    for id, units, node in (("1", 3, "team/jane"), ("2", 4, "team/bo"), ("3", 1, "team"), ("4", 2, None)):
        await asked(store, Consume("acme", "calls", id, units, node=node, properties={"model": "large"}))
    shown = await read_usage(store, account="acme", feature="calls", group_by="node", at=T0)
    (window,) = shown.windows
    assert (window.used, window.groups) == (
        10,
        (UsageGroup("team", 8), UsageGroup("team/bo", 4), UsageGroup("team/jane", 3)),
    )


def paths_of(found: Iterable[Any]) -> list[str]:
    return [one.node for one in found]


@pytest.mark.anyio
async def test_nodes_are_listed_by_path_page_by_page_and_below_one(store: Store) -> None:
    await opened(store, *(Node(path) for path in TREE), Node("a-b"))
    first = await list_nodes(store, account="acme", limit=3, at=T0)
    assert paths_of(first.nodes) == ["a", "a-b", "a/x"]
    rest = await list_nodes(store, account="acme", after=first.next, limit=100, at=T0)
    assert (paths_of(rest.nodes), rest.next) == (["a/x/1", "a/x/1/deep", "a/y", "b", "b/z"], None)
    below = await list_nodes(store, account="acme", below="a/x", at=T0)
    assert paths_of(below.nodes) == ["a/x/1", "a/x/1/deep"]
    for mistaken in (limited("a", 1, feature="nothing"), limited("a", 1, feature="exports")):
        with pytest.raises(Refused, match=r"no feature|no units"):
            await put_nodes(store, account="acme", nodes=[Node("fine"), mistaken], at=T0)
    assert "fine" not in paths_of((await list_nodes(store, account="acme", at=T0)).nodes), "all or none"
