"""The supervisor: keeps several server processes, workers, that share one port. It serves nothing itself.

Theory of operation. The supervisor opens the port, and each worker inherits it open: who connects waits in one queue
that no worker owns, so none of them takes a waiting connection along when it ends. To restart a worker, another one is
started for it first, and the old one ends when that is ready.

Laws: a worker that ends unasked is started again, after a pause that grows while it ends at once; one that does not
become ready takes no other's place; workers end with the supervisor, however that ends.
"""

import asyncio
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import httpx2
import structlog

from paygrade.cli.acceptor import Shares
from paygrade.server.process.retries import pause_s
from paygrade.values.errors import Unavailable

log = structlog.get_logger("paygrade.supervisor")

LOOK_S, ANSWER_S = 0.05, 2.0
"""How often a worker that starts is asked whether it is ready, and how long it may take to say so."""
READY_S, END_S = 60.0, 20.0
"""How long a worker may take to become ready in another's place, and to end."""
STEADY_S, FAILURES_MAX = 30.0, 5
"""A worker that ends sooner has failed; after so many failures in a row, pauses do not get longer."""
TOLD_FROM = 3
"""Failures in a row from which on they are no accident."""


def supervise(count: int, port: socket.socket, environ: Mapping[str, str], *, as_json: bool) -> None:
    """Keep so many workers on this port, which is bound, until SIGTERM or SIGINT. Unavailable `server_not_started` if
    one ends before any was ready."""
    with tempfile.TemporaryDirectory(prefix="paygrade-") as folder:
        asyncio.run(Supervisor(count, port, Path(folder), environ, as_json=as_json).run())


