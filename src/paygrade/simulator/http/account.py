"""The account as it lives: its engine in real time or standing still, its weather, and webhooks on their way.

Laws. Everything due by now has happened once `catch_up` returns. The clock runs with real time plus what it was
advanced by, or stands still if it was given a start. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from paygrade.simulator.delivery.deliveries import Deliveries
from paygrade.simulator.delivery.lag import Replica
from paygrade.simulator.delivery.weather import Mishap, Skies, Weather
from paygrade.simulator.engine import Engine
from paygrade.simulator.http.followers import Followers

CLOCK_ADVANCE_S = 0.2  # how long a test clock is seen advancing if nobody looks


class Account:
    def __init__(self, *, seed: int, start: datetime | None, webhook_urls: Sequence[str], secret: str) -> None:
        self.seed = seed
        self.engine = Engine(seed, start or datetime.now(UTC))
        self.deliveries = Deliveries(
            secret=secret,
            seed=seed,
            now=lambda: self.now,
            note=lambda event, pending: self.engine.note_webhooks(event, pending=pending),
        )
        self.followers = Followers()
        self.weather = Weather()
        self._skies = Skies(seed)
        self._replica = Replica()
        for url in webhook_urls:
            self.add_url(url)
        self.running = start is None
        self._offset = self.engine.now - datetime.now(UTC)
        self._moved = asyncio.Event()
        self._ticker: asyncio.Task[None] | None = None

    def add_url(self, url: str, *, thin: bool = False) -> None:
        """Send every event there from now on."""
        self.deliveries.add_url(url, thin=thin)
        self.engine.give_webhook_endpoint(url)

    @property
    def now(self) -> datetime:
        return max(self.engine.now, datetime.now(UTC) + self._offset) if self.running else self.engine.now

    def catch_up(self) -> None:
        """Let everything due by now happen, and hand out the events."""
        self.engine.advance_to(self.now)
        self.hand_out()

    def advance_to(self, instant: datetime) -> None:
        """Move the clock, and let all that falls due happen; raises ValueError if that is into the past."""
        self.engine.advance_to(instant)
        self._offset = self.engine.now - datetime.now(UTC)
        self._moved.set()

    def set_running(self, running: bool) -> None:
        self._offset = self.engine.now - datetime.now(UTC)
        self.running = running
        self._moved.set()

    def start(self) -> None:
        """Let time pass and webhooks leave, until `close`."""
        self.deliveries.start()
        self._ticker = asyncio.create_task(self._tick(), name="simulator clock")

    async def close(self) -> None:
        self.followers.close()
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.gather(self._ticker, return_exceptions=True)
        await self.deliveries.close()

    def meet_weather(self) -> Mishap:
        """Draw what becomes of one API request."""
        return self._skies.meet(self.weather, at_s=_loop_time())

    @contextmanager
    def behind(self, lag_s: float) -> Iterator[None]:
        """Let the account look as it did that long ago, for the length of one read."""
        with self._replica.behind(self.engine.world, until_s=_loop_time() - lag_s):
            yield

    def hand_out(self) -> None:
        """Send off the new events, some of them twice if the weather says so."""
        events = []
        for event in self.engine.take_events():
            events.append(event)
            if self._skies.tell_twice(self.weather):
                events.append(self.engine.repeat_event(event["id"]))
        self._replica.note(events, at_s=_loop_time(), lag_max_s=self.weather.lag_ms[1] / 1000)
        self.deliveries.keep_to(self.engine.webhook_endpoints())
        self.deliveries.accept(events, self.weather)
        if self.engine.world.looks:
            asyncio.get_running_loop().call_later(CLOCK_ADVANCE_S, self._finish_clocks)
        self._moved.set()

    def _finish_clocks(self) -> None:
        """Let test clocks arrive, a moment after they were told to."""
        if self.engine.world.looks:
            self.engine.finish_clocks()
            self.hand_out()

    async def _tick(self) -> None:
        """While the clock runs, let what falls due happen by itself."""
        while True:
            self._moved.clear()
            wait_s = None
            dues = [due for due in (self.engine.next_due, self.deliveries.next_late) if due is not None]
            if self.running and dues:
                due = min(dues)
                wait_s = max(0.0, (due - self.now).total_seconds())
            try:
                async with asyncio.timeout(wait_s):  # not wait_for, which can swallow a cancellation
                    await self._moved.wait()
            except TimeoutError:
                self.catch_up()


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
