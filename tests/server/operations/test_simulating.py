"""What if: recorded use through a draft of the catalog, on real PostgreSQL."""

import random
from collections.abc import Sequence
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Fact, Node, NodeLimit, Override, Profile
from paygrade.catalog.grandfathering import Grandfathering
from paygrade.catalog.parse import parse
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.nodes import put_nodes
from paygrade.server.operations.accounts.statements import put_override
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.catalog.replay import Replay, event_of
from paygrade.server.operations.catalog.simulate import SimulatedRow, Simulation, draft_of, read_span, simulate_catalog
from paygrade.server.operations.events.ingest import ingest
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import give
from paygrade.server.operations.usage.requests import Commit, Consume, Release, Reserve
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import Grant, parse_slot
from paygrade.usage.entries import Entry
from paygrade.usage.events import UsageEvent
from paygrade.values.errors import Refused
from support.databases import migrated_database
from support.fake_provider import T0

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
Asked = Consume | Reserve | Commit | Release | UsageEvent
IN_FORCE: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "calls": {"kind": "metered", "event": "call"},
        "pages": {"kind": "metered", "event": "page"},
        "soft": {"kind": "metered", "event": "soft"},
        "capped": {"kind": "metered", "event": "capped"},
        "shared": {"kind": "metered", "event": "shared"},
        "kept": {"kind": "metered", "event": "kept"},
        "stored": {"kind": "level", "event": "stored", "aggregate": "last", "value": "gb"},
        "tokens": {
            "kind": "metered", "event": "completion", "aggregate": "sum", "value": "tokens",
            "burns": {"ai": {"rate": 1, "per": 1000,
                             "by": {"property": "model", "rates": {"large": {"rate": 3, "per": 1000}}}}},
        },
    },
    "credits": {"ai": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "exports": True,
                "calls": {"limit": 12, "every": "month"},
                "pages": {"limit": 15, "every": "week"},
                "soft": {"limit": 10, "every": "month", "overage": {
                    "price": {"amount": 2, "per": 1, "currency": "usd"}}},
                "capped": {"limit": 40, "every": "month", "caps": [{"limit": 3, "every": "day"}]},
                "shared": {"limit": 12, "every": "month", "per_member": 6},
                "kept": {"limit": 5, "every": "week", "rollover": 3},
                "stored": 50,
                "ai": {"grant": 20, "every": "month"},
            },
        }
    },
}  # fmt: skip


def draft() -> dict[str, Any]:
    """Another catalog: tighter here, wider there, and dearer."""
    document = deepcopy(IN_FORCE)
    document["features"]["tokens"]["burns"]["ai"]["rate"] = 2
    document["plans"]["free"]["entitlements"] |= {
        "exports": False,
        "calls": {"limit": 7, "every": "month"},
        "pages": {"limit": 9, "every": "month"},
        "soft": {"limit": 4, "every": "month", "overage": {"price": {"amount": 5, "per": 1, "currency": "usd"}}},
        "capped": {"limit": 40, "every": "month", "caps": [{"limit": 5, "every": "day"}]},
        "shared": {"limit": 20, "every": "month", "per_member": 4},
        "kept": {"limit": 4, "every": "week", "rollover": 8},
        "stored": 30,
        "ai": {"grant": 15, "every": "month"},
    }
    return document


async def house(store: Store, document: dict[str, Any]) -> None:
    await publish_catalog(store, document=document, lines={}, dry_run=False, at=T0 - DAY, by="ann")
    await put_account(store, account="acme", name="", links={}, traits={}, at=T0)


async def team_and_grant(store: Store) -> None:
    """A node with limits, and units beside those of the plan."""
    node = Node("team", limits=(NodeLimit("calls", units=3), NodeLimit("ai", units=6)), open=True)
    await put_nodes(store, account="acme", nodes=[node], at=T0 + timedelta(minutes=1))
    grant = Grant("gr_1", "promotion", 5, T0, T0 + 40 * DAY)
    await give(store, Snapshots(), account="acme", pool="calls", grant=grant, reason="", at=T0 + timedelta(minutes=2))


async def play(store: Store, history: Sequence[tuple[timedelta, Asked]]) -> list[bool]:
    """What became of each: whether it took effect."""
    snapshots, took = Snapshots(), []
    for after, asked in history:
        at = T0 + after
        if isinstance(asked, UsageEvent):
            told = await ingest(store, snapshots, [asked], at=at)
            took.append(bool(told.accepted))
            continue
        (answer,) = await use_together(store, snapshots, [asked], at)
        took.append(isinstance(answer, Answer) and answer.took_effect)
    return took