class Worker:
    """One worker: which one it is, its process, and the socket where this process alone answers."""

    def __init__(self, number: int, process: Process, folder: Path) -> None:
        self.number, self.process = number, process
        self.own = folder / f"{number}.{process.pid}"
        self.started_s = time.monotonic()
        self.ready = asyncio.Event()
        self.not_ready = "it does not answer"
        """What keeps it from being ready."""

    def signal(self, which: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(which)


class Supervisor:
    """Keeps `count` workers. `folder`: for the sockets on which each is asked by itself; `N` there leads to the one
    that is worker N now."""

    def __init__(
        self, count: int, port: socket.socket, folder: Path, environ: Mapping[str, str], *, as_json: bool
    ) -> None:
        self._port, self._folder, self._environ, self._as_json = port, folder, environ, as_json
        self._count, self._shares = count, Shares(folder)
        self._workers: dict[int, Worker] = {}
        """The worker of each number; others that live are on their way in or out."""
        self._watched: dict[asyncio.Task[None], Worker] = {}
        self._restart, self._end = asyncio.Event(), asyncio.Event()
        self._has_served = False
        self._failed: Unavailable | None = None

    async def run(self) -> None:
        """Keep them until told to end. Unavailable `server_not_started`."""
        loop = asyncio.get_running_loop()
        for which in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(which, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._restart.set)
        restarting = asyncio.create_task(self._restart_when_asked())
        try:
            for number in range(1, self._count + 1):
                self._workers[number] = await self._start(number)
            await self._end.wait()
        finally:
            restarting.cancel()
            await asyncio.gather(restarting, return_exceptions=True)
            await self._end_all()
        if self._failed is not None:
            raise self._failed

    def _stop(self) -> None:
        if self._end.is_set():  # asked again: at once
            for worker in self._watched.values():
                worker.signal(signal.SIGKILL)
        self._end.set()

    async def _start(self, number: int, *, failures: int = 0) -> Worker:
        """Start a worker. `failures`: how often in a row the one before it has ended at once."""
        port = self._port.fileno()
        told = [str(number), str(port), str(self._folder), *(["--json"] if self._as_json else [])]
        # A group of its own: Ctrl-C and the end of a terminal are for the supervisor. What it reads ends with us.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "paygrade.cli.worker", *told,
            stdin=PIPE, env=self._environ, pass_fds=[port], process_group=0,
        )  # fmt: skip
        worker = Worker(number, process, self._folder)
        task = asyncio.create_task(self._watch(worker, failures))
        self._watched[task] = worker
        task.add_done_callback(self._watched.pop)
        log.info("worker_started", worker=number, process=process.pid)
        return worker

    async def _watch(self, worker: Worker, failures: int) -> None:
        """Follow a worker to its end; start another if nobody wanted that."""
        becoming = asyncio.create_task(self._become_ready(worker))
        status = await worker.process.wait()
        becoming.cancel()
        worker.own.unlink(missing_ok=True)
        if self._end.is_set() or self._workers.get(worker.number) is not worker:
            return
        self._shares[worker.number] = None
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        if not self._has_served:
            detail = f"worker {worker.number} ended before it was ready ({how}); the log above says why"
            self._failed = Unavailable("server_not_started", detail)
            self._end.set()
            return
        lived_s = time.monotonic() - worker.started_s
        log.error("worker_ended", worker=worker.number, how=how, lived_s=round(lived_s, 1))
        await self._replace(worker, failures + 1 if lived_s < STEADY_S else 0)

    async def _replace(self, worker: Worker, failures: int) -> None:
        """Start a worker for one that has ended, unless that was done meanwhile."""
        while True:
            wait_s = pause_s(min(failures, FAILURES_MAX) - 1, ChildProcessError()) if failures else 0.0
            if failures >= TOLD_FROM:
                advice = "it ends soon after each start; its lines above say why, and the other workers go on"
                log.error("worker_keeps_ending", worker=worker.number, times=failures, next_in_s=round(wait_s, 1),
                          advice=advice)  # fmt: skip
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._end.wait()
            if self._end.is_set() or self._workers.get(worker.number) is not worker:
                return
            try:
                self._workers[worker.number] = await self._start(worker.number, failures=failures)
                return
            except OSError as error:  # no room for another process
                log.error("worker_not_started", worker=worker.number, detail=str(error))
                failures += 1

    async def _become_ready(self, worker: Worker) -> None:
        transport = httpx2.AsyncHTTPTransport(uds=str(worker.own), verify=False)
        async with httpx2.AsyncClient(transport=transport, timeout=ANSWER_S) as http:
            while not worker.ready.is_set():
                with suppress(httpx2.TransportError):
                    answer = await http.get("http://worker/readyz")
                    if answer.is_success:
                        worker.ready.set()
                        break
                    worker.not_ready = answer.json()["detail"]
                await asyncio.sleep(LOOK_S)
        if self._workers.get(worker.number) is worker:
            self._present(worker)

    def _present(self, worker: Worker) -> None:
        """Let the others find this worker under its number."""
        self._has_served = True
        link = self._folder / f"{worker.own.name}.link"
        link.symlink_to(worker.own.name)
        link.replace(self._folder / str(worker.number))
        log.info("worker_ready", worker=worker.number, process=worker.process.pid)

    async def _restart_when_asked(self) -> None:
        while True:
            await self._restart.wait()
            self._restart.clear()
            await self._restart_all()

    async def _restart_all(self) -> None:
        """Another worker for each, one after another; where one does not become ready, the rest stay as they are."""
        log.info("workers_restarting")
        for number in sorted(self._workers):
            new = await self._start(number)
            if not await self._is_ready(new):
                advice = "the workers that run go on; send SIGHUP again once this is mended"
                log.error("restart_given_up", worker=number, detail=new.not_ready, advice=advice)
                await self._retire(new)
                return
            old, self._workers[number] = self._workers[number], new
            self._present(new)
            await self._retire(old)
        log.info("workers_restarted")

    async def _is_ready(self, worker: Worker) -> bool:
        ready, ended = asyncio.create_task(worker.ready.wait()), asyncio.create_task(worker.process.wait())
        await asyncio.wait({ready, ended}, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            worker.not_ready = f"it ended (exit status {ended.result()})"
        ready.cancel()
        ended.cancel()
        return worker.ready.is_set() and not ended.done()

    async def _retire(self, worker: Worker) -> None:
        worker.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_S):
                await worker.process.wait()
        except TimeoutError:
            log.error("worker_did_not_end", worker=worker.number, process=worker.process.pid)
            worker.signal(signal.SIGKILL)

    async def _end_all(self) -> None:
        self._end.set()
        self._port.close()  # who connects now is refused, not kept waiting
        if self._watched:
            await asyncio.gather(*(self._retire(worker) for worker in self._watched.values()))
            await asyncio.gather(*self._watched, return_exceptions=True)
