"""Webhook delivery: signed, retried until a 2xx, and as late, doubled, lost or out of order as asked for.

Laws. Weather is drawn from the seed, per endpoint and in the order of events, so the same run loses the same
events. A dropped event is never delivered and keeps its pending count: only the events list tells of it.
Signatures carry the simulator's clock, which is what receivers that follow that clock compare with. Without
weather, events arrive in their order, one at a time, over one open connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import hmac
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import httpx2
import msgspec

from paygrade.simulator.forms import Json

ATTEMPTS_MAX = 16
RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 300.0
RECEIVER_TIMEOUT_S = 20.0
REORDER_WAIT_S = 0.25  # how long an event is held back for the next one to overtake it
HISTORY_LENGTH = 200

Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Weather(msgspec.Struct, frozen=True):
    """How badly webhooks are delivered: the bounds of the delay, and probabilities per event."""

    delay_ms: tuple[Milliseconds, Milliseconds] = (0, 0)
    duplicate: Probability = 0.0
    drop: Probability = 0.0
    reorder: Probability = 0.0


def parse_weather(wanted: Json) -> Weather:
    """Read a whole weather; what is not mentioned is calm. Raises ValueError with a message for a person."""
    if unknown := set(wanted) - set(Weather.__struct_fields__):
        keys = ", ".join(Weather.__struct_fields__)
        raise ValueError(f"unknown weather `{min(unknown)}`; the keys are {keys}")
    try:
        weather = msgspec.convert(wanted, Weather)
    except msgspec.ValidationError as error:
        raise ValueError(f"no such weather: {error}") from None
    if weather.delay_ms[0] > weather.delay_ms[1]:
        raise ValueError("`delay_ms` is [least, most]")
    return weather


def sign(body: bytes, *, secret: str, at: datetime) -> str:
    """Give the `Stripe-Signature` of a body (Stripe docs: webhook signatures)."""
    moment = int(at.timestamp())
    mac = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256)
    return f"t={moment},v1={mac.hexdigest()}"


@dataclass(slots=True)
class Delivery:
    """One event on its way to one endpoint."""

    event: Json
    body: bytes
    url: str
    due: float  # on the loop's clock
    attempts: int = 0
    status: str = "pending"  # pending | delivered | failed | dropped
    answer: str | None = None
    hurried: bool = False
    attempted: asyncio.Event = field(default_factory=asyncio.Event)

    def described(self) -> Json:
        return {
            "event": self.event["id"],
            "type": self.event["type"],
            "url": self.url,
            "status": self.status,
            "attempts": self.attempts,
            "answer": self.answer,
        }


class Deliveries:
    """All endpoints and what is on its way to them. Lives inside one event loop."""

    def __init__(
        self, *, secret: str, seed: int, now: Callable[[], datetime], note: Callable[[str, int], None]
    ) -> None:
        self.weather = Weather()
        self.history: deque[Delivery] = deque(maxlen=HISTORY_LENGTH)
        self._secret, self._seed, self._now, self._note = secret, seed, now, note
        self._waiting: dict[str, int] = {}  # event id → endpoints that have not received it
        self._endpoints: dict[str, _Endpoint] = {}
        self._started = False

    @property
    def urls(self) -> list[str]:
        return list(self._endpoints)

    def add_url(self, url: str) -> None:
        if url in self._endpoints:
            return
        draws = random.Random(f"{self._seed}/{len(self._endpoints)}")
        endpoint = _Endpoint(url, draws=draws, secret=self._secret, now=self._now, received=self._received)
        self._endpoints[url] = endpoint
        if self._started:
            endpoint.start()

    def accept(self, events: list[Json]) -> None:
        """Put new events on their way; returns at once."""
        for event in events:
            event["pending_webhooks"] = self._waiting[event["id"]] = len(self._endpoints)
            self._note(event["id"], len(self._endpoints))
            body = msgspec.json.encode(event)
            for endpoint in self._endpoints.values():
                self.history.extend(endpoint.accept(event, body, self.weather))

    def _received(self, event: str) -> None:
        self._waiting[event] -= 1
        self._note(event, self._waiting[event])

    async def flush(self) -> dict[str, int]:
        """Attempt all that is pending now, whatever its delay, and tell how that went."""
        hurried = [d for endpoint in self._endpoints.values() for d in endpoint.hurry()]
        for delivery in hurried:
            await delivery.attempted.wait()
        delivered = sum(delivery.status == "delivered" for delivery in hurried)
        pending = sum(len(endpoint.pending) for endpoint in self._endpoints.values())
        return {"delivered": delivered, "failed": len(hurried) - delivered, "pending": pending}

    def start(self) -> None:
        self._started = True
        for endpoint in self._endpoints.values():
            endpoint.start()

    async def close(self) -> None:
        self._started = False
        for endpoint in self._endpoints.values():
            await endpoint.close()


class _Endpoint:
    """One webhook URL: its queue, and the worker that empties it."""

    def __init__(
        self,
        url: str,
        *,
        draws: random.Random,
        secret: str,
        now: Callable[[], datetime],
        received: Callable[[str], None],
    ) -> None:
        self.url = url
        self._draws, self._secret, self._now, self._received = draws, secret, now, received
        self._queue: list[tuple[float, int, Delivery]] = []
        self._count = 0
        self._sending: Delivery | None = None
        self._held: Delivery | None = None
        self._reached: set[str] = set()
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def pending(self) -> list[Delivery]:
        waiting = [delivery for _, _, delivery in sorted(self._queue, key=lambda entry: entry[:2])]
        return [self._sending, *waiting] if self._sending else waiting

    def accept(self, event: Json, body: bytes, weather: Weather) -> list[Delivery]:
        """Draw this event's fate, always with as many draws, and queue what becomes of it."""
        drop, double, hold, first, second = (self._draws.random() for _ in range(5))
        copies = 2 if double < weather.duplicate else 1
        least, most = weather.delay_ms
        made = []
        clock = asyncio.get_running_loop().time()
        for share in (first, second)[:copies]:
            delay_s = (least + (most - least) * share) / 1000
            made.append(Delivery(event=event, body=body, url=self.url, due=clock + delay_s))
        if drop < weather.drop:
            made[0].status = "dropped"
            return made[:1]
        overtaken, self._held = self._held, None
        if hold < weather.reorder and overtaken is None:
            self._held = made[0]
            made[0].due += REORDER_WAIT_S
        for delivery in made:
            self._push(delivery)
        if overtaken is not None and overtaken.status == "pending":
            self._release(overtaken, after=made[0])
        self._wake.set()
        return made

    def hurry(self) -> list[Delivery]:
        """Make everything that waits due; the order stays as the weather made it."""
        hurried = self.pending
        for delivery in hurried:
            delivery.hurried = True
            if delivery is not self._sending:
                delivery.attempted.clear()
        self._wake.set()
        return hurried

    def start(self) -> None:
        self._worker = asyncio.create_task(self._work(), name=f"deliveries to {self.url}")

    async def close(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)

    def _push(self, delivery: Delivery) -> None:
        self._count += 1
        heapq.heappush(self._queue, (delivery.due, self._count, delivery))

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
                _, _, delivery = heapq.heappop(self._queue)
                self._sending = delivery
                delivery.attempted.clear()
                await self._attempt(client, delivery)
                self._sending = None
                delivery.attempted.set()

    def _note_delivered(self, delivery: Delivery) -> None:
        delivery.status = "delivered"
        if delivery.event["id"] not in self._reached:  # a duplicate counts once
            self._reached.add(delivery.event["id"])
            self._received(delivery.event["id"])

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
