"""The watermark of the events poll: up to where everything is kept, whatever is shown, in whatever order."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from paygrade.postgres.polls import SavedPoll
from paygrade.postgres.store import Store
from paygrade.server.operations.sync.inbox import sync_status
from paygrade.server.workers.claims import take
from paygrade.server.workers.polls import OVERLAP, PAGE, poll_events, polls_of
from paygrade.values.errors import Unavailable
from support.fake_provider import T0, Event, SetClock
from support.waiting import GIVE_UP_S, let_pass

pytestmark = pytest.mark.anyio

MINUTE = timedelta(minutes=1)


class Polled(Event, frozen=True):
    """An event as a list of events has it."""

    body: bytes = b"{}"


class Listed:
    """A list of events that a test sets up, and that breaks after `whole` of them."""

    name = "stripe"

    def __init__(self, *created_at: datetime) -> None:
        self.created_at = list(created_at)
        self.whole: int | None = None
        self.asked: list[datetime] = []

    def iter_events_since(self, since: datetime) -> Iterator[Polled]:
        self.asked.append(since)
        for number, created_at in enumerate(self.created_at):
            if number == self.whole:
                raise Unavailable("provider_unreachable", "no answer")
            if created_at >= since:
                yield Polled(f"evt_{number}", f"stripe:cus_{number}", created_at=created_at)


async def claimed(store: Store, at: datetime = T0) -> SavedPoll:
    let_pass(store._database_url, "polls")
    (poll,) = await take(store, polls_of("stripe"), limit=1, at=at)
    return poll


async def poll(store: Store, listed: Listed, at: datetime = T0) -> str:
    return await poll_events(store, listed, SetClock(at), await claimed(store, at), webhooks=True)


async def watermark(store: Store) -> datetime | None:
    async with store.transaction() as tx:
        saved = await tx.polls.load("stripe")
    assert saved is not None
    return saved.watermark


async def received(store: Store) -> int:
    return (await sync_status(store, "stripe", now=T0)).inbox.received


async def begun(store: Store) -> Listed:
    """A list that was polled at T0, when it was empty."""
    listed = Listed()
    assert await poll(store, listed) == "polled"
    assert await watermark(store) == T0, "of what was before, a sweep tells"
    return listed


async def test_the_watermark_is_the_newest_that_was_shown_and_not_our_clock(store: Store) -> None:
    listed = await begun(store)
    listed.created_at = [T0 + 3 * MINUTE, T0 + 5 * MINUTE, T0 + 2 * MINUTE]
    await poll(store, listed, T0 + 60 * MINUTE)
    assert await watermark(store) == T0 + 5 * MINUTE
    await poll(store, listed, T0 + 90 * MINUTE)
    assert await watermark(store) == T0 + 5 * MINUTE, "what the list shows late may carry any time since then"
    assert listed.asked == [T0 - OVERLAP, T0 - OVERLAP, T0 + 5 * MINUTE - OVERLAP]


async def test_the_watermark_is_not_beyond_our_clock_either(store: Store) -> None:
    listed = await begun(store)
    listed.created_at = [T0 + 60 * MINUTE]
    await poll(store, listed, T0 + 5 * MINUTE)
    assert await watermark(store) == T0 + 5 * MINUTE


async def test_the_watermark_never_goes_back(store: Store) -> None:
    listed = await begun(store)
    listed.created_at = [T0 - 5 * MINUTE]
    await poll(store, listed, T0 + MINUTE)
    assert (await watermark(store), await received(store)) == (T0, 1)
    await poll(store, listed, T0 - 30 * MINUTE)
    assert await watermark(store) == T0, "though our clock did"


async def test_the_watermark_stays_until_everything_below_it_is_kept(store: Store) -> None:
    listed = await begun(store)
    # The newest first: whoever believed its first page would never ask for the last one.
    listed.created_at = [T0 + (2 * PAGE - number) * MINUTE / PAGE for number in range(2 * PAGE)]
    listed.whole = PAGE + 1
    assert await poll(store, listed, T0 + 5 * MINUTE) == "paused"
    assert (await watermark(store), await received(store)) == (T0, PAGE)
    listed.whole = None
    assert await poll(store, listed, T0 + 6 * MINUTE) == "polled"
    assert (await watermark(store), await received(store)) == (T0 + 2 * MINUTE, 2 * PAGE)


@pytest.mark.parametrize("shown", [(), (T0 + 2 * MINUTE,)])
async def test_who_was_overtaken_moves_nothing(store: Store, shown: tuple[datetime, ...]) -> None:
    listed = await begun(store)
    slow = await claimed(store)
    listed.created_at = [T0 + MINUTE]
    assert await poll(store, listed, T0 + 5 * MINUTE) == "polled"
    late = await poll_events(store, Listed(*shown), SetClock(T0 + 5 * MINUTE), slow, webhooks=True)
    assert late == "overtaken"
    assert await watermark(store) == T0 + MINUTE


async def test_whoever_looks_waits_for_nobody_who_claims(store: Store) -> None:
    await begun(store)
    known = {**polls_of("stripe").values, "at": T0 + 5 * MINUTE}
    let_pass(store._database_url, "polls")
    async with store.transaction() as claiming:
        (seen,) = await claiming.polls.candidates(limit=1, **known)
        assert await claiming.polls.take(seen, lease_s=60, **known) is not None
        async with asyncio.timeout(GIVE_UP_S), store.transaction() as looking:
            assert await looking.polls.candidates(limit=1, **known) == (seen,)


if TYPE_CHECKING:
    from paygrade.providers.port import EventSource

    _: EventSource = Listed()
