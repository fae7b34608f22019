"""The events poll: what webhooks lost, fetched from the provider's list of events.

Theory of operation. Every so often the list is read from ten minutes before the watermark on, and each event goes
into the inbox as a webhook would have put it; those that are there already stop there. Where nearly all are, webhooks
work and the poll rests longer each time; where they are not, it comes every minute and stands in for them.

Laws: the watermark moves only after everything below it is kept, and never beyond what the provider has shown;
nothing relies on the order of events; an event too young to have come by webhook is kept but not counted as missed.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from paygrade.providers.port import EventSource, PolledEvent
from paygrade.server.operations.sync.inbox import receive_polled
from paygrade.server.workers.claims import Queue, give_back
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.polls import SavedPoll
    from paygrade.postgres.store import Store
    from paygrade.server.process.clock import Clock

OVERLAP = timedelta(minutes=10)
"""How long an event may take to show in the list after the time it carries, and clocks may differ."""
YOUNG = timedelta(seconds=30)
"""An event younger than this may still be on its way by webhook."""
LISTED_FOR = timedelta(days=29)
"""Stripe lists the events of 30 days (https://docs.stripe.com/api/events); after a longer gap a sweep is needed."""
EVERY_MIN_S, EVERY_MAX_S = 60, 1800
MISSED_OF = 20
"""Webhooks are healthy while at most one in so many events was missed."""
LEASE_S = 120.0
PAGE = 100


PollOutcome = Literal["polled", "paused", "overtaken"]


def polls_of(provider: str) -> "Queue[SavedPoll]":
    """The one poll of a provider, which waits for its time."""
    return Queue("polled", lambda tx: tx.polls, ("provider",), LEASE_S, values={"provider": provider})


async def poll_events(
    store: "Store", provider: EventSource, clock: "Clock", claimed: "SavedPoll", *, webhooks: bool
) -> PollOutcome:
    """Poll what was claimed. `webhooks`: they are expected, so what they did not bring is missed."""
    at, poll = clock.now(), claimed
    if poll.polled_at is not None and at - poll.polled_at > LISTED_FOR:
        async with store.transaction() as tx:
            await tx.sweeps.start(provider.name, dry_run=False, at=at)
        poll = replace(poll, watermark=at)
    try:
        found = await _take(store, provider, poll, at, webhooks=webhooks)
    except Unavailable as error:
        return "paused" if await give_back(store, polls_of(provider.name), claimed, error) else "overtaken"
    if found is None:
        return "overtaken"
    async with store.transaction() as tx:
        if await tx.polls.lock(claimed) is None:
            return "overtaken"
        await tx.polls.save(found, retry_s=found.every_s)
    return "polled"


async def _take(
    store: "Store", provider: EventSource, poll: "SavedPoll", at: datetime, *, webhooks: bool
) -> "SavedPoll | None":
    """Keep every event since the watermark; how the poll stands afterwards. None: somebody else has it."""
    watermark, seen, missed = poll.watermark or at, 0, 0
    events = provider.iter_events_since(watermark - OVERLAP)
    while page := await asyncio.to_thread(_next, events):
        old = [event for event in page if at - event.created_at >= YOUNG]
        young = [event for event in page if at - event.created_at < YOUNG]
        missed += await receive_polled(store, events=old, missed=webhooks, at=at)
        await receive_polled(store, events=young, missed=False, at=at)
        seen += len(old)
        # Not beyond our own clock either: whoever is wrong of the two, the earlier is safe.
        watermark = max(watermark, min(at, max(event.created_at for event in page)))
        async with store.transaction() as tx:
            if not await tx.polls.keep(poll, lease_s=LEASE_S):
                return None
    missed = missed if webhooks else 0
    every_s = next_every_s(poll.every_s, seen=seen, missed=missed, webhooks=webhooks)
    return replace(
        poll, watermark=watermark, polled_at=at, every_s=every_s, seen=seen, missed=missed, error=None, attempts=0
    )


def next_every_s(every_s: int, *, seen: int, missed: int, webhooks: bool) -> int:
    """How long to rest: a minute where webhooks are missing, twice as long as before where they are not."""
    if not webhooks or missed * MISSED_OF > seen:
        return EVERY_MIN_S
    return min(every_s * 2, EVERY_MAX_S)


def _next(events: Iterator[PolledEvent]) -> Sequence[PolledEvent]:
    return list(islice(events, PAGE))
