"""Connections to the database, and the memory that it is gone.

Laws: once the database is known to be gone, whoever asks for a connection, or waits for one, is told so at once; it
counts as gone only after a connection of its own got no answer, and as back as soon as one did; through a pooler,
nothing rests on what a session keeps, for the next transaction may run in another one (ADR 27).
"""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from paygrade.values.errors import Unavailable

log = structlog.get_logger("paygrade.database")

OPTIONS = "-c timezone=UTC"
BY_KEY = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan"
"""Statements about many keys find each row by its key, and are planned once: a plan made while a table was empty would
else read all of it for as long as the connection lives."""
BY_KEY_ONCE = """select set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
                        set_config('enable_mergejoin', 'off', true)"""
"""The same until the end of a transaction. Through a pooler nothing is prepared, so each statement is planned anew."""
BATCHES_MAX = 3
"""Batches of usage under way at a time: two of plain counts, and one of what takes more."""
OPEN_S, WAIT_S = 30.0, 10.0
"""How long the database may take to be there at the start, and all connections to be taken."""
DOUBT_S, ANSWER_S, HOST_S, LOOK_S = 1.0, 3.0, 2, 0.1
"""How long one waits for a connection before the database is asked whether it is there, how long that may take, and how
often it is asked while it is not; `HOST_S` of that is for one host to be silent before the next is tried."""
_Pool = AsyncConnectionPool[AsyncConnection[TupleRow]]


FULL = ("too many", "connection slots", "no more connections allowed")
"""What PostgreSQL and PgBouncer say when they are there, and have no connection left."""


class Connections:
    """Two pools of connections to one database. `pooled`: there may be a transaction pooler on the way to it. `name`
    is what the log calls it."""

    def __init__(
        self, database_url: str, *, connections_max: int, pooled: bool = False, name: str = "database"
    ) -> None:
        self._database_url, self._connections_max = database_url, connections_max
        self.pooled, self._name = pooled, name
        hosts = str(conninfo_to_dict(database_url).get("host") or "")
        self._hosts = hosts.count(",") + 1
        """How many there are, of which one may be the database now. They are asked one after the other."""
        self._pools = self._made()
        self._gone: str | None = None
        """Why the database counts as gone."""
        self._looking: asyncio.Task[None] | None = None

    def _made(self) -> tuple[_Pool, ...]:
        """What most things use, and what is for pipelined transactions: usage waits for no report."""
        if self.pooled:
            return tuple(_shared_pool(self._database_url, size) for size in (self._connections_max, BATCHES_MAX))
        return (
            _pool(self._database_url, self._connections_max, options=OPTIONS),
            _pool(self._database_url, BATCHES_MAX, options=f"{OPTIONS} {BY_KEY}"),
        )

    async def open(self) -> None:
        """Raises Unavailable if there is no database."""
        try:
            for pool in self._pools:
                await pool.open(wait=True, timeout=OPEN_S)
        except PoolTimeout as error:
            raise Unavailable("database_unavailable", f"the database can't be reached: {error}") from error

    async def open_anyway(self) -> None:
        """Open it whether or not the database is there; if it isn't, it counts as gone until it is."""
        for pool in self._pools:
            await pool.open()
        self.doubt()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for pool in self._pools:
            await pool.close()

    @asynccontextmanager
    async def taken(self, *, for_batches: bool) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """A connection for as long as the block lasts. Raises Unavailable when the database is gone, or stays busy."""
        pool = self._pools[for_batches]
        connection = await self._taken_from(pool)
        try:
            async with connection:
                yield connection
        except (psycopg.OperationalError, psycopg.InterfaceError):
            if connection.closed:
                self.doubt()
            raise
        finally:
            if connection.pgconn.pipeline_status != PipelineStatus.OFF:
                # Whoever was cancelled as psycopg began a pipeline leaves it there, and the next one's commit would be
                # answered before it has happened.
                await connection.close()
            await pool.putconn(connection)

    @property
    def gone(self) -> bool:
        return self._gone is not None

    async def _taken_from(self, pool: _Pool) -> AsyncConnection[TupleRow]:
        give_up_at = monotonic() + WAIT_S
        while True:
            if self._gone is not None:
                raise Unavailable("database_unavailable", f"the database can't be reached: {self._gone}")
            try:
                return await pool.getconn(timeout=DOUBT_S)
            except PoolTimeout:
                self.doubt()
                if monotonic() > give_up_at:
                    raise Unavailable("database_unavailable", "all connections to the database are busy") from None
            except PoolClosed:
                raise Unavailable("database_unavailable", "the database can't be reached") from None

    def doubt(self) -> None:
        """Find out whether the database is still there, because something went wrong with a connection."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        why = await self._unanswered()
        if why is None:
            return
        self._gone = why
        log.warning(f"{self._name}_gone", detail=why)
        # Whoever waits for a connection of these is told. They would take their time to connect anew.
        for pool in self._pools:
            await pool.close(timeout=LOOK_S)
        while await self._unanswered() is not None:
            await asyncio.sleep(LOOK_S)
        self._pools = self._made()
        for pool in self._pools:
            await pool.open()
        self._gone = None
        log.info(f"{self._name}_back")

    async def _unanswered(self) -> str | None:
        """Why the database does not answer; None if it does, be it that it has no connection left."""
        try:
            async with (
                asyncio.timeout(ANSWER_S * self._hosts),
                await AsyncConnection.connect(
                    self._database_url, autocommit=True, connect_timeout=HOST_S
                ) as connection,
            ):
                # A pooler may be there when PostgreSQL is not: only a statement finds out.
                await connection.execute("select")
        except (psycopg.Error, OSError) as error:
            why = str(error) or type(error).__name__
            return None if any(full in why for full in FULL) else why
        return None


def _pool(database_url: str, connections_max: int, *, options: str) -> _Pool:
    return AsyncConnectionPool(
        database_url,
        min_size=1,
        max_size=connections_max,
        open=False,
        kwargs={"autocommit": True, "options": options},
        check=_check,
    )


def _shared_pool(database_url: str, connections_max: int) -> _Pool:
    """Connections whose transactions may each run in another session. PgBouncer refuses `options`; it keeps the time
    zone of each client, and no other setting."""

    async def in_utc(connection: AsyncConnection[TupleRow]) -> None:
        await connection.execute("set timezone to 'UTC'")

    return AsyncConnectionPool(
        database_url,
        min_size=1,
        max_size=connections_max,
        open=False,
        kwargs={"autocommit": True, "prepare_threshold": None},
        configure=in_utc,
        check=_check,
    )


async def _check(connection: AsyncConnection[TupleRow]) -> None:
    """Ask a kept connection whether it lives, but only if it has something to say: a server that went away leaves
    its farewell, or the end, to be read. Asking each time would cost every transaction a round trip."""
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        await AsyncConnectionPool.check_connection(connection)
