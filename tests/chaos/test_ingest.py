"""Usage events through a cluster of three NATS servers whose members are killed, and so are those who take from it.

`make test` does it for some seconds; `make chaos RUNS=5 SEED=7` for longer, with more kills. What was acknowledged to
the publisher is counted, each event once; what is malformed becomes a dead letter.
"""

import asyncio
import json
import os
import random
from collections.abc import Iterator
from contextlib import suppress

import nats
import psycopg
import pytest
from nats.aio.client import Client

from support.cluster import Cluster, eventually, folder_of_its_own, free_ports, killed
from support.nats_server import Nats, needs_nats, running_nats
from support.waiting import in_time
from support.warm_process import Running

pytestmark = needs_nats

RUNS = int(os.environ.get("RUNS", "0"))
SEED = int(os.environ.get("SEED", "0")) or random.randrange(1, 2**31)
KILLS = 6 * RUNS or 2
EVENTS_BETWEEN = 600 if RUNS else 100
ACCOUNTS = 20
BAD_EVERY = 40
AT_ONCE = 20
STREAM = "PAYGRADE_USAGE"
CATALOG = """
version: 1
features: { api_calls: { kind: metered } }
plans: { free: { default: true, entitlements: { api_calls: { limit: 1000000, every: month } } } }
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with folder_of_its_own("ingest") as folder:
        made = Cluster(folder, servers=1, seed=SEED, admin_key="sk_test_of_ingest")
        with made.running(CATALOG):
            yield made


class Takers:
    """Two processes that take events, each of which can be killed."""

    def __init__(self, cluster: Cluster, servers: Nats) -> None:
        self._cluster, self._servers = cluster, servers
        self._ports = free_ports(2)
        self._processes: dict[int, Running] = {}

    def start(self, number: int) -> None:
        self._processes[number] = self._cluster.start(
            "ingest", "--from", self._servers.url, "--create", "--replicas", "3", "--port", str(self._ports[number])
        )

    def kill(self, number: int) -> None:
        killed(self._processes[number])

    def start_dead(self) -> None:
        for number, process in self._processes.items():
            if process.poll() is not None:
                self.start(number)

    def kill_all(self) -> None:
        for process in self._processes.values():
            killed(process)


class Published:
    """What was published: the events that count, and how many that don't, which NATS may have several times."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.bad = 0
        self.bad_sent = 0

    async def publish(self, connection: Client, number: int) -> None:
        """Until it is acknowledged, as a publisher does: a cluster that has lost its leader says at once that nobody
        answers."""
        id = f"e{number}"
        is_bad = number % BAD_EVERY == 0
        body = {"id": id, "account": f"acct{number % ACCOUNTS}", "feature": "nothing" if is_bad else "api_calls"}
        sent = json.dumps(body).encode()

        async def is_acknowledged() -> bool:
            self.bad_sent += is_bad
            with suppress(nats.errors.Error, OSError):
                await connection.jetstream(timeout=5).publish(f"paygrade.usage.{number}", sent)
                return True
            return False

        await in_time(is_acknowledged)
        self.bad += is_bad
        if not is_bad:
            self.acknowledged.add(id)


def test_each_event_counts_once_whoever_is_killed(cluster: Cluster) -> None:
    rng = random.Random(SEED)
    for number in range(ACCOUNTS):
        cluster.ask("PUT", f"/v1/accounts/acct{number}", json={})
    with running_nats(nodes=3) as servers:
        takers = Takers(cluster, servers)
        try:
            for number in range(2):
                takers.start(number)
            eventually("the stream", lambda: [] if exists(servers) else ["no stream"])
            published = asyncio.run(under_fire(servers, takers, rng))
            takers.start_dead()
            eventually("every event", lambda: missing(cluster, servers, published))
        except AssertionError as error:
            raise AssertionError(f"SEED={SEED}: {error}\n{cluster.log_tail()}") from error
        finally:
            takers.kill_all()
        ids = counted(cluster)
        assert ids == published.acknowledged, f"SEED={SEED}"
        with psycopg.connect(cluster.database_url) as connection:
            assert connection.execute("select sum(used)::int from balances").fetchone() == (len(ids),)
        letters = servers.do(dead_letters)
        assert published.bad <= letters <= published.bad_sent


async def under_fire(servers: Nats, takers: Takers, rng: random.Random) -> Published:
    """Publish while NATS servers and takers are killed, one at a time, and started again."""
    published = Published()
    connection = await nats.connect(servers.url.split(","), max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    number = 0
    for kill in range(KILLS):
        node = rng.choice(servers.nodes) if kill % 2 == 0 else None
        if node is not None:
            node.kill()
        else:
            takers.kill(rng.randrange(2))
        until = number + EVENTS_BETWEEN
        while number < until:
            together = range(number + 1, min(number + AT_ONCE, until) + 1)
            await asyncio.gather(*(published.publish(connection, each) for each in together))
            number = together[-1]
        if node is not None:
            node.start()
        takers.start_dead()
    await connection.close()
    return published


def exists(servers: Nats) -> bool:
    async def ask(connection: Client) -> bool:
        await connection.jetstream(timeout=2).consumer_info(STREAM, "paygrade")
        return True

    with suppress(nats.errors.Error, OSError):
        return servers.do(ask)
    return False


def missing(cluster: Cluster, servers: Nats, published: Published) -> list[str]:
    """What was acknowledged and is not counted, and how much waits in the stream."""

    async def ask(connection: Client) -> int:
        its = await connection.jetstream(timeout=2).consumer_info(STREAM, "paygrade")
        return (its.num_pending or 0) + (its.num_ack_pending or 0)

    with suppress(nats.errors.Error, OSError):
        if servers.do(ask) == 0:
            return sorted(published.acknowledged - counted(cluster))[:10]
    return ["messages that are not acknowledged"]


def counted(cluster: Cluster) -> set[str]:
    with psycopg.connect(cluster.database_url) as connection:
        return {id for (id,) in connection.execute("select id from ledger")}


async def dead_letters(connection: Client) -> int:
    """How many messages have one: a message that came again may have several."""
    js, stream, found = connection.jetstream(), f"{STREAM}_DEAD_LETTERS", set()
    state = (await js.stream_info(stream)).state
    for seq in range(max(state.first_seq, 1), state.last_seq + 1):
        headers = (await js.get_msg(stream, seq)).headers or {}
        found.add(headers["Paygrade-Sequence"])
    return len(found)
