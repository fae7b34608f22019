"""Claims, by their laws (`postgres/claims.py`): on real PostgreSQL, for every queue there is, with processes killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.postgres import claims, session_locks
from paygrade.postgres.store import Store
from paygrade.server.workers.claims import Queue, attempt, give_back, take, work
from paygrade.server.workers.sync import SUBJECTS
from paygrade.values.errors import Unavailable
from support.fake_provider import T0, SetClock
from support.queues import QUEUES, TABLES, WAITING
from support.waiting import GIVE_UP_S, in_time, let_pass, somebody_waits

pytestmark = pytest.mark.anyio


@pytest.fixture
def waiting(store: Store, database_url: str) -> str:
    """One row of each queue waits."""
    with psycopg.connect(database_url) as connection:
        connection.execute(WAITING)
    return database_url


each = pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)


async def one(store: Store, queue: Queue[Any], *, lease_s: float | None = None) -> Any:
    """The row that waits, claimed; None: it is nobody's candidate."""
    taken = await take(store, queue, limit=5, lease_s=lease_s, at=T0)
    assert len(taken) <= 1
    return taken[0] if taken else None


def columns(database_url: str, queue: Queue[Any]) -> tuple[Any, ...]:
    """The fence, whether there is a lease, the failures in a row and the error of the one row."""
    with psycopg.connect(database_url) as connection:
        query: Any = f"select fence, leased_until is not null, attempts, error from {TABLES[queue.name]}"
        (row,) = connection.execute(query).fetchall()
    return tuple(row)


async def test_law_1_of_any_number_at_once_one_claims_a_row(store: Store, waiting: str) -> None:
    for queue in QUEUES:
        found = await asyncio.gather(*(take(store, queue, limit=5, at=T0) for _ in range(5)))
        assert [claimed.fence for claims in found for claimed in claims] == [1], queue.name
        assert columns(waiting, queue) == (1, True, 0, None)


async def test_law_1_only_the_latest_claim_saves(store: Store, waiting: str) -> None:
    for queue in QUEUES:
        first, second = await one(store, queue, lease_s=0), await one(store, queue, lease_s=60)
        assert second.fence == first.fence + 1
        async with store.transaction() as tx:
            rows = queue.rows(tx)
            assert await rows.lock(first) is None, queue.name
            assert not await rows.keep(first, lease_s=60)
            assert not await rows.fail(first, error="too late", retry_s=60)
            locked = await rows.lock(second)
            assert locked is not None
            assert locked.fence == second.fence
        assert columns(waiting, queue) == (2, True, 0, None)


async def test_law_2_a_candidate_that_is_not_as_it_was_seen_is_not_taken(store: Store, waiting: str) -> None:
    async def seen(queue: Queue[Any]) -> Any:
        async with store.transaction() as tx:
            (candidate,) = await queue.rows(tx).candidates(limit=1, at=T0, **queue.values)
        return candidate

    async def taken(queue: Queue[Any], candidate: Any) -> Any:
        async with store.transaction() as tx:
            return await queue.rows(tx).take(candidate, lease_s=0, at=T0, **queue.values)

    for queue in QUEUES:
        candidate = await seen(queue)
        claimed = await taken(queue, candidate)
        assert claimed is not None
        assert await taken(queue, candidate) is None, f"{queue.name}: somebody was there before"
        candidate = await seen(queue)
        async with store.transaction() as tx:
            assert await queue.rows(tx).keep(claimed, lease_s=0)
        assert await taken(queue, candidate) is None, f"{queue.name}: its holder goes on"


async def test_law_2_a_candidate_that_waits_no_more_is_not_taken(store: Store, waiting: str) -> None:
    async with store.transaction() as tx:
        (candidate,) = await tx.subjects.candidates(limit=1, at=T0)
    with psycopg.connect(waiting) as connection:
        connection.execute("update subjects set synced = dirty")
    async with store.transaction() as tx:
        assert await tx.subjects.take(candidate, lease_s=60, at=T0) is None


async def test_law_2_looking_waits_for_nobody_and_taking_for_those_at_the_row(store: Store, waiting: str) -> None:
    with psycopg.connect(waiting) as connection:
        connection.execute("select from subjects for update")
        async with asyncio.timeout(GIVE_UP_S), store.transaction() as tx:
            (candidate,) = await tx.subjects.candidates(limit=1, at=T0)
        taking = asyncio.create_task(one(store, SUBJECTS))
        await somebody_waits(waiting)
        connection.execute("update subjects set marked_at = now()")
    assert (await taking).fence == candidate.fence + 1


