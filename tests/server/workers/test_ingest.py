"""Usage events from a real NATS server into a real PostgreSQL: counted once, and acknowledged not before."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import nats
import psycopg
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.process.clock import Clock
from paygrade.server.process.jetstream import Place, create_streams, sources
from paygrade.server.process.metrics import Metrics
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers import ingest
from paygrade.server.workers.ingest import Ingest
from paygrade.values.errors import Refused
from support.nats_server import Nats, needs_nats, running_nats
from support.waiting import in_time

pytestmark = [pytest.mark.anyio, needs_nats]

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {"api_calls": {"kind": "metered", "event": "api_call"}},
    "plans": {"free": {"default": True, "entitlements": {"api_calls": {"limit": 1000, "every": "month"}}}},
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Nats]:
    with running_nats() as running:
        yield running


class World:
    """A stream with its consumers, and a database with two accounts. Each test has its own names at NATS."""

    def __init__(self, servers: Nats, connection: Client, store: Store, database_url: str) -> None:
        self.name = f"usage_{uuid.uuid4().hex[:8]}"
        self.servers, self.connection, self.store, self.database_url = servers, connection, store, database_url
        self.js: JetStreamContext = connection.jetstream()
        self.place = self.at()

    def at(self, *, consumer: str = "paygrade", partitions: tuple[int, ...] = ()) -> Place:
        return Place(
            stream=self.name,
            subject=f"{self.name}.>",
            consumer=consumer,
            dead_letters=f"dead.{self.name}",
            partitions=partitions,
        )

    @asynccontextmanager
    async def taking(self, place: Place | None = None) -> AsyncIterator[Metrics]:
        metrics, snapshots = Metrics(), Snapshots()
        its = Ingest(self.store, snapshots, Clock(), metrics, place or self.place, urls=self.servers.url)
        tasks = [asyncio.create_task(its.go_on()), asyncio.create_task(snapshots.follow(self.store))]
        try:
            yield metrics
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert its.missing() == ("NATS does not answer",)

    async def publish(self, body: Any, headers: dict[str, str] | None = None, *, to: str = "acme") -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.js.publish(f"{self.name}.{to}", raw, headers=headers)

    async def waiting(self, consumer: str = "paygrade") -> int:
        """How many messages are not acknowledged; -1: none was given out yet, so it may not know."""
        its = await self.js.consumer_info(self.name, consumer)
        waiting = (its.num_pending or 0) + (its.num_ack_pending or 0)
        return waiting if waiting or (its.delivered and its.delivered.consumer_seq) else -1

    async def until_waiting(self, count: int, *consumers: str) -> None:
        async def reached() -> bool:
            try:
                return {await self.waiting(each) for each in consumers or ("paygrade",)} == {count}
            except nats.js.errors.NotFoundError:
                return False

        await in_time(reached)

    async def dead_letters(self) -> list[api.RawStreamMsg]:
        stream = f"{self.name}_DEAD_LETTERS"
        state = (await self.js.stream_info(stream)).state
        return [await self.js.get_msg(stream, seq) for seq in range(state.first_seq, state.last_seq + 1) if seq]

    def rows(self, query: Any = "select account, id, time from ledger order by account, id") -> list[Any]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query).fetchall()

    def rows_are_refused_of(self, id: str) -> None:
        """Let the database fail in a way nobody foresaw, for one event."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("create function fail() returns trigger language plpgsql as"
                               " $$ begin raise exception 'unforeseen'; end $$")  # fmt: skip
            connection.execute(f"create trigger fails before insert on ledger for each row"
                               f" when (new.id = '{id}') execute function fail()".encode())  # fmt: skip

    def used(self) -> dict[str, int]:
        return dict(self.rows("select account, sum(used)::int from balances group by account"))


@pytest.fixture
async def world(servers: Nats, store: Store, database_url: str) -> AsyncIterator[World]:
    began = datetime.now(UTC) - timedelta(days=1)
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=began, by="test")
    for account in ("acme", "bolt"):
        await put_account(store, account=account, name="", links={}, traits={}, at=began)
    connection = await nats.connect(servers.url)
    made = World(servers, connection, store, database_url)
    await create_streams(made.js, made.place, partitions=1, replicas=1)
    yield made
    await connection.close()


def event(id: str, account: str = "acme", **more: Any) -> dict[str, Any]:
    return {"id": id, "account": account, "feature": "api_calls", **more}


