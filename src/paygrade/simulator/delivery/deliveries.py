"""Webhook delivery: every new event on its way to every endpoint, and the count of those still without it.

Laws. A dropped event keeps its pending count: only the events list tells of it. A flush attempts all that
waits, late or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime

import msgspec

from paygrade.simulator.delivery.endpoints import Delivery, Endpoint
from paygrade.simulator.delivery.weather import Weather
from paygrade.simulator.forms import Json

HISTORY_LENGTH = 200


class Deliveries:
    """All endpoints and what is on its way to them. Lives inside one event loop."""

    def __init__(
        self, *, secret: str, seed: int, now: Callable[[], datetime], note: Callable[[str, int], None]
    ) -> None:
        self.history: deque[Delivery] = deque(maxlen=HISTORY_LENGTH)
        self._secret, self._seed, self._now, self._note = secret, seed, now, note
        self._waiting: dict[str, int] = {}  # event id → endpoints that have not received it
        self._endpoints: dict[str, Endpoint] = {}  # by URL, or by id if it was made by API
        self._made = 0
        self._started = False

    @property
    def urls(self) -> list[str]:
        return [endpoint.url for endpoint in self._endpoints.values()]

    @property
    def next_late(self) -> datetime | None:
        """When the next late delivery leaves, on the simulator's clock."""
        return min((late for e in self._endpoints.values() if (late := e.next_late) is not None), default=None)

    def add_url(self, url: str, *, thin: bool = False) -> None:
        """Add an endpoint, or say anew whether one gets thin notifications."""
        if url in self._endpoints:
            self._endpoints[url].thin = thin
            return
        self._add(url, url, secret=self._secret).thin = thin

    def keep_to(self, wanted: list[tuple[Json, str]]) -> None:
        """Have exactly these endpoints of those made by API, each with its secret, and those added by URL."""
        ids = {endpoint["id"] for endpoint, _ in wanted}
        for gone in [key for key in self._endpoints if key.startswith("we_") and key not in ids]:
            asyncio.get_running_loop().create_task(self._endpoints.pop(gone).close())
        for endpoint, secret in wanted:
            known = self._endpoints.get(endpoint["id"]) or self._add(endpoint["id"], endpoint["url"], secret=secret)
            known.url, known.events = endpoint["url"], frozenset(endpoint["enabled_events"])

    def _add(self, key: str, url: str, *, secret: str) -> Endpoint:
        endpoint = Endpoint(
            url,
            thin=False,
            seed=f"{self._seed}/{self._made}",
            secret=secret,
            now=self._now,
            received=self._received,
        )
        self._made += 1
        self._endpoints[key] = endpoint
        if self._started:
            endpoint.start()
        return endpoint

    def accept(self, events: list[Json], weather: Weather) -> None:
        """Put new events on their way, and late ones whose hour has come; returns at once."""
        for event in events:
            wanting = [endpoint for endpoint in self._endpoints.values() if endpoint.wants(event["type"])]
            event["pending_webhooks"] = len(wanting)
            self._note(event["id"], len(wanting))
            if not wanting:
                continue
            self._waiting[event["id"]] = len(wanting)
            body = msgspec.json.encode(event)
            for endpoint in wanting:
                self.history.extend(endpoint.accept(event, body, weather))
        for endpoint in self._endpoints.values():
            endpoint.ripen(self._now())

    def _received(self, event: str) -> None:
        self._waiting[event] -= 1
        self._note(event, self._waiting[event])
        if not self._waiting[event]:
            del self._waiting[event]

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