@each
async def test_law_3_what_is_claimed_is_nobody_s_candidate_until_its_lease_is_over(
    store: Store, waiting: str, queue: Queue[Any]
) -> None:
    assert await one(store, queue) is not None
    assert await one(store, queue) is None
    let_pass(waiting, TABLES[queue.name])
    assert await one(store, queue) is not None


@asynccontextmanager
async def listening(store: Store) -> AsyncIterator[None]:
    ready = asyncio.Event()
    task = asyncio.create_task(store.listen(ready=ready.set, hear=lambda channel, payload: None))
    await asyncio.wait_for(ready.wait(), 10)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


CLAIMER = """
import asyncio, sys
sys.path[:0] = sys.argv[2:]
from paygrade.postgres.store import Store
from server.workers.test_claims import QUEUES, one

async def main():
    async with Store(sys.argv[1]) as store:
        ready = asyncio.Event()
        listening = asyncio.create_task(store.listen(ready=ready.set, hear=lambda channel, payload: None))
        await ready.wait()
        print(*[(await one(store, queue)).fence for queue in QUEUES], flush=True)
        await listening

asyncio.run(main())
"""


async def test_law_4_the_leases_of_a_process_that_was_killed_end_with_it(store: Store, waiting: str) -> None:
    claimer = subprocess.Popen([sys.executable, "-c", CLAIMER, waiting, *sys.path], stdout=subprocess.PIPE, text=True)
    assert claimer.stdout is not None
    assert await asyncio.to_thread(claimer.stdout.readline) == " ".join("1" for _ in QUEUES) + "\n"
    assert [await one(store, queue) for queue in QUEUES] == [None] * len(QUEUES), "it lives"
    os.kill(claimer.pid, signal.SIGKILL)
    claimer.communicate()
    for queue in QUEUES:
        assert (await in_time(lambda queue=queue: one(store, queue))).fence == 2  # type: ignore[misc]


async def test_law_4_a_lease_holds_as_long_as_its_holder_listens(store: Store, waiting: str) -> None:
    async with Store(waiting) as other:
        async with listening(store):
            assert await one(store, SUBJECTS) is not None
            assert await one(other, SUBJECTS) is None
        assert await in_time(lambda: one(other, SUBJECTS))


async def test_law_4_a_lease_does_not_come_back_with_the_next_connection(store: Store, waiting: str) -> None:
    async with listening(store):
        assert await one(store, SUBJECTS) is not None
    async with listening(store):
        assert await in_time(lambda: one(store, SUBJECTS))


async def test_law_4_without_a_listener_a_lease_holds_for_its_time(store: Store, waiting: str) -> None:
    assert await one(store, SUBJECTS) is not None
    async with Store(waiting) as other, listening(other):
        assert await one(other, SUBJECTS) is None