def some_history(seed: int) -> list[tuple[timedelta, Asked]]:
    """Two months of one account."""
    chance, found = random.Random(seed), list[tuple[timedelta, Asked]]()
    after, held = timedelta(hours=1), list[str]()
    for n in range(110):
        after += timedelta(minutes=chance.randint(1, 1500))
        feature = chance.choice(("calls", "pages", "soft", "capped", "shared", "kept", "tokens"))
        units = chance.randint(1, 4) * (700 if feature == "tokens" else 1)
        member = chance.choice(("ann", "bob", None))
        properties: dict[str, Any] | None = (
            {"model": chance.choice(("large", "small"))} if feature == "tokens" else None
        )
        match chance.randint(0, 9):
            case 0 | 1:
                found.append((after, Reserve("acme", feature, f"r{n}", units, 3600, member, properties)))
                held.append(f"r{n}")
            case 2 if held:
                found.append((after, Commit("acme", held.pop(), None if n % 2 else 1)))
            case 3 if held:
                found.append((after, Release("acme", held.pop())))
            case 4:
                name = chance.choice(("call", "page"))
                time = T0 + after - timedelta(hours=chance.choice((0, 30)) if n > 20 else 0)
                found.append((after, UsageEvent(id=f"e{n}", account="acme", event=name, quantity=units % 9, time=time)))
            case 5:
                found.append((after, UsageEvent(id=f"e{n}", account="acme", event="stored", properties={"gb": n})))
            case 6:
                found.append((after, Consume("acme", feature, f"c{n}", units, member, properties, "team/ann")))
            case _:
                found.append((after, Consume("acme", feature, f"c{n}", units, member, properties)))
    return found


async def simulated(store: Store, document: dict[str, Any], until: timedelta, **more: Any) -> Simulation:
    at = T0 + until
    existing = more.pop("existing", Grandfathering())
    catalogs = await draft_of(store, document=document, lines={}, existing=existing, at=at)
    return await simulate_catalog(store, catalogs=catalogs, span=read_span(T0, None, at), **more)


def by_feature(page: Simulation) -> dict[str | None, SimulatedRow]:
    return {row.feature: row for row in page.rows}


async def denials(store: Store) -> dict[str, int]:
    async with store.transaction() as tx:
        found = await tx.recorded_use.entries("acme", since=None, until=T0 + 400 * DAY, after=None, limit=10_000)
    denied = [one.entry.feature for one in found if one.entry.denied is not None]
    return {feature: denied.count(feature) for feature in denied}


async def used(store: Store) -> dict[str, int]:
    async with store.transaction() as tx:
        drawn = await tx.ledger.drawn("acme", T0 + 400 * DAY)
    found: dict[str, int] = {}
    for posting in (posting for one in drawn for posting in one.draws):
        if parse_slot(posting.slot).pays:
            found[posting.pool] = found.get(posting.pool, 0) + posting.used
    return found


async def everything(store: Store) -> list[Any]:
    """Every row that a simulation might have touched. Any: what PostgreSQL has."""
    async with store.transaction() as tx:
        told = []
        for table in ("facts", "accounts", "ledger", "balances", "reservations", "grants", "updates", "audit"):
            cursor = await tx.ledger._connection.execute(f"select t::text from {table} t order by 1")
            told.append(await cursor.fetchall())
        return told


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_draft_comes_to_what_a_fresh_house_with_it_decides(store: Store, postgres_url: str, seed: int) -> None:
    history = some_history(seed)
    await house(store, IN_FORCE)
    await team_and_grant(store)
    took = await play(store, history)
    until = history[-1][0] + DAY
    before = await everything(store)
    page = by_feature(await simulated(store, draft(), until, account="acme"))
    assert await everything(store) == before
    # Who was denied units to hold resolved nothing, and counts as having wanted to use them.
    refused = {asked.id for (_, asked), did in zip(history, took, strict=True)
               if isinstance(asked, Reserve) and not did}  # fmt: skip
    same: list[tuple[timedelta, Asked]] = []
    for (after, asked), did in zip(history, took, strict=True):
        if isinstance(asked, Reserve) and asked.id in refused:
            asked = Consume("acme", asked.feature, asked.id, asked.quantity, asked.member, asked.properties)
        if did or isinstance(asked, Consume):
            same.append((after, asked))
    with migrated_database(postgres_url) as url:
        async with Store(url) as fresh:
            await house(fresh, draft())
            await team_and_grant(fresh)
            await play(fresh, same)
            denied, came_to = await denials(fresh), await used(fresh)
    was_denied, was = await denials(store), await used(store)
    for feature in IN_FORCE["features"]:
        row = page.get(feature, SimulatedRow(account="acme", feature=feature, what=""))
        assert (row.denied, row.denied_before) == (denied.get(feature, 0), was_denied.get(feature, 0)), row
        assert (row.used, row.used_before) == (came_to.get(feature, 0), was.get(feature, 0)), row
    assert (page["ai"].used, page["ai"].used_before) == (came_to["ai"], was["ai"])
    nothing = await simulated(store, IN_FORCE, until)
    assert (nothing.accounts, nothing.rows) == (1, ())


