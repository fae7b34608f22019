"""Audit records sent elsewhere: each once at least, in the order of its chain, whoever ends or is away meanwhile."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from paygrade.billing.audit_chain import AuditRecord
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.process.audit_stream import Otlp
from paygrade.server.process.clock import Clock
from paygrade.server.workers.audit_streams import name_streams, send_audit, send_batches, streams_of
from paygrade.server.workers.claims import attempt, take
from paygrade.server.workers.looks import Looks
from paygrade.values.errors import Unavailable
from support.receiver import Answering, Received, receiving

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)


class Kept:
    """A stream that keeps what it takes, and takes nothing while it is away."""

    def __init__(self, stream: str) -> None:
        self.stream, self.away = stream, False
        self.taken: list[tuple[str, int]] = []

    async def send(self, records: Sequence[AuditRecord]) -> None:
        if self.away:
            raise Unavailable("audit_stream_failed", "it is away")
        self.taken += [(record.account, record.number) for record in records]


async def change(store: Store, account: str, name: str) -> None:
    await put_account(store, account=account, name=name, links={}, traits={}, at=T0)


async def send(store: Store, *sinks: Any) -> list[str]:
    """What a server does once; what came of it. Any: sinks."""
    queue, by_name = streams_of(sinks), {sink.stream: sink for sink in sinks}
    found = []
    for claimed in await take(store, queue, limit=9, at=T0):
        found.append(await attempt(store, queue, lambda each: send_batches(store, by_name, each), claimed))
    return found


def let_pass(database_url: str) -> None:
    """The pause after a failure."""
    with psycopg.connect(database_url) as connection:
        connection.execute("update audit_streams set retry_at = null")


async def test_what_one_stream_does_not_take_waits_for_it_and_no_other_one_waits_with_it(
    store: Store, database_url: str
) -> None:
    one, other = Kept("syslog"), Kept("otlp")
    await change(store, "acme", "before anybody was named")
    await name_streams(store, ["syslog", "otlp"])
    other.away = True
    for number in range(3):
        await change(store, "acme", f"Acme {number}")
        await change(store, "beta", f"Beta {number}")
    assert sorted(await send(store, one, other)) == ["interrupted", "sent"]
    assert [number for account, number in one.taken if account == "acme"] == [2, 3, 4]
    assert [number for account, number in one.taken if account == "beta"] == [1, 2, 3]
    other.away = False
    assert await send(store, one, other) == [], "it has a pause after a failure"
    let_pass(database_url)
    await change(store, "acme", "Acme")
    assert sorted(await send(store, one, other)) == ["sent", "sent"]
    assert one.taken == other.taken
    assert await send(store, one, other) == []


async def test_a_server_that_ends_after_sending_leaves_it_to_the_next_to_send_that_again(
    store: Store, database_url: str
) -> None:
    sink = Kept("otlp")
    await name_streams(store, ["otlp"])
    await change(store, "acme", "Acme")
    (claimed,) = await take(store, streams_of([sink]), limit=1, at=T0)
    # It has sent the record, and ends before that is saved; its lease ends with it.
    await sink.send([each.record for each in await unsent(store)])
    with psycopg.connect(database_url) as connection:
        connection.execute("update audit_streams set leased_until = null")
    assert await send(store, sink) == ["sent"]
    assert sink.taken == [("acme", 1), ("acme", 1)]
    assert await send_batches(store, {"otlp": sink}, claimed) == "overtaken"
    assert sink.taken == [("acme", 1), ("acme", 1)]


async def unsent(store: Store) -> Sequence[Any]:
    async with store.transaction() as tx:
        return await tx.audit_streams.unsent("otlp", limit=10)


async def test_a_stream_that_no_server_names_for_a_week_is_forgotten_with_what_waits(
    store: Store, database_url: str
) -> None:
    await name_streams(store, ["syslog", "otlp"])
    await change(store, "acme", "Acme")
    with psycopg.connect(database_url) as connection:
        connection.execute("update audit_streams set seen_at = now() - interval '8 days'")
    await name_streams(store, ["syslog"])
    await change(store, "beta", "Beta")
    assert await unsent(store) == ()
    sink = Kept("syslog")
    await send(store, sink)
    assert sink.taken == [("acme", 1), ("beta", 1)]


async def test_two_servers_send_everything_to_a_receiver_that_fails_now_and_then(
    store: Store, database_url: str
) -> None:
    numbers: list[str] = []

    def moody(received: Received, answering: Answering) -> None:
        if len(receiver.arrived) % 3 == 1:
            answering.answer(500)
            return
        for each in received.json["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
            told = json.loads(each["body"]["stringValue"])
            numbers.append(told["number"])
        answering.answer(200, b'{"partialSuccess":{}}')

    with receiving() as receiver:
        receiver.behave = moody
        async with Store(database_url) as other:
            await name_streams(store, ["otlp"])
            looks = [Looks(each, Clock()) for each in (store, other)]
            servers = [
                asyncio.create_task(doing)
                for each, look in zip((store, other), looks, strict=True)
                for doing in (send_audit(each, look, [Otlp(receiver.url)]), look.go_on())
            ]
            try:
                for number in range(30):
                    await change(store, "acme", f"Acme {number}")
                async with asyncio.timeout(60):
                    while {*numbers} != {*range(1, 31)} or await unsent(store):
                        # A server, in this loop, may hold the stream: it has to go on meanwhile.
                        await asyncio.to_thread(let_pass, database_url)
                        await asyncio.sleep(0.05)
            finally:
                for each in servers:
                    each.cancel()
                await asyncio.gather(*servers, return_exceptions=True)
    assert numbers == sorted(numbers), "in the order of their chain; none came twice, as nobody ended in between"