async def test_law_4_whoever_began_to_listen_while_we_looked_lives(
    store: Store, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Store(waiting) as other, listening(store):
        assert await one(store, SUBJECTS) is not None
        living, looks = session_locks.held, iter(range(9))

        async def not_yet(connection: AsyncConnection[TupleRow], kind: int) -> set[int]:
            return set() if next(looks) == 0 else await living(connection, kind)

        monkeypatch.setattr(claims, "held", not_yet)
        assert await one(other, SUBJECTS) is None
        assert next(looks) == 2


async def test_what_others_have_hides_nothing_that_is_free(store: Store, waiting: str) -> None:
    """Neither what the living have nor what the dead had, however little is asked for."""
    with psycopg.connect(waiting) as connection:
        connection.execute(
            "insert into subjects (subject, dirty, marked_at)"
            " select 'stripe:cus_' || n, 1, now() + n * interval '1 second' from generate_series(2, 4) n"
        )

    async def of(asking: Store, limit: int) -> list[str]:
        return [claimed.subject for claimed in await take(asking, SUBJECTS, limit=limit, at=T0)]

    async with Store(waiting) as other, listening(store):
        assert await of(store, 2) == ["stripe:cus_1", "stripe:cus_2"]
        async with listening(other):
            assert await of(other, 1) == ["stripe:cus_3"]
            assert await of(store, 1) == ["stripe:cus_4"]
        assert await in_time(lambda: of(store, 1)) == ["stripe:cus_3"]


async def test_who_lives_is_asked_where_somebody_else_has_a_lease_alone(
    store: Store, waiting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    living, asked = session_locks.held, []

    async def noted(connection: AsyncConnection[TupleRow], kind: int) -> set[int]:
        asked.append(kind)
        return await living(connection, kind)

    monkeypatch.setattr(claims, "held", noted)
    async with Store(waiting) as other, listening(store), listening(other):
        assert await one(store, SUBJECTS) is not None
        assert await one(store, SUBJECTS) is None
        assert asked == [], "its own leases tell it nothing"
        assert await one(other, SUBJECTS) is None
        assert asked


@each
async def test_law_5_what_failed_pauses_and_goes_on_waiting(store: Store, waiting: str, queue: Queue[Any]) -> None:
    for failures in (1, 2):
        claimed = await one(store, queue)
        assert claimed.attempts == failures - 1
        assert await give_back(store, queue, claimed, Unavailable("away", "no\0body"))
        assert columns(waiting, queue) == (failures, False, failures, "away: nobody")
        assert await one(store, queue) is None, "it pauses"
        let_pass(waiting, TABLES[queue.name])


@each
async def test_law_6_what_was_given_back_is_not_given_back_again(store: Store, waiting: str, queue: Queue[Any]) -> None:
    claimed = await one(store, queue)
    assert await give_back(store, queue, claimed, ValueError("a bug of ours"))
    assert not await give_back(store, queue, claimed, ValueError("heard of late"))
    assert columns(waiting, queue) == (1, False, 1, "ValueError: a bug of ours")


async def test_a_row_is_read_back_as_it_was_saved(store: Store, waiting: str) -> None:
    for queue in QUEUES:
        if queue is not SUBJECTS:  # which is saved by what a reading says
            claimed = await one(store, queue)
            async with store.transaction() as tx:
                await queue.rows(tx).save(claimed, lease_s=60)
                assert await queue.rows(tx).lock(claimed) == claimed, queue.name


# Those who work


async def test_many_workers_do_everything_that_waits_once(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into subjects (subject, dirty, marked_at)"
            " select 'stripe:cus_' || n, 1, now() + n * interval '1 s' from generate_series(1, 40) n"
        )

    async def some() -> list[str]:
        done: list[str] = []
        while claims := await take(store, SUBJECTS, limit=3, at=T0):
            done += [claim.subject for claim in claims]
        return done

    shares = await asyncio.gather(*(some() for _ in range(4)))
    everything = [subject for share in shares for subject in share]
    assert len(everything) == len(set(everything)) == 40


async def test_those_that_wait_longest_are_claimed_first(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "insert into subjects (subject, dirty, marked_at, swept) values"
            " ('swept', 1, now() - interval '9 s', true), ('late', 1, now(), false),"
            " ('early', 1, now() - interval '1 s', false)"
        )
    claims = await take(store, SUBJECTS, limit=2, at=T0)
    assert [claim.subject for claim in claims] == ["early", "late"], "only a sweep asked for the other"


async def test_one_that_breaks_is_given_back_and_stops_nobody(store: Store, waiting: str) -> None:
    with psycopg.connect(waiting) as connection:
        connection.execute("insert into subjects (subject, dirty, marked_at) values ('stripe:cus_2', 1, now())")
    done = asyncio.Event()

    async def do(claim: Any) -> str:
        if claim.subject == "stripe:cus_1":
            raise ValueError("a bug of ours")
        done.set()
        return "done"

    working = asyncio.create_task(work(store, SetClock(), SUBJECTS, do, look_s=60))
    await asyncio.wait_for(done.wait(), 30)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    with psycopg.connect(waiting) as connection:
        rows = connection.execute("select error from subjects where subject = 'stripe:cus_1'").fetchall()
    assert rows == [("ValueError: a bug of ours",)]


class Bell(asyncio.Event):
    """An event that says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.waited_for.set()
        return await super().wait()


async def test_who_is_woken_and_told_to_end_at_once_ends(store: Store) -> None:
    """`asyncio.wait_for` of Python 3.11 forgets the second of the two, and a server would not end."""

    async def do(_: Any) -> str:
        return "done"

    bell = Bell()
    working = asyncio.create_task(work(store, SetClock(), SUBJECTS, do, look_s=60, wake=bell))
    await asyncio.wait_for(bell.waited_for.wait(), 30)
    await asyncio.sleep(0)
    bell.set()
    working.cancel()
    await asyncio.wait([working], timeout=10)
    assert working.cancelled()


async def test_who_cannot_save_gives_back_at_once(store: Store, waiting: str) -> None:
    async def do(_: Any) -> str:
        raise Unavailable("contended", "others were at the same rows")

    for queue in QUEUES:
        assert await attempt(store, queue, do, await one(store, queue)) == "interrupted"
        assert columns(waiting, queue) == (1, False, 1, "contended: others were at the same rows")