async def test_it_says_who_is_denied_what_first_when_and_what_use_costs(store: Store) -> None:
    await house(store, IN_FORCE)
    hours = [timedelta(hours=n) for n in range(20)]
    await play(store, [(hour, Consume("acme", "calls", f"c{n}")) for n, hour in enumerate(hours[:12])])
    await play(store, [(hour, Consume("acme", "soft", f"s{n}")) for n, hour in enumerate(hours[:12])])
    await play(store, [(hours[1], UsageEvent(id="e", account="acme", event="stored", properties={"gb": 40}))])
    page = by_feature(await simulated(store, draft(), 2 * DAY))
    calls, soft, stored, exports = page["calls"], page["soft"], page["stored"], page["exports"]
    assert (calls.what, calls.denied_before, calls.denied, calls.denied_units) == ("loses denied", 0, 5, 5)
    assert (calls.had, calls.has, calls.used_before, calls.used) == ("12", "7", 12, 7)
    assert (calls.first_denied_at, calls.reason) == (T0 + hours[7], "limit_reached")
    assert (soft.what, soft.currency, soft.cost_before, soft.cost) == ("loses pays", "usd", 4, 40)
    assert (stored.what, stored.too_many_before, stored.too_many, stored.over_units) == (
        "loses over too_many",
        0,
        10,
        40,
    )
    assert (exports.what, exports.had, exports.has) == ("loses", "yes", "no (not_in_plan)")
    only = await simulated(store, draft(), 2 * DAY, what="pays")
    assert [row.feature for row in only.rows] == ["soft"]
    kept = await simulated(store, draft(), 2 * DAY, existing=Grandfathering(keep=True))
    # What a unit costs in credits is no part of a plan.
    assert [row.feature for row in kept.rows] == ["tokens"]


async def test_what_became_known_later_counts_from_then_and_pages_change_nothing(store: Store) -> None:
    await house(store, IN_FORCE)
    for key in ("bolt", "core"):
        await put_account(store, account=key, name="", links={}, traits={}, at=T0)
    await play(store, [(timedelta(hours=n), Consume("acme", "calls", f"c{n}")) for n in range(8)])
    await put_override(store, account="acme", override=Override("calls", limit=100), at=T0 + timedelta(hours=9))
    await play(store, [(timedelta(hours=n), Consume("acme", "calls", f"c{n}")) for n in range(10, 30)])
    whole = await simulated(store, draft(), 2 * DAY)
    (calls,) = [row for row in whole.rows if (row.account, row.feature) == ("acme", "calls")]
    # One before the override took effect, and none after it.
    assert (calls.what, calls.denied, calls.first_denied_at) == ("denied", 1, T0 + timedelta(hours=7))
    first = await simulated(store, draft(), 2 * DAY, limit=2)
    rest = await simulated(store, draft(), 2 * DAY, limit=2, after=first.next)
    assert (first.next, rest.next, first.rows + rest.rows) == ("bolt", None, whole.rows)


async def test_what_cannot_be_looked_at_is_refused(store: Store) -> None:
    await house(store, IN_FORCE)
    with pytest.raises(Refused) as nobody:
        await simulated(store, draft(), DAY, account="nobody")
    assert nobody.value.code == "unknown_account"
    for since, until in ((T0, T0), (T0 - 500 * DAY, None), (T0, T0 + 9 * DAY)):
        with pytest.raises(Refused) as span:
            read_span(since, until, T0 + DAY)
        assert span.value.code == "invalid_query"


@pytest.mark.parametrize("seed", range(6))
def test_what_is_plain_comes_to_the_same_by_the_quick_form(seed: int) -> None:
    chance, catalog = random.Random(seed), parse(IN_FORCE, version=1)
    account = apply(Account(key="acme"), Fact(1, "profile", 1, T0, Profile(T0)))
    sides = [Replay("acme", catalog, quick=quick) for quick in (True, False)]
    for side in sides:
        side.follow(account, {})
        side.begin()
    after, played = timedelta(), 0
    for n in range(150):
        after += timedelta(minutes=chance.randint(1, 900))
        kind, late = chance.choice(("consume", "event", "set", "carry_over")), chance.choice((0, 0, 300))
        feature = {"event": "page"}.get(kind, "pages")
        time = T0 + after - timedelta(hours=late if kind == "event" and after.days > 20 else 0)
        entry = Entry("acme", f"e{n}", kind, feature, chance.randint(1, 6), time, T0 + after, 0)  # type: ignore[arg-type]
        event = event_of(entry, sides[0].meters)
        told = [list(side.play(entry, event)) for side in sides]
        assert told[0] == told[1], entry
        played += len(told[0])
    assert played > 50
    assert sides[0]._rows == sides[1]._rows
