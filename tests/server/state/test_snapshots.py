"""What a process remembers: cheaper, never different."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import permutations

import psycopg
import pytest

from paygrade.billing.facts import Override
from paygrade.decisions.snapshots import balances_of
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_override
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.usage.optimistic import decide_optimistically, save_optimistically
from paygrade.server.operations.usage.requests import Consume, Reserve
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.remembered import RememberedAccounts
from paygrade.server.state.snapshots import Snapshots
from support.fake_provider import DOCUMENT, T0
from support.waiting import GIVE_UP_S, somebody_waits

pytestmark = pytest.mark.anyio


@pytest.fixture
async def acme(store: Store) -> Store:
    """Give a store with a catalog and one account."""
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account="acme", name="Acme", links={}, traits={}, at=T0)
    return store


@asynccontextmanager
async def remembering(store: Store, snapshots: Snapshots) -> AsyncIterator[Snapshots]:
    """Snapshots that are being kept up to date."""
    following = asyncio.create_task(snapshots.follow(store))
    try:
        while snapshots.peek("acme", T0) is None:
            await snapshots.load(store, "acme", T0)
            await asyncio.sleep(0.01)
        yield snapshots
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def limit_seats(store: Store, limit: int) -> None:
    await put_override(store, account="acme", override=Override("seats", limit=limit), at=T0)


async def seats(store: Store, snapshots: Snapshots) -> int | None:
    return (await check(store, snapshots, account="acme", feature="seats", at=T0)).limit


async def test_nothing_is_remembered_while_changes_cannot_be_heard(acme: Store) -> None:
    snapshots = Snapshots()
    assert (await snapshots.load(acme, "acme", T0)).known
    assert snapshots.peek("acme", T0) is None


async def test_a_process_sees_what_it_has_just_written(acme: Store) -> None:
    async with remembering(acme, Snapshots()) as snapshots:
        for limit in range(20):
            await limit_seats(acme, limit)
            assert await seats(acme, snapshots) == limit


async def test_what_another_process_writes_is_heard(acme: Store, database_url: str) -> None:
    async with remembering(acme, Snapshots()) as snapshots, Store(database_url) as other:
        assert await seats(acme, snapshots) == 1
        await limit_seats(other, 7)
        async with asyncio.timeout(GIVE_UP_S):
            while await seats(acme, snapshots) != 7:
                await asyncio.sleep(0.01)


async def test_another_catalog_changes_every_answer(acme: Store, database_url: str) -> None:
    generous = {**DOCUMENT, "plans": {"free": {"default": True, "entitlements": {"seats": 9}}}}
    async with remembering(acme, Snapshots()) as snapshots, Store(database_url) as other:
        await publish_catalog(other, document=generous, lines={}, dry_run=False, at=T0, by="ann")
        async with asyncio.timeout(GIVE_UP_S):
            while await seats(acme, snapshots) != 9:
                await asyncio.sleep(0.01)


async def test_what_was_loaded_before_a_change_is_not_remembered_after_it(acme: Store, database_url: str) -> None:
    async with remembering(acme, Snapshots()) as snapshots:
        with psycopg.connect(database_url) as held:
            held.execute("lock table accounts in access exclusive mode")
            loading = asyncio.create_task(snapshots.load(acme, "acme", T0 + timedelta(days=40)))
            await somebody_waits(database_url)
            async with acme.transaction() as tx:
                await tx.tell("paygrade_account", "acme")
            held.rollback()
        await loading
        assert snapshots.peek("acme", T0 + timedelta(days=40)) is None


async def test_hearing_interrupted_is_forgetting(acme: Store, database_url: str) -> None:
    async with remembering(acme, Snapshots()) as snapshots:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid, 60000) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        async with asyncio.timeout(GIVE_UP_S):
            while snapshots.peek("acme", T0) is not None:
                await asyncio.sleep(0.01)
            # It starts to remember again by itself.
            while snapshots.peek("acme", T0) is None:
                await snapshots.load(acme, "acme", T0)
                await asyncio.sleep(0.01)


async def test_a_snapshot_answers_until_its_end_and_is_then_made_anew(acme: Store) -> None:
    async with remembering(acme, Snapshots()) as snapshots:
        first = await snapshots.load(acme, "acme", T0)
        assert await snapshots.load(acme, "acme", first.until - timedelta(microseconds=1)) is first
        assert (await snapshots.load(acme, "acme", first.until)).as_of == first.until


async def test_a_question_about_another_time_does_not_answer_for_the_present(acme: Store) -> None:
    async with remembering(acme, Snapshots()) as snapshots:
        at = T0 + timedelta(days=400)
        later = await check(acme, snapshots, account="acme", feature="seats", at=at, now=T0)
        assert later.as_of == at
        assert (await check(acme, snapshots, account="acme", feature="seats", at=T0)).as_of == T0


async def two_of(store: Store) -> int:
    """How much `a`, `acme` and what they have alike weigh, where the next is one too many."""
    known = RememberedAccounts(10**9)
    for made in (await Snapshots().read_anew(store, ["a", "acme"], T0))[0]:
        known.keep(made)
    return known.bytes


async def test_no_more_accounts_are_remembered_than_allowed(acme: Store) -> None:
    async with remembering(acme, Snapshots(bytes_max=await two_of(acme))) as snapshots:
        for account in ("a", "acme", "b"):
            await snapshots.load(acme, account, T0)
        assert [snapshots.peek(account, T0) is not None for account in ("a", "acme", "b")] == [False, True, True]


async def test_accounts_loaded_together_are_as_each_by_itself(acme: Store) -> None:
    await put_account(acme, account="beta", name="Beta", links={}, traits={}, at=T0)
    await put_override(acme, account="beta", override=Override("seats", limit=3), at=T0)
    alone = Snapshots()
    for number, account in enumerate(("acme", "beta", "beta")):
        await use_together(acme, alone, [Consume(account, "seats", f"use-{number}")], T0)
        reserved = Reserve(account, "seats", f"hold-{number}", ttl_s=60)
        await use_together(acme, alone, [reserved], T0)
    together = await Snapshots().load_all(acme, ["beta", "nobody", "acme"], T0)
    assert together == {account: await alone.load(acme, account, T0) for account in ("beta", "nobody", "acme")}
    assert [balances_of(together[account])["seats"].used for account in ("acme", "beta")] == [1, 2]
    assert not together["nobody"].known


async def test_a_plain_count_is_heard_by_every_process(acme: Store, database_url: str) -> None:
    await limit_seats(acme, 9)
    await use_together(acme, Snapshots(), [Consume("acme", "seats", "first")], T0)

    async def until_version(number: int, *processes: Snapshots) -> None:
        async with asyncio.timeout(GIVE_UP_S):
            while any(each.counted("acme", "seats", T0)[3:] != (number,) for each in processes):  # type: ignore[index]
                await asyncio.sleep(0.01)

    async with (
        Store(database_url) as other,
        remembering(other, Snapshots()) as theirs,
        remembering(acme, Snapshots()) as ours,
    ):
        for number, (store, snapshots) in enumerate([(acme, ours), (other, theirs)]):
            decided = decide_optimistically(snapshots, [Consume("acme", "seats", f"use {number}")], T0)
            assert await save_optimistically(store, decided.counts) == set()
            await until_version(number + 3, ours, theirs)
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("update balances set version = version + 1")
        asked = [Consume("acme", "seats", "use 2"), Consume("acme", "seats", "use 3")]
        assert len(await save_optimistically(acme, decide_optimistically(ours, asked, T0).counts)) == 1
        await use_together(acme, ours, asked, T0)
        await until_version(6, ours, theirs)


async def test_of_a_balance_the_newest_version_counts_in_whatever_order_they_are_heard(
    acme: Store, database_url: str
) -> None:
    await put_account(acme, account="bolt", name="", links={}, traits={}, at=T0)
    for account in ("acme", "bolt"):
        await use_together(acme, Snapshots(), [Consume(account, "seats", "first")], T0)

    def known(account: str) -> tuple[int, int] | None:
        found = snapshots.counted(account, "seats", T0)
        return (found[2].used, found[3]) if found is not None else None

    async with remembering(acme, Snapshots()) as snapshots:
        await snapshots.load(acme, "bolt", T0)
        with psycopg.connect(database_url, autocommit=True) as connection:
            for turn, order in enumerate(permutations((1, 2, 3)), 1):
                told = [("acme", "seats", "lifetime", each, 0, 10 * turn + each) for each in (*order, -9)]
                # What is told is heard in its order: once the other account's is, so is all that came before.
                for news in (*told, ("bolt", "seats", "lifetime", turn, 0, 10 * turn)):
                    connection.execute("select pg_notify('paygrade_balance', %s)", (json.dumps([news]),))
                async with asyncio.timeout(GIVE_UP_S):
                    while known("bolt") != (turn, 10 * turn):
                        await asyncio.sleep(0.01)
                assert known("acme") == (3, 10 * turn + 3), order
