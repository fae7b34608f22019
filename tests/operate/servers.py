"""Whole servers, each a process, and customers who use units at them without a pause."""

import itertools
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from support.cli_runner import RUN, Shell
from support.cluster import free_ports
from support.server_process import KEY, SAMPLE, Api
from support.waiting import eventually

PATIENCE_S = 90.0
PACE_S = 0.02
"""Between the uses of one client: steady, and room for others on a small machine."""


class Servers:
    """`paygrade serve`, several times over one database. `environ` says where that is."""

    def __init__(self, folder: Path, environ: Mapping[str, str], *, count: int) -> None:
        self._folder, self._ports = folder, free_ports(count)
        self._shell = Shell(folder, PAYGRADE_ADMIN_KEY=KEY, PAYGRADE_CATALOG=str(SAMPLE), **environ)
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def start(self, number: int, *, ready: bool = True) -> None:
        port = str(self._ports[number])
        with (self._folder / f"server-{number}.log").open("ab") as log:
            self._running[number] = subprocess.Popen(
                [*RUN, "serve", "--json", "--port", port],
                cwd=self._folder,
                env=self._shell.environ,
                stdout=log,
                stderr=log,
            )
        if ready:
            self.is_ready(number)

    def is_ready(self, number: int) -> None:
        """Wait until it is."""
        eventually(lambda: self._answers(number), within_s=PATIENCE_S)

    def kill(self, number: int) -> None:
        self._running[number].kill()
        self._running[number].wait()

    def stop(self, number: int) -> None:
        """As a deployment does: it answers what it has begun."""
        self._running[number].send_signal(signal.SIGTERM)
        assert self._running[number].wait(PATIENCE_S) == 0, self.log(number)

    def log(self, number: int) -> str:
        return (self._folder / f"server-{number}.log").read_text()

    def end(self) -> None:
        for each in self._running.values():
            each.kill()
            each.wait()

    def _answers(self, number: int) -> bool:
        assert self._running[number].poll() is None, self.log(number)
        try:
            return httpx2.get(f"{self.urls[number]}/readyz", trust_env=False, timeout=10).is_success
        except httpx2.TransportError:
            return False


@contextmanager
def servers(folder: Path, environ: Mapping[str, str], *, count: int = 2) -> Iterator[Servers]:
    """Servers that are ready, and gone at the end of the block."""
    made = Servers(folder, environ, count=count)
    try:
        for number in range(count):
            made.start(number, ready=False)
        for number in range(count):
            made.is_ready(number)
        yield made
    finally:
        made.end()


def new_account(url: str, name: str, limit: int) -> str:
    with Api(url) as api:
        api.ok("PUT", f"/v1/accounts/{name}", json={})
        api.ok("PUT", f"/v1/accounts/{name}/overrides/api_calls", json={"limit": limit, "reason": "a test"})
    return name


def used(url: str, account: str) -> int:
    with Api(url) as api:
        return int(api.ok("GET", f"/v1/accounts/{account}/balances/api_calls")["used"])


class Load:
    """Uses of one unit, each under an id of its own, at all servers in turn. `again`: what fails is sent again under
    its id until it is answered; without, each is sent once."""

    def __init__(self, urls: Sequence[str], account: str, *, again: bool, name: str = "use") -> None:
        self._urls, self._account, self._again, self._name = urls, account, again, name
        self._numbers, self._stopping = itertools.count(), threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        """The ids of uses that were answered with a yes."""

    @contextmanager
    def running(self, *, clients: int = 4) -> Iterator["Load"]:
        with ThreadPoolExecutor(clients) as pool:
            running = [pool.submit(self._use, number) for number in range(clients)]
            try:
                yield self
            finally:
                self._stopping.set()
            for each in running:
                each.result()

    def more(self, count: int) -> None:
        """Wait for so many more uses that are answered with a yes."""
        enough = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= enough, within_s=PATIENCE_S)

    def _use(self, number: int) -> None:
        clients = [Api(url) for url in self._urls]
        turns = itertools.cycle(clients[number % len(clients) :] + clients[: number % len(clients)])
        while not self._stopping.wait(PACE_S):
            id = f"{self._name}-{next(self._numbers)}"
            while not self._used(next(turns), id) and self._again:
                self._stopping.wait(PACE_S)
        for each in clients:
            each.close()

    def _used(self, api: Api, id: str) -> bool:
        body = {"account": self._account, "feature": "api_calls", "quantity": 1, "id": id}
        try:
            answer = api.post("/v1/consume", json=body)
        except httpx2.TransportError as error:
            self.outcomes[f"cut off: {type(error).__name__}"] += 1
            return False
        if not answer.is_success:
            self.outcomes[f"{answer.status_code} {answer.json()['code']}"] += 1
            return False
        told: dict[str, Any] = answer.json()
        if told["consumed"]:
            self.acknowledged.add(id)
        elif told["decision"]["allowed"]:
            # The database is away: this feature lets its users go on, uncounted.
            self.outcomes["uncounted"] += 1
            return False
        self.outcomes["allowed" if told["consumed"] else str(told["decision"]["reason"])] += 1
        return True


def entered(rows: Sequence[tuple[object, ...]]) -> set[str]:
    """Ids of the ledger, as a statement found them."""
    return {str(id) for (id,) in rows}


def environ_of(**urls: str) -> dict[str, str]:
    """The environment that names these addresses of a database: `database_url`, `database_direct_url`…"""
    return {f"PAYGRADE_{name.upper()}": url for name, url in urls.items()}
