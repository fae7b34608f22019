"""Sending audit records elsewhere: each stream by one server at a time, batch by batch.

Laws: a record is sent after the change is saved, and nobody waits for that; what a stream has not taken is sent
again, so each record comes once at least, also where a server ends in between; one stream never waits for another.
"""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from paygrade.server.process.audit_stream import Sink
from paygrade.server.workers.claims import Note, Queue, nobody, repeat
from paygrade.server.workers.looks import Looks

if TYPE_CHECKING:
    from paygrade.postgres.audit_streams import SavedStream
    from paygrade.postgres.store import Store

log = structlog.get_logger("paygrade.audit")

BATCH_MAX, BATCHES_MAX = 200, 50
"""How many records are sent at a time, and how many times in a row before it is another server's turn."""
LEASE_S = 60.0
"""Longer than a batch takes."""
NAME_S = 60.0
FORGOTTEN_AFTER = timedelta(days=7)
"""A stream that no server has named for so long is not wanted any more: what it has not taken would grow for ever."""


def streams_of(sinks: Iterable[Sink]) -> "Queue[SavedStream]":
    """These streams, as far as something waits for them."""
    names = sorted(sink.stream for sink in sinks)
    return Queue("audit_sent", lambda tx: tx.audit_streams, ("stream",), LEASE_S, {"streams": names}, quiet=True)


async def send_audit(store: "Store", looks: Looks, sinks: Iterable[Sink], *, note: Note = nobody) -> None:
    """Send what waits, until cancelled."""
    by_name = {sink.stream: sink for sink in sinks}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(repeat(partial(name_streams, store, by_name), look_s=NAME_S))
        do = partial(send_batches, store, by_name)
        queue = streams_of(by_name.values())
        tasks.create_task(looks.work(queue, do, at_once=len(by_name), note=note))


async def name_streams(store: "Store", names: Iterable[str]) -> None:
    """Have records kept for these streams from now on."""
    async with store.transaction() as tx:
        forgotten = await tx.audit_streams.name([*names], forgotten_after=FORGOTTEN_AFTER)
    if forgotten:
        log.warning("audit_stream_forgotten", streams=forgotten)


async def send_batches(store: "Store", sinks: "dict[str, Sink]", claimed: "SavedStream") -> str:
    """Send what waits for a claimed stream. Unavailable where it takes nothing."""
    for batch in range(1, BATCHES_MAX + 1):
        async with store.transaction() as tx:
            waiting = await tx.audit_streams.unsent(claimed.stream, limit=BATCH_MAX)
        if waiting:
            await sinks[claimed.stream].send([each.record for each in waiting])
        async with store.transaction() as tx:
            held = await tx.audit_streams.lock(claimed)
            if held is None:
                return "overtaken"
            await tx.audit_streams.taken(claimed.stream, [each.place for each in waiting])
            more = len(waiting) == BATCH_MAX and batch < BATCHES_MAX
            # Failures in a row end with a batch that was taken.
            await tx.audit_streams.save(replace(held, attempts=0), lease_s=LEASE_S if more else None)
        if not more:
            break
    return "sent"
