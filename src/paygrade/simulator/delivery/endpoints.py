"""One webhook endpoint: what waits for it, in which order it leaves, and the signed attempts.

Laws. The fate of an event is drawn from the seed, per endpoint and in the order of events. A dropped event is
never delivered. Signatures carry the simulator's clock, which is what receivers that follow that clock
compare with. Without weather, events arrive in their order, one at a time, over one open connection; only a
burst sends several at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import hmac
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx2
import msgspec

from paygrade.simulator.delivery.weather import Weather
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import thin_events as thin

ATTEMPTS_MAX = 16
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 300.0
RECEIVER_TIMEOUT_S = 20.0
REORDER_WAIT_S = 0.25  # how long an event is held back for the next one to overtake it
LATE_HOURS = (1, 12)
EVERY_EVENT = frozenset({"*"})
TOGETHER_MAX = 20  # deliveries of a burst under way at once


def sign(body: bytes, *, secret: str, at: datetime) -> str:
    """Give the `Stripe-Signature` of a body (Stripe docs: webhook signatures)."""
    moment = int(at.timestamp())
    mac = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    return f"t={moment},v1={mac.hexdigest()}"


@dataclass(slots=True)
class Delivery:
    """One event on its way to one endpoint."""

    event: str
    type: str
    body: bytes
    url: str
    due: float  # on the loop's clock
    attempts: int = 0
    status: str = "pending"  # pending | delivered | failed | dropped
    answer: str | None = None
    hurried: bool = False
    burst: bool = False
    late_until: datetime | None = None  # on the simulator's clock
    attempted: asyncio.Event = field(default_factory=asyncio.Event)

    def described(self) -> Json:
        return {
            "event": self.event,
            "type": self.type,
            "url": self.url,
            "status": self.status,
            "attempts": self.attempts,
            "answer": self.answer,
        }


class Endpoint:
    """One webhook URL: its queue, and the worker that empties it."""

    def __init__(
        self,
        url: str,
        *,
        thin: bool,
        seed: str,
        secret: str,
        now: Callable[[], datetime],
        received: Callable[[str], None],
    ) -> None:
        self.url, self.thin = url, thin
        self.events: frozenset[str] = EVERY_EVENT
        self._draws, self._more_draws = random.Random(seed), random.Random(f"{seed}/more")
        self._secret, self._now, self._received = secret, now, received
        self._queue: list[tuple[float, int, Delivery]] = []
        self._late: list[tuple[datetime, int, Delivery]] = []
        self._count = 0
        self._burst_end = 0.0
        self._sending: list[Delivery] = []
        self._held: Delivery | None = None
        self._reached: set[str] = set()
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def wants(self, type: str) -> bool:
        return "*" in self.events or type in self.events

    @property
    def pending(self) -> list[Delivery]:
        waiting = [delivery for _, _, delivery in sorted(self._queue, key=lambda entry: entry[:2])]
        return [*self._sending, *waiting, *(delivery for _, _, delivery in sorted(self._late, key=lambda e: e[:2]))]

    @property
    def next_late(self) -> datetime | None:
        return self._late[0][0] if self._late else None

    def accept(self, event: Json, body: bytes, weather: Weather) -> list[Delivery]:
        """Draw this event's fate, always with as many draws, and queue what becomes of it."""
        drop, double, hold, first, second = (self._draws.random() for _ in range(5))
        slim, late, hours = (self._more_draws.random() for _ in range(3))
        if self.thin or slim < weather.thin:
            body = msgspec.json.encode(thin.notification(event))
        made = self._copies(event, body, weather, shares=(first, second)[: 2 if double < weather.duplicate else 1])
        if drop < weather.drop:
            made[0].status = "dropped"
            return made[:1]
        if late < weather.late:  # of two copies the second: a late retry of what arrived
            least, most = LATE_HOURS
            made[-1].late_until = self._now() + timedelta(hours=least + (most - least) * hours)
        overtaken, self._held = self._held, None
        if hold < weather.reorder and overtaken is None:
            self._held = made[0]
            made[0].due += REORDER_WAIT_S
        for delivery in made:
            self._push(delivery)
        if overtaken is not None and overtaken.status == "pending" and overtaken.late_until is None:
            self._release(overtaken, after=made[0])
        self._wake.set()
        return made

    def ripen(self, now: datetime) -> None:
        """Let go of what is late and whose hour has come."""
        while self._late and self._late[0][0] <= now:
            self._let_go(heapq.heappop(self._late)[2])

    def hurry(self) -> list[Delivery]:
        """Make everything that waits due; the order stays as the weather made it."""
        while self._late:
            self._let_go(heapq.heappop(self._late)[2])
        hurried = self.pending
        for delivery in hurried:
            delivery.hurried = True
            if delivery not in self._sending:
                delivery.attempted.clear()
        self._wake.set()
        return hurried

    def start(self) -> None:
        self._worker = asyncio.create_task(self._work(), name=f"deliveries to {self.url}")

    async def close(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def _copies(self, event: Json, body: bytes, weather: Weather, *, shares: tuple[float, ...]) -> list[Delivery]:
        clock = asyncio.get_running_loop().time()
        least, most = weather.delay_ms
        delays_s = ((least + (most - least) * share) / 1000 for share in shares)
        made = [Delivery(event["id"], event["type"], body, self.url, clock + delay_s) for delay_s in delays_s]
        if weather.burst_s:
            if clock >= self._burst_end:
                self._burst_end = clock + weather.burst_s
            for delivery in made:
                delivery.due, delivery.burst = self._burst_end, True
        return made

    def _push(self, delivery: Delivery) -> None:
        self._count += 1
        if delivery.late_until is not None:
            heapq.heappush(self._late, (delivery.late_until, self._count, delivery))
        else:
            heapq.heappush(self._queue, (delivery.due, self._count, delivery))

    def _let_go(self, delivery: Delivery) -> None:
        delivery.late_until = None
        delivery.due = asyncio.get_running_loop().time()
        self._push(delivery)
        self._wake.set()

    def _release(self, held: Delivery, *, after: Delivery) -> None:
        """Let a held event go right after the one that overtook it."""
        self._queue = [entry for entry in self._queue if entry[2] is not held]
        heapq.heapify(self._queue)
        held.due = after.due
        self._push(held)

    async def _work(self) -> None:
        verify = self.url.startswith("https:")  # loading the certificates costs 50 ms
        async with httpx2.AsyncClient(timeout=RECEIVER_TIMEOUT_S, trust_env=False, verify=verify) as client:
            while True:
                await self._until_due()
                self._sending = self._take()
                for delivery in self._sending:
                    delivery.attempted.clear()
                if len(self._sending) == 1:
                    await self._attempt(client, self._sending[0])
                else:
                    await asyncio.gather(*(self._attempt(client, delivery) for delivery in self._sending))
                sent, self._sending = self._sending, []
                for delivery in sent:
                    delivery.attempted.set()

    def _take(self) -> list[Delivery]:
        """Take the first delivery, and with one of a burst the others that are due."""
        taken = [heapq.heappop(self._queue)[2]]
        clock = asyncio.get_running_loop().time()
        while taken[0].burst and self._queue and len(taken) < TOGETHER_MAX:
            due, _, delivery = self._queue[0]
            if not delivery.burst or not (delivery.hurried or due <= clock):
                break
            taken.append(heapq.heappop(self._queue)[2])
        return taken

    def _note_delivered(self, delivery: Delivery) -> None:
        delivery.status = "delivered"
        if delivery.event not in self._reached:  # a duplicate counts once
            self._reached.add(delivery.event)
            self._received(delivery.event)

    async def _until_due(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            wait_s = None
            if self._queue:
                due, _, delivery = self._queue[0]
                wait_s = due - loop.time()
                if delivery.hurried or wait_s <= 0:
                    return
            try:
                async with asyncio.timeout(wait_s):  # not wait_for, which can swallow a cancellation
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _attempt(self, client: httpx2.AsyncClient, delivery: Delivery) -> None:
        delivery.attempts += 1
        delivery.hurried = False
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(delivery.body, secret=self._secret, at=self._now()),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            response = await client.post(self.url, content=delivery.body, headers=headers)
            delivery.answer = str(response.status_code)
            succeeded = response.is_success
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            delivery.answer = type(error).__name__
            succeeded = False
        if succeeded:
            self._note_delivered(delivery)
        elif delivery.attempts >= ATTEMPTS_MAX:
            delivery.status = "failed"
        else:
            wait_s = min(RETRY_LONGEST_S, RETRY_FIRST_S * 2 ** (delivery.attempts - 1))
            delivery.due = asyncio.get_running_loop().time() + wait_s
            self._push(delivery)
