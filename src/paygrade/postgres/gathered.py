"""Counts on their way to other processes: gathered for a moment, and told on a connection of its own.

A notification in a commit takes a lock that all commits of the server wait for, so batches of usage are told of apart
from it. A count is told with its version, so that late, doubled or shuffled news are harmless; what must not be is that
others go on with old counts because whoever wrote newer ones is gone.

Law: whoever listens hears of every count that is written, or that somebody went without having told of all. So one
says that one will tell before writing the first count, holds a lock for as long as one tells, and says farewell.
"""

import asyncio
import secrets
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import TypeVar

import msgspec
import psycopg
import structlog
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.postgres.optimistic_use import Count
from paygrade.postgres.session_locks import TELLERS, held, hold, let_go
from paygrade.usage.entries import Key
from paygrade.values.errors import Unavailable

Row = TypeVar("Row", bound=tuple[str | int, ...])
log = structlog.get_logger("paygrade.database")

COUNTS, CHANNEL = "paygrade_balance", "paygrade_teller"
"""Where counts are told, as releases before this one hear them, too; and who tells of them."""
GATHER_S = 0.005
TOLD_BYTES_MAX = 7900
"""PostgreSQL takes less than 8000 bytes in one notification."""


class Told(Struct, frozen=True, array_like=True):
    """Who tells. `ends`: this teller has told of all. `lost`: the one before it in its process has not."""

    teller: int
    ends: bool = False
    lost: int | None = None


class GatheredCounts:
    """What one process has to tell of counts. Lives in one event loop."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: AsyncConnection[TupleRow] | None = None
        self._connecting = asyncio.Lock()
        self._waiting: dict[Key, Count] = {}
        self._telling: asyncio.Task[None] | None = None
        self._teller: int | None = None
        self.own: set[int] = set()
        """The numbers this process has told under."""

    async def begin(self) -> None:
        """Have everyone know that counts will be told: before the first is written. Raises psycopg's errors."""
        if self._connection is None or self._connection.closed:
            async with self._connecting:
                if self._connection is None or self._connection.closed:
                    self._connection = await self._connected()

    async def _connected(self) -> AsyncConnection[TupleRow]:
        connection = await AsyncConnection.connect(self._database_url, autocommit=True)
        lost, self._teller = self._teller, secrets.randbelow(2**31)
        self.own.add(self._teller)
        try:
            await hold(connection, TELLERS, self._teller)
            await _tell(connection, CHANNEL, [Told(self._teller, lost=lost)])
        except BaseException:
            await connection.close()
            raise
        return connection

    def told(self, notification: psycopg.Notify) -> bool:
        """Whether this came from here: a process of PostgreSQL serves one connection."""
        connection = self._connection
        return connection is not None and not connection.closed and notification.pid == connection.info.backend_pid

    def put(self, counts: Iterable[Count]) -> None:
        """Have these told soon. They are saved."""
        for count in counts:
            known = self._waiting.get(count[:3])
            if known is None or known[5] < count[5]:
                self._waiting[count[:3]] = count
        if self._waiting and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell_soon())

    async def _tell_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            counts, self._waiting = list(self._waiting.values()), {}
            assert self._connection is not None
            try:
                await _tell(self._connection, COUNTS, list(packets(counts)))
            except psycopg.Error as error:
                # The others see that its lock is gone, or hear of it from the next.
                log.warning("counts_not_told", counts=len(counts), detail=str(error))
                await self._connection.close()

    async def close(self) -> None:
        """Tell what is left, and that this is all."""
        if self._telling is not None:
            await asyncio.wait({self._telling})
        connection, self._connection = self._connection, None
        if connection is None or connection.closed:
            return
        assert self._teller is not None
        try:
            # The lock goes first: whoever sees it has not heard the farewell yet, and will.
            await let_go(connection, TELLERS, self._teller)
            await _tell(connection, CHANNEL, [Told(self._teller, ends=True)])
        except psycopg.Error as error:
            log.warning("counts_not_told", counts=0, detail=str(error))
        self._teller = None
        await connection.close()


class Tellers:
    """Who tells, as one listener knows it; `own` are those of its own process, of which it hears by itself."""

    def __init__(self, connection: AsyncConnection[TupleRow], own: Set[int]) -> None:
        self._connection, self._own = connection, own
        self._known: set[int] = set()
        self._missing: set[int] = set()

    async def begin(self) -> None:
        """Know those there are. Before that, one listens."""
        self._known = await held(self._connection, TELLERS)

    def hear(self, payload: str) -> None:
        told = _decode(payload)
        (self._known.discard if told.ends else self._known.add)(told.teller)
        if told.lost in self._known:
            raise _lost()

    async def look(self) -> None:
        """Raises Unavailable if somebody went without having told of all: seen twice, since a farewell that came
        meanwhile is not heard yet."""
        missing = self._known - self._own - await held(self._connection, TELLERS)
        if missing & self._missing:
            raise _lost()
        self._missing = missing


_decode = msgspec.json.Decoder(Told).decode


def _lost() -> Unavailable:
    return Unavailable("database_unavailable", "another server went away and may have counted what it did not tell")


async def _tell(connection: AsyncConnection[TupleRow], channel: str, told: Sequence[object]) -> None:
    payloads = [msgspec.json.encode(each).decode() for each in told]
    await connection.execute(
        "select pg_notify(%s, payload) from json_array_elements_text(%s) payload",
        (channel, msgspec.json.encode(payloads).decode()),
    )


def packets(news: Sequence[Row]) -> Iterator[list[Row]]:
    """As many at a time as fit into a notification."""
    start, count = 0, 64
    while start < len(news):
        packet = list(news[start : start + count])
        if count > 1 and len(msgspec.json.encode(packet)) > TOLD_BYTES_MAX:
            count //= 2
            continue
        yield packet
        start += count
