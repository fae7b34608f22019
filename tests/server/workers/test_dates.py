"""What comes by date: told on its date, once, by two servers that watch, and by one that was down over it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import ValidationError

from paygrade.billing.facts import Block, Item, Override, Subscription
from paygrade.postgres.store import Store
from paygrade.server.operations import api_keys
from paygrade.server.operations.accounts import statements
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.update_log import give_places, list_updates
from paygrade.server.operations.updates.announce import announce_dates
from paygrade.server.operations.usage.grants import give
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.operations.usage.use import use_together
from paygrade.server.process.clock import Clock
from paygrade.server.process.scopes import SCOPES
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.looks import Looks
from paygrade.server.workers.loop import (
    DATES,
    announce_ends,
    follow_dates,
    follow_ends,
)
from paygrade.updates.log import Update
from paygrade.usage.balances import Grant

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
LAST = T0 + 40 * DAY
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {"exports": {"kind": "boolean"}, "calls": {"kind": "metered"}},
    "credits": {"coins": {}},
    "plans": {
        "free": {"default": True, "entitlements": {"calls": {"limit": 10, "every": "month"}}},
        "pro": {"entitlements": {"exports": True, "calls": {"limit": 100, "every": "month"}}},
    },
    "policies": {"past_due": [{"for": "7d", "access": "full"}, {"for": "14d", "access": "read"}, {"then": "free"}]},
}
COMES = [
    (3, "credit.expired"),
    (5, "api_key.expiring"),
    (7, "trial.ending"),
    (10, "account.state_changed"),
    (10, "entitlement.window.reset"),
    (10, "grace.started"),
    (10, "trial.ended"),
    (12, "api_key.expired"),
    (13, "override.expiring"),
    (17, "account.state_changed"),
    (17, "grace.step"),
    (20, "override.expired"),
    (22, "block.expired"),
    (31, "account.plan_changed"),
    (31, "grace.step"),
]
"""What comes after how many days."""


class MovedClock(Clock):
    """A clock that somebody moves."""

    def __init__(self) -> None:
        super().__init__()
        self.shows = T0

    def now(self) -> datetime:
        return self.shows


@asynccontextmanager
async def two_servers(database_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """Two, beside one database in which something comes by each kind of date."""
    async with Store(database_url) as first, Store(database_url) as second:
        clock = MovedClock()
        await announce_ends(first, clock)
        await publish_catalog(first, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="tests")
        await put_account(first, account="acme", name="", links={}, traits={}, at=T0)
        dates = {"trial_ends_at": T0 + 10 * DAY, "after_trial": "past_due", "unpaid_since": T0 + 10 * DAY}
        its: Any = Subscription("sub_1", "trialing", (Item("i", plan="pro"),), T0, **dates)  # type: ignore[arg-type]  # as it takes them
        await statements.put_subscription(first, account="acme", subscription=its, version=1, at=T0)
        override = Override(feature="exports", value=True, expires_at=T0 + 20 * DAY)
        await statements.put_override(first, account="acme", override=override, at=T0)
        block = Block("review", expires_at=T0 + 22 * DAY)
        snapshots = Snapshots()
        use = Consume(account="acme", feature="calls", id="use_1", quantity=1)
        (answer,) = await use_together(first, snapshots, [use], T0)
        assert not isinstance(answer, Exception), answer
        grant = Grant("gr_1", "promotion", 50, T0, T0 + 3 * DAY)
        await give(first, snapshots, account="acme", pool="coins", grant=grant, reason="", at=T0)
        await statements.put_block(first, account="acme", block=block, at=T0)
        key = api_keys.KeyRequest(name="help desk", role="support", expires_at=T0 + 12 * DAY)
        await api_keys.create(first, key, mode="test", granted=frozenset(SCOPES), at=T0)
        yield first, second


async def read(store: Store, after: int | None = None) -> tuple[Update, ...]:
    await give_places(store)
    return (await list_updates(store, after=after, limit=500)).updates


def brief(updates: Iterable[Update]) -> list[tuple[float, str]]:
    return sorted(((update.occurred_at - T0) / DAY, update.type) for update in updates)


async def look(store: Store, at: datetime) -> None:
    """What the workers of a server do at that time, once."""
    clock = MovedClock()
    clock.shows = at
    for claimed in await take(store, DATES, limit=10, at=at):
        await announce_dates(store, claimed, at=at)
    await announce_ends(store, clock)


async def waits(store: Store, at: datetime) -> bool:
    """Whether workers are woken."""
    async with store.transaction() as tx:
        its: Any = {"dates": (tx.announcements.waits(), {}), "ends": (tx.announced_ends.waits(), {})}
        return bool(await tx.waits.look(its, at=at))


async def test_workers_are_woken_exactly_when_a_date_comes_and_one_of_two_servers_tells_it(database_url: str) -> None:
    async with two_servers(database_url) as (first, second):
        known, found = (await read(first))[-1].position, list[Update]()
        for date in sorted({T0 + day * DAY for day, _ in COMES}):
            await asyncio.gather(look(first, date - MOMENT), look(second, date - MOMENT))
            assert await read(first, known) == (), date
            assert not await waits(first, date - MOMENT)
            assert await waits(first, date)
            await asyncio.gather(look(first, date), look(second, date))
            told = await read(second, known)
            assert {update.occurred_at for update in told} <= {date}
            known, found = told[-1].position if told else known, [*found, *told]
        assert brief(found) == COMES


async def test_what_came_while_no_server_was_up_is_told_with_its_time_by_one_of_two(database_url: str) -> None:
    async with two_servers(database_url) as (first, second):
        known = (await read(first))[-1].position
        # That a key is about to expire helps nobody any more.
        wanted = [each for each in COMES if each[1] != "api_key.expiring"]
        for at in (LAST, LAST + DAY):
            await asyncio.gather(look(first, at), look(second, at))
            assert brief(await read(first, known)) == wanted


async def test_a_clock_that_is_moved_has_two_running_servers_tell_all_that_came_once(database_url: str) -> None:
    async with two_servers(database_url) as (first, second):
        clock, known = MovedClock(), (await read(first))[-1].position
        loops = [
            asyncio.create_task(doing)
            for store, looks in ((first, Looks(first, clock)), (second, Looks(second, clock)))
            for doing in (follow_dates(store, clock, looks), follow_ends(store, clock, looks), looks.go_on())
        ]
        try:
            for days in (6, 15, 40):
                clock.shows = T0 + days * DAY
                wanted = [each for each in COMES if each[0] <= days]
                async with asyncio.timeout(60):
                    while len(found := brief(await read(first, known))) < len(wanted):
                        await asyncio.sleep(0.02)
                assert found == wanted
        finally:
            for each in loops:
                each.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
        await asyncio.gather(look(first, LAST), look(second, LAST))
        assert brief(await read(first, known)) == COMES


async def test_one_account_that_cannot_be_told_of_keeps_none_of_the_others_waiting(database_url: str) -> None:
    async with two_servers(database_url) as (first, second):
        for number, account in enumerate(("beta", "gamma", "delta")):
            override = Override(feature="exports", value=True, expires_at=T0 + DAY + number * MOMENT)
            await put_account(first, account=account, name="", links={}, traits={}, at=T0)
            await statements.put_override(first, account=account, override=override, at=T0)
        known, at = (await read(first))[-1].position, T0 + DAY + 9 * MOMENT
        async with first.transaction() as tx:
            await tx._connection.execute("""update announced set overview = '{"exists": 7}' where account = 'gamma'""")
        claimed = {each.account: each for each in await take(first, DATES, limit=1, at=at)}
        assert "gamma" not in claimed, "it is in the way of the one that was claimed"
        await asyncio.gather(*[announce_dates(first, each, at=at) for each in claimed.values()])
        with suppress(ValidationError):
            await look(second, at)
        told = await read(first, known)
        assert {update.account for update in told if update.type == "override.expired"} >= {*claimed}
        async with first.transaction() as tx:
            await tx._connection.execute("update announced set overview = null where account = 'gamma'")
        await look(second, at)
        told = await read(first, known)
        assert sorted(update.account or "" for update in told if update.type == "override.expired") == ["beta", "delta"]
