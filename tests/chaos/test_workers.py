"""`paygrade serve --workers`: several processes answer as one server, whichever of them ends, however and when."""

import itertools
import json
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from paygrade.catalog.parse import parse
from paygrade.cli.acceptor import Shares
from paygrade.cli.demo_company import Company
from paygrade.documents.catalog_file import read_catalog
from paygrade.simulator.http import serve as simulator
from support.cli_runner import Shell
from support.cluster import free_ports
from support.databases import migrated_database
from support.server_process import KEY, SAMPLE, Api
from support.waiting import eventually

PATIENCE_S = 90.0
PACE_S = 0.05
"""Between the uses of one client: steady, and room for a worker to start."""


NONE: Mapping[str, str] = {}


class Served:
    """`paygrade serve --workers`."""

    def __init__(self, folder: Path, database_url: str, environ: Mapping[str, str] = NONE, *, workers: int = 2) -> None:
        (port,) = free_ports(1)
        self.url, self.database_url, self._log = f"http://127.0.0.1:{port}", database_url, folder / "log"
        shell = Shell(folder, PAYGRADE_DATABASE_URL=database_url, PAYGRADE_ADMIN_KEY=KEY, PAYGRADE_PORT=str(port),
                      PAYGRADE_WORKERS=str(workers), **environ)  # fmt: skip
        with self._log.open("w") as log:
            self.process = shell.start("serve", "--json", log=log)

    def log(self) -> str:
        return self._log.read_text()

    def says(self, word: str, *, times: int = 1) -> None:
        """Wait until the log has said this so often."""
        eventually(lambda: self.log().count(word) >= times or self.process.poll() is not None, within_s=PATIENCE_S)
        assert self.log().count(word) >= times, self.log()

    def workers(self) -> dict[int, tuple[int, Path]]:
        """By number: the process and the folder of the sockets."""
        return {number: (pid, folder) for number, pid, folder in self._listed()}

    def processes(self) -> set[int]:
        return {pid for _, pid, _ in self._listed()}

    def _listed(self) -> list[tuple[int, int, Path]]:
        listed = subprocess.run(["ps", "-Aww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
        rows = [line.split() for line in listed.stdout.splitlines() if "paygrade.cli.worker" in line]
        ours = [row for row in rows if row[1] == str(self.process.pid)]
        named = [(row[0], row[row.index("paygrade.cli.worker") + 1 :]) for row in ours]
        return [(int(its[0]), int(pid), Path(its[2])) for pid, its in named]

    def started(self) -> list[tuple[int, int]]:
        """The number and the process of every worker that was ever started."""
        told = [json.loads(line) for line in self.log().splitlines() if '"worker_started"' in line]
        return [(its["worker"], its["process"]) for its in told]

    def kill(self, number: int) -> int:
        """Kill the worker of this number that was started last."""
        pid = next(pid for its, pid in reversed(self.started()) if its == number)
        os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def each(self) -> Iterator[tuple[Api, Api]]:
        """Both workers, each by itself."""
        found = self.workers()
        with Api("http://one", own=found[1][1] / "1") as one, Api("http://two", own=found[2][1] / "2") as two:
            yield one, two


@pytest.fixture(scope="module")
def shop() -> Iterator[simulator.Running]:
    with simulator.running() as provider:
        yield provider


@pytest.fixture(scope="module")
def served(postgres_url: str, tmp_path_factory: pytest.TempPathFactory, shop: simulator.Running) -> Iterator[Served]:
    stripe = {"PAYGRADE_STRIPE_API_KEY": shop.key, "PAYGRADE_STRIPE_API_BASE": shop.url}
    with migrated_database(postgres_url) as url:
        made = Served(tmp_path_factory.mktemp("workers"), url, {"PAYGRADE_CATALOG": str(SAMPLE), **stripe})
        try:
            made.says('"worker_ready"', times=2)
            yield made
        finally:
            made.process.send_signal(signal.SIGTERM)
            assert made.process.wait(PATIENCE_S) == 0, made.log()
            assert not made.processes()


@pytest.fixture
def api(served: Served) -> Iterator[Api]:
    with Api(served.url) as found:
        yield found


def new_account(api: Api, name: str, limit: int) -> str:
    api.ok("PUT", f"/v1/accounts/{name}", json={})
    api.ok("PUT", f"/v1/accounts/{name}/overrides/api_calls", json={"limit": limit, "reason": "a test"})
    return name


def used(api: Api, account: str) -> int:
    return int(api.ok("GET", f"/v1/accounts/{account}/balances/api_calls")["used"])


class Load:
    """Uses, each under an id of its own, from clients that keep their connection and from those that don't."""

    def __init__(self, served: Served, account: str, *, again: bool) -> None:
        self._served, self._account, self._again = served, account, again
        self._numbers, self._stopping = itertools.count(), threading.Event()
        self.outcomes: Counter[str] = Counter()
        self._counting = threading.Lock()

    @contextmanager
    def running(self) -> Iterator["Load"]:
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(self._use, keep=number < 2) for number in range(4)]
            try:
                yield self
            finally:
                self._stopping.set()
            for each in running:
                each.result()

    def more(self, count: int) -> None:
        """Wait for so many more answers."""
        enough = self.outcomes.total() + count
        eventually(lambda: self.outcomes.total() >= enough, within_s=PATIENCE_S)

    def _use(self, *, keep: bool) -> None:
        kept = Api(self._served.url)
        while not self._stopping.wait(PACE_S):
            body = {"account": self._account, "feature": "api_calls", "quantity": 1, "id": f"use-{next(self._numbers)}"}
            while not self._used(kept, body) and self._again:
                pass
            if not keep:
                kept.close()
                kept = Api(self._served.url)
        kept.close()

    def _used(self, api: Api, body: dict[str, Any]) -> bool:
        try:
            answer = api.post("/v1/consume", json=body)
        except httpx2.TransportError as error:
            self._count("cut off" if self._again else f"{type(error).__name__}: {error}")
            return False
        told = answer.json()
        denial = "refused" if not answer.is_success else str(told["decision"]["reason"])
        self._count("allowed" if told.get("consumed") else denial)
        return True

    def _count(self, outcome: str) -> None:
        with self._counting:
            self.outcomes[outcome] += 1


def test_what_is_begun_at_one_worker_goes_on_at_another(served: Served, api: Api) -> None:
    account = new_account(api, "both", 100)
    with served.each() as (one, two):
        held = {"account": account, "feature": "api_calls", "quantity": 5, "id": "hold", "ttl_s": 600}
        assert one.ok("POST", "/v1/reservations", json=held)["decision"]["allowed"] is True
        two.ok("POST", "/v1/reservations/hold/commit", json={"account": account, "quantity": 3})
        assert (used(one, account), used(two, account)) == (3, 3)
        lease = {"account": account, "feature": "api_calls", "id": "lease", "units": 10, "claim": 2}
        assert two.ok("POST", "/v1/leases", json=lease)["lease"]["claimed"] == 2
        step = {"account": account, "lease": "lease", "id": "step", "claim": 4}
        (stepped,) = one.ok("POST", "/v1/leases/steps", json={"steps": [step]})["results"]
        assert stepped["lease"]["claimed"] == 6
        assert two.ok("POST", "/v1/leases/steps", json={"steps": [step]})["results"][0]["replayed"] is True


def test_what_is_written_at_one_worker_is_told_and_waited_for_at_another(served: Served, api: Api) -> None:
    account = new_account(api, "told", 100)
    with served.each() as (one, two):
        told = httpx2.Client.send(one, one.build_request("GET", "/v1/stream"), stream=True)
        lines = told.iter_lines()
        assert next(line for line in lines if line.startswith("event")) == "event: hello"
        two.ok("PUT", f"/v1/accounts/{account}/overrides/exports", json={"value": True, "reason": "a test"})
        assert next(line for line in lines if account in line) == f'data: {{"accounts":["{account}"]}}'
        told.close()
        version = two.check(account, "exports")["version"]
        assert one.check(account, "exports", at_least=version)["allowed"] is True


def test_a_live_lookup_at_one_worker_counts_at_another(served: Served, api: Api, shop: simulator.Running) -> None:
    company = Company(url=shop.url, key=shop.key)
    company.stock(parse(read_catalog(SAMPLE)[0]))
    company.welcome("looked", "looked")
    api.ok("PUT", "/v1/accounts/looked", json={"links": {"stripe": [company.customers["looked"]]}})
    company.subscribe("looked", "pro_monthly")
    with served.each() as (one, two):
        view = one.ok("POST", "/v1/accounts/looked/refresh", params={"wait_s": 20})
        assert (view["stale"], view["entitlements"]["exports"]["granted"]) == (False, True)
        assert two.check("looked", "exports", at_least=view["version"])["allowed"] is True


def test_one_scrape_has_the_numbers_of_every_worker_and_every_log_line_its_name(served: Served, api: Api) -> None:
    with served.each() as (one, two):
        for each in (one, two, two):
            each.ok("GET", "/openapi.json")
        for asked in (api, Api(served.url)):  # whichever of them these reach
            lines = asked.get("/metrics").text.splitlines()
            counted = {line for line in lines if line.startswith("paygrade_http_requests_total") and "openapi" in line}
            assert {line.rpartition(",")[2] for line in counted} == {'worker="1"} 1.0', 'worker="2"} 2.0'}
            types = [line for line in lines if line.startswith("# TYPE")]
            assert len(types) == len(set(types))
    asked_lines = [line for line in served.log().splitlines() if '"request"' in line]
    assert asked_lines
    assert all('"worker": 1' in line or '"worker": 2' in line for line in asked_lines)


def test_connections_are_spread_over_the_workers(served: Served) -> None:
    with ExitStack() as open_ones, served.each() as (one, two):
        before = [healths(each) for each in (one, two)]
        for _ in range(40):
            asked = open_ones.enter_context(Api(served.url))
            assert asked.get("/healthz").is_success
        counts = [healths(each) - its for each, its in zip((one, two), before, strict=True)]
    assert sum(counts) == 40
    assert min(counts) >= 10, counts


def test_whoever_connects_is_taken_though_one_that_is_gone_had_fewer(served: Served) -> None:
    shares = Shares(served.workers()[1][1])
    shares[3] = 0
    with ExitStack() as open_ones:
        for _ in range(5):
            asked = open_ones.enter_context(Api(served.url))
            # After 5 s those who took the first ones would have fewer again.
            assert asked.get("/healthz", timeout=4).is_success
    shares[3] = None


def test_a_worker_takes_at_once_only_while_no_other_has_fewer_connections(tmp_path: Path) -> None:
    ours, theirs = Shares(tmp_path), Shares(tmp_path)
    ours[1], theirs[2] = 3, 2
    assert [each.is_least(number) for each in (ours, theirs) for number in (1, 2)] == [False, True] * 2
    theirs[2] = None
    assert ours.is_least(1)


def healths(worker: Api) -> int:
    """How often a worker was asked for its health."""
    counted = [
        line
        for line in worker.get("/metrics").text.splitlines()
        if 'requests_total{method="GET",route="/healthz' in line
    ]
    return int(float(counted[0].split()[-1])) if counted else 0


def test_workers_are_restarted_one_after_another_and_no_request_fails(served: Served, api: Api) -> None:
    account = new_account(api, "rolled", 1_000_000)
    before = served.processes()
    with Load(served, account, again=False).running() as load:
        load.more(20)
        times = served.log().count('"workers_restarted"') + 1
        served.process.send_signal(signal.SIGHUP)
        served.says('"workers_restarted"', times=times)
        load.more(20)
    assert set(load.outcomes) == {"allowed"}, load.outcomes
    # A worker hears what another one has counted a moment later.
    eventually(lambda: used(api, account) == load.outcomes["allowed"])
    assert not before & served.processes()


def test_a_worker_that_is_killed_takes_nothing_along_and_comes_back(served: Served, api: Api) -> None:
    account = new_account(api, "killed", 150)
    with Load(served, account, again=True).running() as load:
        load.more(50)
        ready = served.log().count('"worker_ready"')
        dead = served.kill(2)
        served.says('"worker_ready"', times=ready + 1)
        eventually(lambda: load.outcomes["limit_reached"] > 20, within_s=PATIENCE_S)
    assert load.outcomes["allowed"] <= used(api, account) == 150
    # Who was cut off asked again under the same id, so that each use that counts was answered.
    assert load.outcomes["allowed"] == 150
    assert served.workers()[2][0] != dead


def test_a_worker_that_does_not_become_ready_takes_no_others_place(served: Served, api: Api) -> None:
    before = served.processes()
    with psycopg.connect(served.database_url, autocommit=True) as connection:
        connection.execute(
            "insert into migrations (number, name, digest, needs) values (9999, '9999_to_come', '', 9999)"
        )
        started = len(served.started())
        served.process.send_signal(signal.SIGHUP)
        served.says('"worker_started"', times=started + 1)
        (new,) = served.processes() - before
        _, folder = served.workers()[1]
        with Api("http://new", own=folder / f"1.{new}") as itself:
            eventually(lambda: is_answered(itself), within_s=PATIENCE_S)
            assert "9999_to_come" in itself.problem(503, "GET", "/readyz")["detail"]
        assert before < served.processes()
        os.kill(new, signal.SIGKILL)
        served.says('"restart_given_up"')
        connection.execute("delete from migrations where number = 9999")
    assert served.processes() == before


def test_a_worker_that_ends_again_and_again_is_told_of_and_the_other_goes_on(served: Served, api: Api) -> None:
    survivor = served.workers()[1]
    while '"worker_keeps_ending"' not in served.log():
        ended, started = served.log().count('"worker_ended"'), len(served.started())
        served.kill(2)
        served.says('"worker_ended"', times=ended + 1)
        assert api.get("/healthz").is_success
        served.says('"worker_started"', times=started + 1)
    assert served.workers()[1] == survivor


def test_a_worker_ends_with_its_supervisor(served: Served, tmp_path: Path) -> None:
    other = Served(tmp_path, served.database_url, workers=1)
    other.says('"worker_ready"')
    (pid,) = other.processes()
    other.process.kill()
    other.process.wait()
    eventually(lambda: not is_alive(pid), within_s=PATIENCE_S)


def test_a_server_whose_first_worker_fails_ends_and_says_so(served: Served, tmp_path: Path) -> None:
    failing = Served(tmp_path, served.database_url, workers=1)
    failing.says('"worker_started"')
    failing.kill(1)
    assert failing.process.wait(PATIENCE_S) == 3
    assert "worker 1 ended before it was ready (signal 9)" in failing.log()


def is_answered(api: Api) -> bool:
    try:
        return api.get("/healthz").is_success
    except httpx2.TransportError:
        return False


def is_alive(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "paygrade.cli.worker" in listed.stdout
