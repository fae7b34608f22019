"""Usage events in: read, written and counted, many at a time.

Laws: what is answered as accepted is durable, with everything it changes, or nothing of the whole call is; an id has
one effect, whoever sends it again and however often; a bad event never keeps the others out; an event counts in the
window its time falls in; usage that happened counts, over a limit too.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.server.operations.balances.unit_of_work import save_sums, until_saved
from paygrade.server.operations.events.batch import Batch, Rejected
from paygrade.server.operations.events.in_order import post_in_order
from paygrade.server.state.nodes import load_nodes
from paygrade.usage.events import Refusal, UsageEvent
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.state.snapshots import Snapshots

EVENTS_MAX = 5000
PAST = timedelta(days=34)
DAWN = datetime(2000, 1, 1, tzinfo=UTC)
"""No usage worth importing is older."""
TURN = 500
"""Events read before others in this process have a turn."""


class Ingested(Struct, frozen=True):
    """What became of the events. `duplicates` were here before and change nothing."""

    accepted: int
    duplicates: int
    rejected: tuple[Rejected, ...]


async def ingest(
    store: "Store",
    snapshots: "Snapshots",
    events: Sequence[UsageEvent | Refusal],
    at: datetime,
    *,
    backfill: bool = False,
    received: Sequence[datetime] | None = None,
) -> Ingested:
    """Take usage events; a Refusal among them stands for one that could not be read.

    `backfill`: older usage is taken too, in its own windows. `received`: when each came, where that is before `at`; one
    that doesn't say when it happened happened then. Refused `too_many_events`.
    """
    if len(events) > EVENTS_MAX:
        detail = f"the batch has {len(events)} events, at most {EVENTS_MAX} are allowed; send several batches"
        raise Refused("too_many_events", detail)
    catalog = await snapshots.catalog(store)
    accounts = {event.account for event in events if isinstance(event, UsageEvent)}

    named = {(event.account, event.node) for event in events if isinstance(event, UsageEvent) and event.node}

    async def attempt(*, one_by_one: bool = False) -> Ingested:
        windows = await snapshots.windows.load(store, accounts, catalog, remember=snapshots.remembers(catalog))
        nodes = await load_nodes(store, named)
        batch = Batch(catalog, windows, at, earliest=DAWN if backfill else at - PAST, nodes=nodes, received=received)
        for start in range(0, len(events), TURN):
            batch.read(events[start : start + TURN], start)
            await asyncio.sleep(0)
        if one_by_one:
            batch.take_care(batch.accounts())
        await _save(store, batch, at)
        return Ingested(*batch.outcome())

    try:
        return await until_saved(store, attempt, at)
    except Refused as refused:
        if refused.code != "too_much_usage":
            raise
    # All together some come to more than can be counted: one by one, only those are refused.
    return await until_saved(store, partial(attempt, one_by_one=True), at)


async def _save(store: "Store", batch: Batch, at: datetime) -> None:
    """Write what was taken and let it take effect. Raises Due."""
    entries = batch.entries()
    if not entries:
        return
    async with store.transaction() as tx:
        batch.compare(await tx.events.add(entries, at))
        granted = await tx.events.granted(batch.accounts(), min(entry.time for entry in entries))
        batch.take_care(account for account, _ in granted)
        sums, careful = batch.sums(), batch.careful()
        if careful:
            for each, refusal in await post_in_order(tx, batch.catalog, careful, sums, at):
                batch.refuse(each, refusal)
        elif sums:
            await save_sums(tx, sums, at)
