"""Requests decided together: on what is remembered while that is so, on what is locked otherwise; exact either way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import psycopg
import pytest

from paygrade.balances import Grant
from paygrade.postgres.store import Store
from paygrade.server.clock import Clock
from paygrade.server.group_commit import GroupCommit
from paygrade.server.operations.accounts import put_account
from paygrade.server.operations.answers import Answer
from paygrade.server.operations.catalogs import publish_catalog
from paygrade.server.operations.grants import give
from paygrade.server.operations.requests import Consume
from paygrade.server.operations.usage import Unsure, use_remembered, use_together
from paygrade.server.snapshots import Snapshots

pytestmark = pytest.mark.anyio

LIMIT = 400
DOCUMENT = {
    "version": 1,
    "features": {"calls": {"kind": "metered"}, "seats": {"kind": "level"}},
    "plans": {"free": {"default": True, "entitlements": {"calls": {"limit": LIMIT, "every": "month"}, "seats": 5}}},
}
NOW = Clock().now()


@pytest.fixture
async def acme(store: Store) -> Store:
    """Give a store with a catalog and one account."""
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=NOW, by="ann")
    await put_account(store, account="acme", name="Acme", links={}, traits={}, at=NOW)
    return store


@asynccontextmanager
async def remembering(store: Store) -> AsyncIterator[Snapshots]:
    """Snapshots that follow a store, and have seen `calls` used once."""
    snapshots = Snapshots()
    following = asyncio.create_task(snapshots.follow(store))
    try:
        while snapshots.counted("acme", "calls", NOW) is None:
            await use_together(store, snapshots, [use("first")], NOW)
            await snapshots.load(store, "acme", NOW)
            await asyncio.sleep(0.01)
        yield snapshots
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def use(id: str, quantity: int = 1) -> Consume:
    return Consume("acme", "calls", id, quantity)


def used(database_url: str) -> tuple[int, int]:
    """What the balance says, and the sum of the entries that took effect."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select (select used from balances where account = 'acme' and pool = 'calls'), "
            "(select sum(quantity) from ledger where denied is null and kind = 'consume')"
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def test_what_is_remembered_answers_as_what_is_locked_does(acme: Store, database_url: str) -> None:
    async with remembering(acme) as snapshots:
        answers = await use_remembered(acme, snapshots, [use("a", 2), use("b", 3), use("a", 2)], NOW)
        assert answers is not None
        shown = [(a.decision.used, a.took_effect, a.replayed) for a in answers if isinstance(a, Answer)]
        assert shown == [(3, True, False), (6, True, False), (3, True, True)]
        assert used(database_url) == (6, 6)
        again = await use_together(acme, snapshots, [use("b", 3)], NOW)
        assert [a.replayed for a in again if isinstance(a, Answer)] == [True]


@pytest.mark.parametrize("change", ["version = version + 1", "version = version - 1"])
async def test_nothing_is_saved_on_a_count_that_has_changed(acme: Store, database_url: str, change: str) -> None:
    async with remembering(acme) as snapshots:
        with psycopg.connect(database_url) as connection:
            connection.execute(f"update balances set {change}".encode())
        with pytest.raises(Unsure):
            await use_remembered(acme, snapshots, [use("a")], NOW)
        assert used(database_url) == (1, 1)


async def test_a_count_that_another_holds_is_not_waited_for(acme: Store, database_url: str) -> None:
    async with remembering(acme) as snapshots:
        with psycopg.connect(database_url) as connection:
            connection.execute("select from balances for update")
            with pytest.raises(Unsure):
                await use_remembered(acme, snapshots, [use("a")], NOW)


async def test_neither_a_denial_nor_an_id_of_before_rests_on_what_is_remembered(acme: Store, database_url: str) -> None:
    async with remembering(acme) as snapshots:
        for asked in (use("big", LIMIT), use("first")):
            with pytest.raises(Unsure):
                await use_remembered(acme, snapshots, [asked, use("with it")], NOW)
        assert used(database_url) == (1, 1)


async def test_a_grant_that_was_not_heard_of_yet_is_counted_on(acme: Store, database_url: str) -> None:
    grant = Grant("g1", "promotion", 5, NOW, NOW + timedelta(days=1), priority=1)
    async with remembering(acme) as snapshots, Store(database_url) as other:
        await give(other, Snapshots(), account="acme", pool="calls", grant=grant, reason="", at=NOW)
        if snapshots.counted("acme", "calls", NOW) is not None:  # else it was heard already, and there is more to it
            with pytest.raises(Unsure):
                await use_remembered(acme, snapshots, [use("a")], NOW)
        answers = await use_together(acme, snapshots, [use("a")], NOW)
        assert [a.decision.limit for a in answers if isinstance(a, Answer)] == [LIMIT + 5]
        assert used(database_url)[0] == 1, "the grant burns first"


async def test_what_a_slot_has_beyond_its_count_stays(acme: Store, database_url: str) -> None:
    async with remembering(acme) as snapshots:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("""update balances set detail = '{"latest":["2026-01-01T00:00:00Z","e1"]}'""")
            assert await use_remembered(acme, snapshots, [use("a")], NOW) is not None
            row = connection.execute("select detail::text, used from balances").fetchone()
        assert row == ('{"latest":["2026-01-01T00:00:00Z","e1"]}', 2)


@pytest.mark.parametrize("quantity", [1, 3])
async def test_several_processes_use_exactly_what_there_is(acme: Store, database_url: str, quantity: int) -> None:
    async with AsyncExitStack() as stack:
        commits = []
        for _ in range(3):
            store = await stack.enter_async_context(Store(database_url))
            snapshots = Snapshots()
            commits.append(GroupCommit(store, snapshots, Clock()))
            for work in (snapshots.follow(store), commits[-1].run()):
                stack.push_async_callback(ended, asyncio.create_task(work))
        await asyncio.sleep(0)

        async def caller(number: int) -> list[Answer]:
            return [await commits[number % 3].ask(use(f"{number}-{turn}", quantity)) for turn in range(20)]

        answers = [answer for told in await asyncio.gather(*map(caller, range(30))) for answer in told]
    taken = [answer for answer in answers if answer.took_effect]
    assert len(taken) == LIMIT // quantity
    assert used(database_url) == (len(taken) * quantity,) * 2
    assert sorted(a.decision.used or 0 for a in taken) == [n * quantity for n in range(1, len(taken) + 1)]
