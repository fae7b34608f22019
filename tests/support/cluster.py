"""A cluster as in production: PostgreSQL with its durable settings and servers, each a process that can be killed."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from paygrade.embedded_postgres import cluster as embedded
from support.warm_process import Running, warm

WAIT_S = 240.0
PORTS = range(20_000, 32_000)


class Cluster:
    """One PostgreSQL and any number of servers over it. `settings` are those of the servers."""

    def __init__(self, folder: Path, *, servers: int, seed: int, admin_key: str) -> None:
        self.rng = random.Random(seed)
        self.admin_key = admin_key
        self._folder = folder
        self._log = (folder / "log").open("wb")
        self._postgres = embedded.start(folder / "data")
        self.database_url = self._postgres.url
        self._ports = free_ports(servers)
        self._servers: dict[int, Running] = {}
        # No connection is kept: on a busy machine it would be closed there while it is taken up again here.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self.http = httpx2.Client(trust_env=False, timeout=WAIT_S, verify=False, limits=limits)

    @property
    def server_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @property
    def settings(self) -> Mapping[str, str]:
        return {"PAYGRADE_DATABASE_URL": self.database_url, "PAYGRADE_ADMIN_KEY": self.admin_key}

    @contextmanager
    def running(self, catalog: str) -> Iterator[None]:
        """Every server up, with this catalog in force, until the end of the block."""
        with ExitStack() as stack:
            stack.callback(self._stop_postgres)
            stack.callback(self._kill_servers)
            for number in range(len(self._ports)):
                self.start_server(number)
            self.wait_until_ready()
            self.ask("PUT", "/v1/catalog", content=catalog, headers={"Content-Type": "application/yaml"})
            yield

    def kill_server(self, number: int) -> None:
        killed(self._servers[number])

    def start_server(self, number: int) -> None:
        self._servers[number] = self.start("serve", "--port", str(self._ports[number]))

    def start_dead_servers(self) -> None:
        for number, server in self._servers.items():
            if server.poll() is not None:
                self.start_server(number)

    def restart_postgres(self, *, away_s: float) -> None:
        """Stop it as a crash does: no checkpoint, everyone cut off, to recover from its log."""
        record = self._folder / "data" / "cluster" / "postmaster.pid"
        os.kill(int(record.read_text().split()[0]), signal.SIGQUIT)
        self._postgres.stop()
        time.sleep(away_s)
        self._postgres = embedded.start(self._folder / "data")
        assert self._postgres.url == self.database_url

    def cut_connections(self) -> None:
        """End every connection to PostgreSQL at once."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where backend_type = 'client backend' and pid <> pg_backend_pid()"
            )

    def wait_until_ready(self) -> None:
        eventually("every server", self.not_ready)

    def not_ready(self) -> list[str]:
        return [url for url in self.server_urls if not self._is_ready(url)]

    def ask(self, method: str, path: str, *, server: int = 0, **more: Any) -> Any:
        """The answer of a server that has to be up."""
        headers = {"Authorization": f"Bearer {self.admin_key}", **more.pop("headers", {})}
        answer = self.http.request(method, self.server_urls[server] + path, headers=headers, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def log_tail(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-4000:]

    def start(self, *command: str) -> Running:
        """Run `paygrade` with these arguments."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")}
        return warm().start(command, environ=kept | dict(self.settings), stdout=self._log, stderr=self._log)

    def _is_ready(self, url: str) -> bool:
        try:
            return self.http.get(f"{url}/readyz").is_success
        except httpx2.HTTPError:
            return False

    def _stop_postgres(self) -> None:
        self._postgres.stop()

    def _kill_servers(self) -> None:
        for server in self._servers.values():
            killed(server)


@contextmanager
def folder_of_its_own(what: str) -> Iterator[Path]:
    """A folder that is gone afterwards, whatever state it is in."""
    # PostgreSQL runs as another user when we are root, so its folder stands where others may pass.
    folder = Path(tempfile.mkdtemp(prefix=f"paygrade-{what}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def eventually(what: str, waits_for: Callable[[], object]) -> None:
    """Look again and again until `waits_for` answers with nothing."""
    give_up_at = time.monotonic() + WAIT_S
    while missing := waits_for():
        assert time.monotonic() < give_up_at, f"waited {WAIT_S:.0f} s for {what}; there is still {missing}"
        time.sleep(0.1)


def killed(process: "Running | subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, and that no connection is given either before a server listens there, or while it is away:
    the kernel takes those above."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            port = random.SystemRandom().choice(PORTS)
            with suppress(OSError):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                found.append(port)
    return found