def cloud(id: str, **more: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": "s", "type": "api_call", "subject": "acme", **more}


async def test_events_of_every_shape_count_once_and_refused_ones_become_dead_letters(world: World) -> None:
    binary = {f"ce-{name}": value for name, value in cloud("c4").items()}
    await world.publish(event("e1"))
    await world.publish([event("e2"), event("e3", "nobody"), event("e4", "bolt")])
    await world.publish(cloud("c1"), {"Content-Type": "application/cloudevents+json; charset=UTF-8"})
    await world.publish([cloud("c2"), event("e5", properties={"specversion": "1.0"})])
    await world.publish({}, {**binary, "Ce-Type": "api_call", "Nats-Msg-Id": "c4"})
    await world.publish(event("e1"))
    await world.publish(event("e1", quantity=7))
    await world.publish(b"[]")
    await world.publish(b'{"id": ')
    await world.publish(b"\xff\xfe", {"x-trace": "kept"})
    await world.publish(b'[{"specversion": "1.0"')
    async with world.taking() as metrics:
        await world.until_waiting(0)

        def told() -> bool:
            return b'paygrade_ingest_messages_total{outcome="dead_letter"} 5.0' in metrics.render()

        await in_time(lambda: asyncio.sleep(0, told()))
    rows = world.rows()
    assert [(account, id) for account, id, _ in rows] == [
        ("acme", "e1"), ("acme", "e2"), ("acme", "e5"), ("acme", "s/c1"), ("acme", "s/c2"), ("acme", "s/c4"),
        ("bolt", "e4"),
    ]  # fmt: skip
    assert world.used() == {"acme": 6, "bolt": 1}
    # What doesn't say when it happened happened when the stream took it.
    first = await world.js.get_msg(world.name, 1)
    assert first.time is not None
    assert abs(rows[0][2] - first.time) < timedelta(milliseconds=1)
    dead = await world.dead_letters()
    found = {(its.headers["Paygrade-Sequence"], its.headers["Paygrade-Code"]): its for its in dead if its.headers}
    assert set(found) == {
        ("2", "unknown_account"),
        ("7", "id_conflict"),
        ("9", "invalid_event"),
        ("10", "invalid_event"),
        ("11", "malformed_json"),
    }
    one, bytes_alone = found["2", "unknown_account"], found["10", "invalid_event"]
    assert one.headers is not None
    assert bytes_alone.headers is not None
    assert json.loads(one.data or b"") == event("e3", "nobody")
    assert one.headers["Paygrade-Detail"] == "there is no account `nobody`"
    assert one.headers["Paygrade-Subject"] == f"{world.name}.acme"
    assert (bytes_alone.data, bytes_alone.headers["x-trace"]) == (b"\xff\xfe", "kept")

    # As after a crash between commit and acknowledgement: all of it comes again.
    async with world.taking(world.at(consumer="again")):
        await world.until_waiting(0, "again")
    assert world.rows() == rows
    assert world.used() == {"acme": 6, "bolt": 1}
    assert len(await world.dead_letters()) == len(dead)


async def test_a_message_is_acknowledged_only_once_what_it_says_is_committed(world: World) -> None:
    told: list[tuple[str, bytes]] = []

    async def hear(message: Msg) -> None:
        told.append((message.subject.split(".")[5], message.data))

    def words() -> list[bytes]:
        return [word for _, word in told]

    await world.js.add_consumer(
        world.name, api.ConsumerConfig(durable_name="paygrade", ack_wait=1, max_ack_pending=100, max_deliver=-1)
    )
    await world.connection.subscribe(f"$JS.ACK.{world.name}.>", cb=hear)
    await world.connection.flush()
    for number in range(3):
        await world.publish(event(f"e{number}"))
    with psycopg.connect(world.database_url) as other:
        other.execute("lock table ledger in exclusive mode")
        async with world.taking() as metrics:
            # Longer than NATS would wait for a word of us.
            await in_time(lambda: asyncio.sleep(0, words().count(b"+WPI") >= 15))
            assert set(words()) == {b"+WPI"}
            assert await world.waiting() == 3
            assert b'paygrade_ingest_waiting{consumer="paygrade"} 3.0' in metrics.render()
            assert (metrics.registry.get_sample_value("paygrade_ingest_lag_seconds", {"consumer": "paygrade"}) or 0) > 0
            other.rollback()
            await world.until_waiting(0)
    assert world.used() == {"acme": 3}
    assert {sequence for sequence, word in told if word == b""} == {"1", "2", "3"}


@pytest.mark.parametrize("hold_s", [pytest.param(60.0, id="held"), pytest.param(0.0, id="handed back")])
async def test_without_a_database_messages_wait_and_are_counted_when_it_is_back(
    world: World, hold_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "HOLD_S", hold_s)
    name = psycopg.conninfo.conninfo_to_dict(world.database_url)["dbname"]
    elsewhere = psycopg.conninfo.make_conninfo(world.database_url, dbname="postgres")
    with psycopg.connect(elsewhere, autocommit=True) as admin:

        def allow(allowed: bool) -> None:
            admin.execute(f"alter database {name} allow_connections {allowed}".encode())
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))

        async with world.taking() as metrics:
            await world.publish(event("before"))
            await world.until_waiting(0)
            allow(False)
            try:
                for number in range(5):
                    await world.publish(event(f"e{number}"))

                async def some_are_there() -> bool:
                    if not hold_s:
                        return b'paygrade_ingest_messages_total{outcome="returned"} 0.0' not in metrics.render()
                    its: api.ConsumerInfo = await world.js.consumer_info(world.name, "paygrade")
                    return bool(its.num_ack_pending)

                await in_time(some_are_there)
                assert await world.waiting() == 5
            finally:
                allow(True)
            await world.until_waiting(0)
    assert world.used() == {"acme": 6}
    assert await world.dead_letters() == []


