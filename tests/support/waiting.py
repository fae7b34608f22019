"""Waiting for what another process, thread or session does, and never for ever; and time that passes at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")

GIVE_UP_S = 90.0
LOOK_S, SELDOM_S = 0.01, 0.1


def pause_s(waited_s: float) -> float:
    """How long to wait for the next look: a tenth of what was waited, since each look takes what others work with."""
    return min(max(LOOK_S, waited_s / 10), SELDOM_S)


def eventually(ask: Callable[[], T], *, within_s: float = GIVE_UP_S) -> T:
    """Ask until the answer is true, and give it."""
    began_at = time.monotonic()
    while not (answer := ask()):
        waited_s = time.monotonic() - began_at
        assert waited_s < within_s, f"after {within_s:.0f} s the answer still is {answer!r}"
        time.sleep(pause_s(waited_s))
    return answer


async def in_time(ask: Callable[[], Awaitable[T]]) -> T:
    """The same in an event loop."""
    began_at = time.monotonic()
    while not (answer := await ask()):
        waited_s = time.monotonic() - began_at
        assert waited_s < GIVE_UP_S, f"after {GIVE_UP_S:.0f} s the answer still is {answer!r}"
        await asyncio.sleep(pause_s(waited_s))
    return answer


async def somebody_waits(database_url: str) -> None:
    """Wait until a session of this database, whatever goes on in others, waits for a lock."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def waits() -> bool:
            # By the session: who waits for a row waits for a transaction, which belongs to no database.
            cursor = await connection.execute(
                "select from pg_locks join pg_stat_activity using (pid)"
                " where not granted and datname = current_database()"
            )
            return await cursor.fetchone() is not None

        await in_time(waits)


def how_many_wait_for(connection: psycopg.Connection) -> int:
    """How many sessions wait for a lock of this one.

    By the locks: of `pg_stat_activity` a transaction keeps what it saw first, so who connected later is not in it.
    """
    found = connection.execute(
        "select count(distinct pid) from pg_locks where not granted and %s = any(pg_blocking_pids(pid))",
        (connection.info.backend_pid,),
    )
    return int((found.fetchone() or (0,))[0])


def let_pass(database_url: str, table: str) -> None:
    """Let every lease and pause of a table be over, as time does."""
    with psycopg.connect(database_url) as connection:
        query: Any = f"update {table} set leased_until = null, retry_at = null"  # Any: not a literal
        connection.execute(query)
