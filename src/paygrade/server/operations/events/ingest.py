"""Usage events in: read, written and counted, many at a time.

Laws: what is answered as accepted is durable, with everything it changes, or nothing of the whole call is; an id has
one effect, whoever sends it again and however often; a bad event never keeps the others out; an event counts in the
window its time falls in; usage that happened counts, over a limit too.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.server.operations.events.batch import Batch, Rejected
from paygrade.server.operations.events.in_order import draw_events, is_watched
from paygrade.server.operations.usage.alerts import Passed, note_alerts
from paygrade.server.operations.usage.locked_batch import Due, expire_due
from paygrade.usage.meters import Refusal, UsageEvent
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.postgres.usage_events import News
    from paygrade.server.state.snapshots import Snapshots
    from paygrade.server.state.windows import CountingWindow
    from paygrade.usage.entries import Key

EVENTS_MAX = 5000
CONTENDED_MAX = 5
"""How often a batch is tried that PostgreSQL sent away so that others could go on."""
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
) -> Ingested:
    """Take usage events; a Refusal among them stands for one that could not be read.

    `backfill`: older usage is taken too, in its own windows. Refused `too_many_events`, or `too_much_usage` if a
    balance would overflow.
    """
    if len(events) > EVENTS_MAX:
        detail = f"these are {len(events)} events, and at most {EVENTS_MAX} go at once; send them in several requests"
        raise Refused("too_many_events", detail)
    catalog = await snapshots.catalog(store)
    accounts = {event.account for event in events if isinstance(event, UsageEvent)}
    for attempt in count(1):
        windows = await snapshots.windows.load(store, accounts, catalog, remember=snapshots.remembers(catalog))
        batch = Batch(catalog, windows, at, earliest=DAWN if backfill else at - PAST)
        for start in range(0, len(events), TURN):
            batch.read(events[start : start + TURN], start)
            await asyncio.sleep(0)
        try:
            await _save(store, batch, at)
            return Ingested(*batch.outcome())
        except Due as due:
            await expire_due(store, due.accounts, at)
        except Unavailable as error:
            if error.code != "contended" or attempt == CONTENDED_MAX:
                raise
    raise AssertionError


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
            for each, refusal in await draw_events(tx, batch.catalog, careful, sums, at):
                batch.refuse(each, refusal)
        elif sums:
            news = await tx.events.add_up({key: (units, window.period) for key, (units, window) in sums.items()})
            await note_alerts(tx, list(_passed(news, sums, at)), at)
            await tx.tell_balances(news)


def _passed(news: "Iterable[News]", sums: "Mapping[Key, tuple[int, CountingWindow]]", at: datetime) -> Iterator[Passed]:
    """Limits whose thresholds may lie between what balances were and are."""
    for account, pool, slot, used, _, _ in news:
        units, window = sums[account, pool, slot]
        # Most use is near no threshold, and that is all it costs.
        if used >= window.watched_from and is_watched(its := window.entitlements[pool], at, used):
            yield Passed(account, its, its.limit or 0, used - units, used)