async def test_one_that_nobody_can_save_holds_up_no_other(world: World) -> None:
    world.rows_are_refused_of("poison")
    for number in range(4):
        await world.publish(event(f"e{number}"))
    await world.publish(event("poison"))
    await world.publish(event("after", "bolt"))
    async with world.taking():
        await world.until_waiting(0)
    assert world.used() == {"acme": 4, "bolt": 1}
    (dead,) = await world.dead_letters()
    assert dead.headers is not None
    assert dead.headers["Paygrade-Code"] == "internal_error"
    assert json.loads(dead.data or b"") == event("poison")


async def test_what_no_dead_letter_is_stored_for_is_not_acknowledged(world: World) -> None:
    async with world.taking() as metrics:
        await world.publish(event("first"))
        await world.until_waiting(0)
        stored = (await world.js.stream_info(f"{world.name}_DEAD_LETTERS")).config
        await world.js.update_stream(stored, max_msg_size=1)
        await world.publish(event("lost", "nobody"))
        await world.publish(event("second"))
        await world.until_waiting(1)

        def returned() -> bool:
            return b'paygrade_ingest_messages_total{outcome="returned"} 1.0' in metrics.render()

        await in_time(lambda: asyncio.sleep(0, returned()))
    assert world.used() == {"acme": 2}


async def test_partitions_are_taken_by_those_who_name_them(world: World) -> None:
    place = world.at(partitions=(0, 1))
    await world.js.delete_stream(world.name)
    await create_streams(world.js, place, partitions=3, replicas=1)
    await sources(world.js, world.at(partitions=(2,)), payload_max=1000)
    for number in range(12):
        await world.publish(event(f"e{number}"), to=f"account-{number}")
    theirs = await world.waiting("paygrade-2")
    assert 0 < theirs < 12
    async with world.taking(place):
        await world.until_waiting(0, "paygrade-0", "paygrade-1")
    assert world.used() == {"acme": 12 - theirs}
    async with world.taking(world.at(partitions=(2,))):
        await world.until_waiting(0, "paygrade-2")
    assert world.used() == {"acme": 12}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"ack_policy": api.AckPolicy.ALL}, "acknowledgement"),
        ({"max_deliver": 5}, "gives a message up after 5"),
        ({"deliver_subject": "x"}, "pushes"),
    ],
)
async def test_a_consumer_that_could_lose_messages_is_refused(world: World, config: Any, says: str) -> None:
    await world.js.add_consumer(world.name, api.ConsumerConfig(durable_name="paygrade", **config))
    with pytest.raises(Refused, match=says):
        await sources(world.js, world.place, payload_max=1000)


async def test_what_is_missing_at_nats_is_named(world: World) -> None:
    with pytest.raises(Refused, match="there is no stream `other`"):
        await sources(world.js, Place(stream="other", subject="o.>", consumer="c", dead_letters="d"), payload_max=1)
    place = Place(stream=world.name, subject="o.>", consumer="c", dead_letters="unstored")
    with pytest.raises(Refused, match="no stream stores `unstored`"):
        await sources(world.js, place, payload_max=1)
