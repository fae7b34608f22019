"""Two real servers beside one database, of which one may be killed."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx2

from support.cluster import free_ports
from support.server_process import KEY, SAMPLE, Api
from support.waiting import eventually
from support.warm_process import warm


class Server:
    """A process of `paygrade serve`."""

    def __init__(self, database_url: str, port: int) -> None:
        given = {"PAYGRADE_DATABASE_URL": database_url, "PAYGRADE_ADMIN_KEY": KEY, "PAYGRADE_CATALOG": str(SAMPLE)}
        self._process = warm().start(
            ["serve", "--port", str(port), "--no-migrate", "--json"], environ={"PATH": "", **given}
        )
        self.port, self.api = port, Api(f"http://127.0.0.1:{port}")

    def is_ready(self) -> bool:
        with suppress(httpx2.TransportError):
            return self.api.get("/readyz").is_success
        return False

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        self.api.close()
        self._process.kill()
        self._process.wait()


@contextmanager
def servers(database_url: str) -> Iterator[tuple[Server, Server]]:
    first, second = (Server(database_url, port) for port in free_ports(2))
    try:
        eventually(lambda: first.is_ready() and second.is_ready(), within_s=90)
        yield first, second
    finally:
        first.end()
        second.end()
