"""The house, as it is in production: PostgreSQL with its durable settings, servers, a provider, each a process.

Everything can be killed but the provider, which keeps its truth in memory: instead the way to it is closed.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from chaos.relay import Relay, running
from paygrade.periods import parse_instant
from paygrade.postgres import embedded
from paygrade.simulator.app import DEFAULT_KEY, DEFAULT_SECRET

ADMIN_KEY = "sk_test_of_chaos"
WAIT_S = 240.0
CATALOG = """
version: 1
features:
  seats: { kind: level }
  exports: { kind: boolean, access: read }
plans:
  free: { default: true, entitlements: { seats: 1 } }
  team:
    prices: { monthly: { amount: 900, currency: usd, interval: month, stripe: team } }
    entitlements: { seats: { limit: quantity } }
  company:
    prices: { monthly: { amount: 9900, currency: usd, interval: month, stripe: company } }
    entitlements: { seats: 100, exports: true }
policies:
  past_due: [ { for: 7d, access: full }, { for: 14d, access: read }, { then: free } ]
"""


class House:
    """Processes under one roof."""

    def __init__(self, folder: Path, *, servers: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self._folder = folder
        self._log = (folder / "log").open("wb")
        self._postgres = embedded.start(folder / "data")
        self.database_url = self._postgres.url
        simulator, *ports = _free_ports(servers + 1)
        self.simulator_url = f"http://127.0.0.1:{simulator}"
        self._ports = ports
        self.relay = Relay(provider=self.simulator_url, servers=self.server_urls)
        self._seed, self._simulator_port = seed, simulator
        self._servers: dict[int, subprocess.Popen[bytes]] = {}
        self._http = httpx2.Client(trust_env=False, timeout=WAIT_S, verify=False)

    @property
    def server_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @contextmanager
    def open(self) -> Iterator["House"]:
        with ExitStack() as stack:
            stack.callback(self._stop_postgres)
            stack.enter_context(running(self.relay))
            webhook = f"{self.relay.url}/webhooks/stripe"
            given = ["--port", str(self._simulator_port), "--webhook", webhook, "--seed", str(self._seed)]
            stack.callback(_killed, self._start("simulator", "serve", *given))
            stack.callback(self._kill_servers)
            for number in range(len(self._ports)):
                self.start_server(number)
            self.wait_until_ready()
            self.ask("PUT", "/v1/catalog", content=CATALOG, headers={"Content-Type": "application/yaml"})
            yield self

    def kill_server(self, number: int) -> None:
        _killed(self._servers[number])

    def start_server(self, number: int) -> None:
        self._servers[number] = self._start("serve", "--port", str(self._ports[number]))

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

    def wait_until_ready(self) -> None:
        eventually("every server", lambda: [url for url in self.server_urls if not self._is_ready(url)])

    def ask(self, method: str, path: str, *, server: int = 0, **more: Any) -> Any:
        """The answer of a server that has to be up."""
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", **more.pop("headers", {})}
        answer = self._http.request(method, self.server_urls[server] + path, headers=headers, **more)
        assert answer.is_success, answer.text
        return answer.json()

    def control(self, what: str, wanted: Any) -> Any:
        """One control of the simulator."""
        answer = self._http.post(f"{self.simulator_url}/_simulator/{what}", json=wanted)
        assert answer.is_success, answer.text
        return answer.json()

    def now(self) -> datetime:
        return parse_instant(self._http.get(f"{self.simulator_url}/_simulator/clock").json()["now"])

    def log_tail(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-4000:]

    def _is_ready(self, url: str) -> bool:
        try:
            return self._http.get(f"{url}/readyz").is_success
        except httpx2.HTTPError:
            return False

    def _stop_postgres(self) -> None:
        self._postgres.stop()

    def _kill_servers(self) -> None:
        for server in self._servers.values():
            _killed(server)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")} | {
            "PAYGRADE_DATABASE_URL": self.database_url,
            "PAYGRADE_ADMIN_KEY": ADMIN_KEY,
            "PAYGRADE_STRIPE_API_KEY": DEFAULT_KEY,
            "PAYGRADE_STRIPE_API_BASE": self.relay.url,
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": DEFAULT_SECRET,
            "PAYGRADE_CLOCK_URL": self.simulator_url,
        }
        paygrade = str(Path(sys.executable).parent / "paygrade")
        return subprocess.Popen([paygrade, *command], env=environment, stdout=self._log, stderr=self._log)


@contextmanager
def house(*, servers: int, seed: int) -> Iterator[House]:
    """A house on a database of its own, torn down at the end whatever state it is in."""
    # PostgreSQL runs as another user when we are root, so its folder stands where others may pass.
    folder = Path(tempfile.mkdtemp(prefix="paygrade-chaos-"))
    folder.chmod(0o755)
    try:
        with House(folder, servers=servers, seed=seed).open() as opened:
            yield opened
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def eventually(what: str, waits_for: Callable[[], object]) -> None:
    """Look again and again until `waits_for` answers with nothing."""
    give_up_at = time.monotonic() + WAIT_S
    while missing := waits_for():
        assert time.monotonic() < give_up_at, f"waited {WAIT_S:.0f} s for {what}; there is still {missing}"
        time.sleep(0.1)


def _killed(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
