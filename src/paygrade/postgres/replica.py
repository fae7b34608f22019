"""A replica: a copy of the database that lists, histories and reports may be read from.

Laws: a read sees everything that was committed before it was asked for, wherever it is answered (ADR 27); a replica
that is gone, behind, or no replica any more costs a moment, and the database itself answers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.postgres.connections import Connections
from paygrade.values.errors import Unavailable

log = structlog.get_logger("paygrade.database")

CONNECTIONS_MAX = 4
BEHIND_S, LOOK_S = 0.25, 0.005
"""How long a read waits for what was committed before it, and how often it looks. Within one network this takes a few
milliseconds."""
AGAIN_S = 1.0
"""How long a replica that was too far behind is left alone, so that not every read waits for it in vain."""


class Replica:
    """One replica of what `primary` leads to."""

    def __init__(self, url: str, primary: Connections) -> None:
        self._primary = primary
        self._connections = Connections(url, connections_max=CONNECTIONS_MAX, pooled=True, name="replica")
        self._again_at = 0.0
        """Until when it is left alone."""

    async def open(self) -> None:
        await self._connections.open_anyway()

    async def close(self) -> None:
        await self._connections.close()

    @asynccontextmanager
    async def caught_up(self) -> AsyncIterator[AsyncConnection[TupleRow] | None]:
        """A connection to the replica once it has everything that is committed now; None: it doesn't get there soon."""
        async with AsyncExitStack() as taken:
            yield None if monotonic() < self._again_at or self._connections.gone else await self._take(taken)

    async def _take(self, taken: AsyncExitStack) -> AsyncConnection[TupleRow] | None:
        try:
            position = await self._position()
            connection = await taken.enter_async_context(self._connections.taken(for_batches=False))
            if await _reaches(connection, position):
                return connection
            log.info("replica_behind", position=position)
        except (Unavailable, psycopg.Error) as error:
            log.warning("replica_unusable", detail=str(error))
        self._again_at = monotonic() + AGAIN_S
        await taken.aclose()
        return None

    async def _position(self) -> str:
        """How far the log of the database goes, whatever of it is flushed yet."""
        async with self._primary.taken(for_batches=False) as connection:
            cursor = await connection.execute("select pg_current_wal_insert_lsn()::text")
            (position,) = await cursor.fetchone() or ("0/0",)
        return str(position)


async def _reaches(connection: AsyncConnection[TupleRow], position: str) -> bool:
    """Whether the replica has replayed up to this position, or does soon. One that was promoted is no replica: its
    positions say nothing of the database."""
    give_up_at = monotonic() + BEHIND_S
    while True:
        cursor = await connection.execute(
            "select pg_is_in_recovery(), pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)
        )
        is_replica, has_it = await cursor.fetchone() or (False, False)
        if not is_replica or has_it:
            return bool(is_replica and has_it)
        if monotonic() > give_up_at:
            return False
        await asyncio.sleep(LOOK_S)
