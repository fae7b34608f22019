"""The acceptor: takes connections from a port that several workers share, so that all have about as many of them.

Theory of operation. Whoever connects waits in one queue, and every worker is woken. One that has no more connections
than any other takes one at once. The others wait for a moment, and take it then if it is still there: those with fewer
may be busy, or gone. How many each has stands in a file that all of them have mapped into memory; what is out of date
there costs that moment, and nothing else.

Law: as long as one worker lives, whoever connects is taken.
"""

import asyncio
import mmap
import socket
from pathlib import Path

import structlog
import uvicorn

from paygrade.server.process.settings import WORKERS_MAX

log = structlog.get_logger("paygrade.worker")

AFTER_S = 0.002
"""How long a connection is left to workers that have fewer."""
NO_ROOM_S = 1.0
"""How long to wait where the system has no room for another connection."""


class Shares:
    """How many connections each worker has, by its number; None of one that takes none."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where all of them find the file; the supervisor's is the first."""
        with (folder / "connections").open("a+b") as file:
            file.truncate((WORKERS_MAX + 1) * 4)
            self._counts = memoryview(mmap.mmap(file.fileno(), 0)).cast("I")

    def __getitem__(self, number: int) -> int | None:
        return self._counts[number] - 1 if self._counts[number] else None

    def __setitem__(self, number: int, count: int | None) -> None:
        self._counts[number] = 0 if count is None else count + 1

    def is_least(self, number: int) -> bool:
        """Whether no other has fewer."""
        mine = self._counts[number]
        return all(mine <= its for its in self._counts if its)


class SharingServer(uvicorn.Server):
    """A server that takes its share of the connections to a port. It listens to the sockets it is run with, too."""

    def __init__(self, config: uvicorn.Config, port: socket.socket, shares: Shares, number: int) -> None:
        super().__init__(config)
        self._port, self._shares, self._number = port, shares, number
        self._taking: set[asyncio.Task[object]] = set()
        self._later: asyncio.TimerHandle | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._port.setblocking(False)
        self._port.listen(self.config.backlog)
        self._shares[self._number] = 0
        self._look()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # What it had is its successor's business from here on.
        asyncio.get_running_loop().remove_reader(self._port)
        if self._later is not None:
            self._later.cancel()
        self._port.close()
        await asyncio.gather(*self._taking, return_exceptions=True)
        await super().shutdown(sockets)

    def _look(self) -> None:
        asyncio.get_running_loop().add_reader(self._port, self._woken)

    async def on_tick(self, counter: int) -> bool:
        # Nobody says when a connection has ended; ten times a second is soon enough.
        if not self.should_exit:
            self._count()
        return await super().on_tick(counter)

    def _count(self) -> None:
        self._shares[self._number] = len(self.server_state.connections) + len(self._taking)

    def _woken(self) -> None:
        self._count()
        if self._shares.is_least(self._number):
            self._take()
        else:
            self._pause(AFTER_S)

    def _pause(self, wait_s: float) -> None:
        """Take the next one that is there after this time, whoever has how many."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._port)
        self._later = loop.call_later(wait_s, self._go_on)

    def _go_on(self) -> None:
        self._look()
        self._take()

    def _take(self) -> None:
        try:
            connection, _ = self._port.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another was quicker, or who connected has left
        except OSError as error:
            log.error("connection_not_taken", detail=str(error))
            self._pause(NO_ROOM_S)
            return
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        task: asyncio.Task[object] = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
        self._taking.add(task)
        task.add_done_callback(self._taken)
        self._count()

    def _taken(self, task: "asyncio.Task[object]") -> None:
        self._taking.discard(task)
        if not task.cancelled() and task.exception() is not None:  # who connected has left
            log.debug("connection_lost", error=str(task.exception()))

    def _protocol(self) -> asyncio.Protocol:
        """What uvicorn makes for each connection."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn's own call
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made
