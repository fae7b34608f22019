"""The load: processes of askers, and an operator who changes plans and limits under them."""

import itertools
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from msgspec import Struct

from proof.clients import UNGRANTED, Answers, Spec, one_of_many
from support.cluster import Cluster, eventually

BEGAN_AT = (datetime.now(UTC) - timedelta(days=75)).strftime("%Y-%m-%dT00:00:00Z")
"""Long enough ago that there are windows before this one, of which something is carried over."""


_versions = itertools.count(1)
"""Of what is stated of subscriptions: larger each time, whoever states it, since an older one changes nothing."""


class Accounts(Struct, frozen=True):
    """`hot` for half of all requests, one of which changes its plan all the time; `many` for the others. What one
    of them has is never granted by itself, so that it stays counted in plain numbers."""

    hot: list[str]
    many: list[str]

    @property
    def mover(self) -> str:
        return self.hot[-1]


def made_accounts(cluster: Cluster, *, many: int) -> Accounts:
    """Create them. The hot ones have the plan that gives more."""
    accounts = Accounts(["hot", UNGRANTED, "mover"], [one_of_many(number) for number in range(many)])
    everyone = [*accounts.hot, *accounts.many]
    servers = len(cluster.server_urls)
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda pair: cluster.ask("PUT", f"/v1/accounts/{pair[1]}", server=pair[0] % servers, json={}),
                enumerate(everyone),
            )
        )
    for hot in accounts.hot:
        cluster.ask("PUT", f"/v1/accounts/{hot}/subscriptions/sub", json=subscription("team", next(_versions)))
    return accounts


def subscription(plan: str, version: int) -> dict[str, Any]:
    items = [{"id": "main", "plan": plan}]
    return {"status": "active", "items": items, "anchor_at": BEGAN_AT, "version": version}


class Operator:
    """Moves one account between plans and gives another more or less, each word again until it is answered."""

    def __init__(self, cluster: Cluster, accounts: Accounts) -> None:
        self._rng = random.Random(cluster.rng.random())
        self._accounts, self._servers = accounts, itertools.cycle(cluster.server_urls)
        headers = {"Authorization": f"Bearer {cluster.admin_key}"}
        self._http = httpx2.Client(headers=headers, trust_env=False, timeout=30, verify=False)

    def work(self, stopping: threading.Event) -> None:
        while not stopping.wait(0.3):
            plan = self._rng.choice(("free", "team"))
            moved = subscription(plan, next(_versions))
            self._say(f"/v1/accounts/{self._accounts.mover}/subscriptions/sub", moved)
            limit = {"limit": self._rng.randint(0, 1500), "reason": "as agreed"}
            self._say(f"/v1/accounts/{self._accounts.hot[0]}/overrides/calls", limit)

    def _say(self, path: str, body: object) -> None:
        eventually("an answer to the operator", lambda: not self._said(path, body))

    def _said(self, path: str, body: object) -> bool:
        try:
            return self._http.put(next(self._servers) + path, json=body).is_success
        except httpx2.HTTPError:
            return False


@contextmanager
def asking(cluster: Cluster, folder: Path, accounts: Accounts, *, processes: int, threads: int) -> Iterator[Answers]:
    """Ask until the end of the block; then everything that was asked is answered, and it holds all of it."""
    asked, batch = Answers(), cluster.rng.randrange(2**31)
    running = []
    for number in range(processes):
        name, answers = f"{batch:x}-{number}", folder / f"{batch:x}-{number}.json"
        spec = Spec(cluster.server_urls, cluster.admin_key, name, batch, threads, accounts.hot, len(accounts.many))
        command = [sys.executable, "-m", "proof.clients", msgspec.json.encode(spec).decode(), str(answers)]
        at = Path(__file__).parents[1]
        running.append((subprocess.Popen(command, cwd=at, stdin=subprocess.PIPE), answers))
    stopping = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        operating = pool.submit(Operator(cluster, accounts).work, stopping)
        try:
            yield asked
        finally:
            stopping.set()
            for process, _ in running:
                process.communicate()
    operating.result()
    for process, answers in running:
        assert process.returncode == 0, f"askers ended with {process.returncode}"
        asked.take(msgspec.json.decode(answers.read_bytes(), type=Answers))
