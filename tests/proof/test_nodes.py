"""Never over a limit at any node: threads that use, hold and give back at a tree, of servers that are killed."""

import itertools
import random
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import psycopg
import pytest

from proof.clients import Lines
from proof.fold import Folded, read_ledger
from support.cluster import Cluster, eventually

pytestmark = pytest.mark.xdist_group("proof")

THREADS, ASKED_MIN = 10, 300
TEAM, PERSON, AGENT = 50, 25, 8
TEAMS = ("t0", "t1", "t2")
PEOPLE = tuple(f"{team}/p{n}" for team in TEAMS for n in range(3))
AGENTS = tuple(f"{person}/a{n}" for person in PEOPLE for n in range(4))
LIMITS = dict.fromkeys(TEAMS, TEAM) | dict.fromkeys(PEOPLE, PERSON) | dict.fromkeys(AGENTS, AGENT)


class NodeAsker:
    """One thread's worth of asking, and what took effect of it: units used by node."""

    def __init__(self, cluster: Cluster, account: str, number: int) -> None:
        self.used: Counter[str] = Counter()
        self.asked = 0
        self._account, self._rng = account, random.Random(f"{cluster.rng.random()} {number}")
        self._lines = Lines(cluster.server_urls, cluster.admin_key)
        self._ids = (f"{number}-{n}" for n in itertools.count())

    def run(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            node = self._rng.choice((*AGENTS, *AGENTS, *PEOPLE, *TEAMS))
            if self._rng.random() < 0.5:
                self._consume(node, self._rng.randint(1, 3))
            else:
                self._reserve(node, self._rng.randint(1, 5))

    def _consume(self, node: str, units: int) -> None:
        told = self._ask("/v1/consume", {"feature": "desks", "quantity": units, "node": node, "id": next(self._ids)})
        assert told["consumed"] or told["decision"]["limited_by"].startswith("node "), told
        self.used[node] += units * told["consumed"]

    def _reserve(self, node: str, units: int) -> None:
        body = {"feature": "desks", "quantity": units, "node": node, "id": next(self._ids), "ttl_s": 2}
        held = self._ask("/v1/reservations", body)["reservation"]
        if held is None or self._rng.random() < 0.1:  # left alone, it expires
            return
        step, units = self._rng.choice((("commit", self._rng.randint(0, units)), ("release", 0)))
        said = {"quantity": units} if step == "commit" else {}
        told = self._ask(f"/v1/reservations/{held['id']}/{step}", said)
        if "code" not in told:
            self.used[node] += units
        else:
            assert told["code"] == "reservation_expired", told

    def _ask(self, path: str, body: dict[str, Any]) -> Any:
        """Ask any server until one answers, under the same id. Any: JSON."""
        while True:
            answer = self._lines.ask(
                self._rng.randrange(len(self._lines.servers)), "POST", path, {"account": self._account, **body}
            )
            if answer is not None:
                self.asked += 1
                return answer[1]
            time.sleep(0.05)


def test_no_node_goes_over_its_limit_whatever_is_killed(cluster: Cluster) -> None:
    account = f"tree-{uuid.uuid4().hex[:12]}"
    cluster.ask("PUT", f"/v1/accounts/{account}", json={})
    stated = [{"node": node, "limits": [{"feature": "desks", "units": units}]} for node, units in LIMITS.items()]
    cluster.ask("PUT", f"/v1/accounts/{account}/nodes", json=stated)
    askers, stopping = [NodeAsker(cluster, account, number) for number in range(THREADS)], threading.Event()
    with ThreadPoolExecutor(THREADS + 1) as threads:
        running = [threads.submit(asker.run, stopping) for asker in askers]
        watched = threads.submit(watch, cluster.database_url, account, stopping)
        try:
            for kill in range(1, 3):
                eventually("uses", partial(fewer_asked, askers, kill * ASKED_MIN // 3))
                number = cluster.rng.randrange(len(cluster.server_urls))
                cluster.kill_server(number)
                cluster.start_server(number)
            cluster.cut_connections()
            eventually("uses after them", partial(fewer_asked, askers, ASKED_MIN))
        finally:
            stopping.set()
        for each in (*running, watched):
            each.result()
    cluster.wait_until_ready()
    eventually("the last reservation to be over", partial(held, cluster, account))
    used = counted(cluster.database_url, account)
    told = sum((asker.used for asker in askers), Counter[str]())
    for node, limit in LIMITS.items():
        below = sum(units for each, units in told.items() if each == node or each.startswith(f"{node}/"))
        assert used.get(node, (0, 0)) == (below, 0), node
        assert below <= limit
    assert any(used[node][0] == limit for node, limit in LIMITS.items()), "something was full"
    with psycopg.connect(cluster.database_url) as connection:
        folded = Folded(read_ledger(connection, [account])).counts
    kept = {slot.partition(" node:")[2]: tuple(counts) for (_, _, slot), counts in folded.items() if " node:" in slot}
    assert {node: counts for node, counts in kept.items() if any(counts)} == {n: c for n, c in used.items() if any(c)}
    assert cluster.ask("POST", f"/v1/accounts/{account}/rebuild")["differences"] == []


def fewer_asked(askers: list[NodeAsker], least: int) -> bool:
    return sum(asker.asked for asker in askers) < least


def held(cluster: Cluster, account: str) -> int:
    """How much is held still. To ask is what gives back what is over."""
    nothing = {"account": account, "feature": "desks", "quantity": 0, "node": "t0", "id": uuid.uuid4().hex}
    cluster.ask("POST", "/v1/consume", json=nothing)
    return sum(reserved for _, reserved in counted(cluster.database_url, account).values())


def counted(database_url: str, account: str) -> dict[str, tuple[int, int]]:
    """What is used and held at each node, all of one instant."""
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select split_part(slot, ' node:', 2), used, reserved from balances where account = %s and slot like %s",
            (account, "% node:%"),
        ).fetchall()
    return {node: (used, reserved) for node, used, reserved in rows}


def watch(database_url: str, account: str, stopping: threading.Event) -> None:
    """At every look each node has at most its limit, and its children no more than it has."""
    while not stopping.is_set():
        try:
            seen = counted(database_url, account)
        except psycopg.OperationalError:  # this connection was cut, too
            continue
        for node, (used, reserved) in seen.items():
            assert used + reserved <= LIMITS[node], node
            children = [its for each, its in seen.items() if each.rpartition("/")[0] == node]
            assert sum(its[0] for its in children) <= used, node
            assert sum(its[1] for its in children) <= reserved, node
        time.sleep(0.02)
