"""Counts that are told of apart from their commit: on real PostgreSQL, with processes that die in between."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec
import psycopg
import pytest

from paygrade.postgres import gathered
from paygrade.postgres import store as stores
from paygrade.postgres.session_locks import TELLERS
from paygrade.postgres.store import Store
from paygrade.usage.entries import Entry
from paygrade.values.errors import Unavailable
from support.fake_provider import T0

pytestmark = pytest.mark.anyio
Heard = asyncio.Queue[tuple[str, str]]
WINDOW = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def looked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LOOK_S", 0.05)


@asynccontextmanager
async def listening(store: Store, *, own: bool = False) -> AsyncIterator[tuple[Heard, "asyncio.Task[None]"]]:
    """What is heard; the task ends with why nothing more is."""
    heard: Heard = Heard()

    def hear(channel: str, payload: str) -> None:
        heard.put_nowait((channel, payload))

    if own:
        store.hear_own(hear)
    ready = asyncio.Event()
    task = asyncio.create_task(store.listen(ready=ready.set, hear=hear))
    await asyncio.wait_for(ready.wait(), 10)
    try:
        yield heard, task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Unavailable):
            await task


async def begun(store: Store, accounts: int = 1) -> list[str]:
    """Accounts with a count of version 1."""
    names = [f"acct_{number:04}" for number in range(accounts)]
    async with store.transaction() as tx:
        await tx.ledger.make([(name, "calls", WINDOW) for name in names], {})
    return names


async def use(store: Store, names: list[str], version: int) -> None:
    async with store.transaction(single=True) as tx:
        counts = [(name, "calls", WINDOW, version, 0, version) for name in names]
        entries = [
            Entry(name, f"{name} {version}", "consume", "calls", 1, T0, T0, digest=1, answer=b"[]") for name in names
        ]
        assert await tx.enter_counts(counts, entries) == set()


def counts_of(payload: str) -> dict[str, int]:
    return {account: version for account, _, _, _, _, version in msgspec.json.decode(payload)}


async def test_others_hear_of_counts_once_and_whoever_wrote_them_by_itself(database_url: str, store: Store) -> None:
    names = await begun(store)
    async with (
        Store(database_url) as other,
        listening(other, own=True) as (theirs, _),
        listening(store, own=True) as (mine, _),
    ):
        await use(store, names, await version(database_url) + 1)
        assert mine.qsize() == 1
        assert await asyncio.wait_for(theirs.get(), 10) == mine.get_nowait()
        async with store.transaction() as tx:
            await tx.tell("paygrade_account", "the last word")
        assert await asyncio.wait_for(theirs.get(), 10) == ("paygrade_account", "the last word")
        own = [mine.get_nowait(), await asyncio.wait_for(mine.get(), 10)]
        assert own == [("paygrade_account", "the last word")] * 2, "no count among them"


async def version(database_url: str) -> int:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute("select max(version) from balances")
        found = await cursor.fetchone()
        assert found is not None
        return int(found[0])


async def test_what_is_counted_within_a_moment_is_told_at_once_and_once(database_url: str, store: Store) -> None:
    names = await begun(store, 300)
    first = await version(database_url)
    async with Store(database_url) as other, listening(other) as (heard, _):
        for more in range(1, 4):
            await use(store, names, first + more)
        newest: dict[str, int] = {}
        while set(newest.values()) != {first + 3} or len(newest) != len(names):
            _, payload = await asyncio.wait_for(heard.get(), 10)
            assert len(payload) < 8000
            newest |= counts_of(payload)


async def test_a_store_that_closes_tells_all_and_nobody_is_alarmed(database_url: str, store: Store) -> None:
    names = await begun(store)
    async with listening(store) as (heard, ended):
        async with Store(database_url) as other:
            await use(other, names, await version(database_url) + 1)
        assert counts_of((await asyncio.wait_for(heard.get(), 10))[1]) == {names[0]: await version(database_url)}
        await asyncio.sleep(10 * stores.LOOK_S)
        assert not ended.done()


KILLED_BEFORE_IT_TELLS = """
import asyncio, os, signal, sys
from paygrade.postgres import gathered
from paygrade.postgres.store import Store
from postgres.test_gathered import use

async def main():
    gathered.GATHER_S = 1000
    store = Store(sys.argv[1])
    await store.open()
    await use(store, [sys.argv[2]], int(sys.argv[3]))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_who_is_killed_between_saving_and_telling_is_missed(database_url: str, store: Store) -> None:
    [name] = await begun(store)
    async with listening(store) as (heard, ended):
        following = str(await version(database_url) + 1)
        command = [sys.executable, "-c", KILLED_BEFORE_IT_TELLS, database_url, name, following]
        killed = await asyncio.to_thread(subprocess.run, command, check=False, env={"PYTHONPATH": ":".join(sys.path)})
        assert killed.returncode == -9
        assert await version(database_url) == int(following), "it was saved"
        with pytest.raises(Unavailable, match="may have counted"):
            await asyncio.wait_for(asyncio.shield(ended), 10)
        assert heard.empty()


async def test_who_loses_the_connection_it_tells_on_says_so_with_the_next(
    database_url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LOOK_S", 100)
    names = await begun(store)
    async with Store(database_url) as other, listening(store) as (heard, ended):
        first = await version(database_url)
        await use(other, names, first + 1)
        await asyncio.wait_for(heard.get(), 10)
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            await connection.execute(
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and classid = %s",
                (TELLERS,),
            )
        with suppress(Unavailable):
            await use(other, names, first + 2)
        await asyncio.wait_for(_again(other, names, database_url, ended), 10)


async def _again(store: Store, names: list[str], database_url: str, ended: "asyncio.Task[None]") -> None:
    while not ended.done():
        await use(store, names, await version(database_url) + 1)
        await asyncio.sleep(0.02)
    with pytest.raises(Unavailable, match="may have counted"):
        await ended


def test_a_notification_holds_as_much_as_fits() -> None:
    long = [("x" * 200, "pool" * 20, WINDOW, 2**53, 2**53, number) for number in range(500)]
    packets = list(gathered.packets(long))
    assert [row for packet in packets for row in packet] == long
    assert all(len(msgspec.json.encode(packet)) < 8000 for packet in packets)
