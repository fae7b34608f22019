"""The clock: the one source of time in the shell.

Laws: time never moves backward; nothing but a clock that is followed shifts it; before a followed clock has
answered once, there is no time to give. Whoever moved the clock that is followed and has its answer finds
the new time here: the followed clock holds our request until it moves, and our next one tells that we have
seen it (`paygrade.simulator.http.followers`).
"""

import asyncio
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx2
import msgspec
import structlog
from msgspec import Struct

from paygrade.values.errors import Unavailable

log = structlog.get_logger("paygrade.clock")

RETRY_S = 0.05
"""How long until the next request when the followed clock is away, or answers without news."""

HELD_MAX_S = 30.0
"""How long a request may be held; the simulator answers after 20 s at the latest."""


class _Told(Struct, frozen=True):
    """What `GET /_simulator/clock` says. `running` False: the instant stands still until somebody moves it."""

    now: datetime
    running: bool
    version: int = 0  # counts the moves; 0: a clock that holds no requests


class Clock:
    """The system's clock, or the simulator's when `url` is set (run `follow` for as long as it is used)."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url.rstrip("/") + "/_simulator/clock" if url else None
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._offset = timedelta(0)
        self._frozen: datetime | None = None
        self._answered = url is None
        self._hearers: list[Callable[[], None]] = []

    @property
    def stands_still(self) -> bool:
        """Whether time does not go on by itself: a simulator's clock that somebody moves."""
        return self._frozen is not None

    def hear_moves(self, hear: Callable[[], None]) -> None:
        """Call `hear` whenever the clock that is followed was moved, before whoever moved it has its answer."""
        self._hearers.append(hear)

    def now(self) -> datetime:
        """The present, in UTC. Unavailable while a followed clock has not answered yet."""
        if not self._answered:
            raise Unavailable("clock_unavailable", f"the clock at `{self._url}` has not answered yet; is it running?")
        now = self._frozen or datetime.now(UTC)
        if self._offset and self._frozen is None:
            now += self._offset
        if now > self._latest:
            self._latest = now
        return self._latest

    async def follow(self) -> None:
        """Follow the clock at `url` until cancelled; returns at once when there is none."""
        if self._url is None:
            return
        failing = False
        name, seen = secrets.token_hex(8), 0
        # Loading the certificates costs 50 ms, which a clock on loopback need not pay.
        timeout = httpx2.Timeout(5, read=HELD_MAX_S)
        async with httpx2.AsyncClient(timeout=timeout, verify=self._url.startswith("https:")) as client:
            while True:
                before = seen
                try:
                    seen = await self._ask(client, self._url, name=name, seen=seen)
                    failing = False
                except (httpx2.HTTPError, msgspec.MsgspecError) as error:
                    if not failing:
                        log.warning("clock_unavailable", url=self._url, error=str(error))
                    failing = True
                    # Another simulator may come in its place, which counts its own moves.
                    name, seen = secrets.token_hex(8), 0
                if seen == before or failing:
                    await asyncio.sleep(RETRY_S)

    async def _ask(self, client: httpx2.AsyncClient, url: str, *, name: str, seen: int) -> int:
        """Ask for the time once it has moved from what was seen, and give the version that is seen now."""
        answer = await client.get(url, params={"follower": name, "after": seen})
        answer.raise_for_status()
        told = msgspec.json.decode(answer.content, type=_Told)
        self._frozen = None if told.running else told.now
        self._offset = told.now - datetime.now(UTC)
        self._answered = True
        for hear in self._hearers:
            hear()
        return told.version
