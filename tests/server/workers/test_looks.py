"""One look says of every worker whether something waits, as the workers themselves would find it."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from paygrade.postgres.store import Store
from paygrade.server.workers import looks
from paygrade.server.workers.claims import Queue, give_back, take
from paygrade.server.workers.looks import Looks
from paygrade.server.workers.sync import SUBJECTS
from paygrade.values.errors import Unavailable
from support.fake_provider import T0, SetClock
from support.queues import QUEUES, TABLES, WAITING
from support.waiting import GIVE_UP_S, let_pass

pytestmark = pytest.mark.anyio

# Any: rows of many kinds.
LOOKED_AT: list[Queue[Any]] = [
    queue
    for queue in QUEUES
    # These two are asked for rarely and look for themselves; of migrations it is said whether any is under way.
    if queue.name not in ("polled", "catalog_checked", "account_migrated")
]


async def found(store: Store) -> frozenset[str]:
    async with store.transaction(looking=True) as tx:
        return await tx.waits.look({q.name: (q.rows(tx).waits(), q.values) for q in LOOKED_AT}, at=T0)


async def candidates(store: Store) -> frozenset[str]:
    async with store.transaction() as tx:
        its = {q.name: await q.rows(tx).candidates(limit=1, at=T0, **q.values) for q in LOOKED_AT}
    return frozenset(name for name, rows in its.items() if rows)


async def test_a_look_finds_what_the_workers_would(store: Store, database_url: str) -> None:
    assert await found(store) == await candidates(store) == frozenset()
    with psycopg.connect(database_url) as connection:
        connection.execute(WAITING)
    left = {queue.name for queue in LOOKED_AT}
    assert await found(store) == await candidates(store) == left
    for queue in LOOKED_AT:
        (claimed,) = await take(store, queue, limit=1, at=T0)
        left.discard(queue.name)
        assert await found(store) == await candidates(store) == left, f"{queue.name}: it is claimed"
        assert await give_back(store, queue, claimed, Unavailable("provider_unreachable", "it is away"))
        assert await found(store) == await candidates(store) == left, f"{queue.name}: it rests"
        let_pass(database_url, TABLES[queue.name])
        left.add(queue.name)
        assert await found(store) == await candidates(store) == left, f"{queue.name}: it waits again"


async def test_what_is_held_by_another_server_is_looked_at_more_closely(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(WAITING)
        for queue in LOOKED_AT:
            held: Any = f"update {TABLES[queue.name]} set leased_until = now() + interval '1 hour', leased_by = 7"
            connection.execute(held)
    assert await found(store) == {queue.name for queue in LOOKED_AT}


async def test_a_migration_is_worked_on_while_it_is_under_way_and_does_not_pause(
    store: Store, database_url: str
) -> None:
    async def waits() -> bool:
        async with store.transaction() as tx:
            return bool(await tx.waits.look({"migrations": (tx.plan_migrations.waits(), {})}, at=T0))

    assert not await waits()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(WAITING)
        assert await waits()
        connection.execute("update plan_migrations set paused = true")
        assert not await waits()
        connection.execute("update plan_migrations set paused = false, finished_at = now()")
        assert not await waits()


@contextmanager
def running(*doing: Any) -> Iterator[None]:
    tasks = [asyncio.create_task(each) for each in doing]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def test_who_is_woken_does_what_waits_and_a_look_that_breaks_keeps_nobody_from_it(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, its = list[str](), Looks(store, SetClock(T0))

    async def do(claim: Any) -> str:
        done.append(claim.subject)
        async with store.transaction() as tx:
            await tx._connection.execute("update subjects set synced = dirty where subject = %s", (claim.subject,))
        return "done"

    async def is_done(*subjects: str) -> None:
        for subject in subjects:
            with psycopg.connect(database_url) as connection:
                connection.execute("insert into subjects (subject, dirty, marked_at) values (%s, 1, now())", (subject,))
            async with asyncio.timeout(GIVE_UP_S):
                while subject not in done:
                    await asyncio.sleep(0.01)

    with running(its.work(SUBJECTS, do), its.go_on()):
        await is_done("stripe:cus_1", "stripe:cus_2", "stripe:cus_3")
    monkeypatch.setattr(looks, "RARELY_S", 0.1)
    with running(its.work(SUBJECTS, do)):
        await is_done("stripe:cus_4", "stripe:cus_5")
    assert done == [f"stripe:cus_{number}" for number in range(1, 6)]


async def test_nobody_is_woken_again_and_again_for_what_another_server_has(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "AGAIN_S", 3600.0)
    its, looked, again = Looks(store, SetClock(T0)), 0, asyncio.Event()

    async def look() -> None:
        nonlocal looked
        looked += 1
        again.set()

    with running(its.repeat("everything", lambda tx: "true", look)):
        await again.wait()
        for _ in range(3):
            await its._look()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    assert looked == 2


async def test_workers_begin_one_after_the_other_and_who_has_something_to_do_at_once(store: Store) -> None:
    its, looked = Looks(store, SetClock(T0)), list[str]()

    async def look(name: str) -> None:
        looked.append(name)

    def begin(name: str, waits: str) -> Coroutine[Any, Any, None]:
        return its.repeat(name, lambda tx: waits, partial(look, name))

    with running(begin("first", "false"), begin("idle", "false"), begin("busy", "true")):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert looked == ["first"]
        await its._look()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert looked == ["first", "busy"]


async def test_ends_are_looked_for_when_something_has_ended_or_it_is_time_to_say_how_far_that_was(
    store: Store, database_url: str
) -> None:
    async def waits(at: Any) -> bool:
        async with store.transaction() as tx:
            return bool(await tx.waits.look({"ends": (tx.announced_ends.waits(), {})}, at=at))

    async def gone_through(at: Any) -> None:
        for what in ("windows", "grants", "keys", "expiring_keys"):
            async with store.transaction() as tx:
                await getattr(tx.announced_ends, what)(limit=10, at=at)

    assert await waits(T0), "nobody has looked yet"
    for _ in range(2):
        await gone_through(T0)
    assert not await waits(T0 + timedelta(seconds=30))
    assert await waits(T0 + timedelta(seconds=61))
    ended = T0 + timedelta(seconds=10)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into balances (account, pool, slot, from_at, until, used)"
            " values ('acme', 'calls', 'month', %s, %s, 1)",
            (T0 - timedelta(days=1), ended),
        )
    assert not await waits(ended - timedelta(microseconds=1))
    assert await waits(ended)
    await gone_through(ended)
    assert not await waits(ended + timedelta(seconds=30))
