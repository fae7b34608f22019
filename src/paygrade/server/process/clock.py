"""The clock: the one source of time in the shell.

Laws: time never moves backward; nothing but a clock that is followed shifts it; before a followed clock has
answered once, there is no time to give.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx2
import msgspec
import structlog
from msgspec import Struct

from paygrade.values.errors import Unavailable

log = structlog.get_logger("paygrade.clock")

POLL_S = 0.05
"""How far a followed clock can be ahead of us."""


class _Told(Struct, frozen=True):
    """What `GET /_simulator/clock` says. `running` False: the instant stands still until somebody moves it."""

    now: datetime
    running: bool


class Clock:
    """The system's clock, or the simulator's when `url` is set (run `follow` for as long as it is used)."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url.rstrip("/") + "/_simulator/clock" if url else None
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._offset = timedelta(0)
        self._frozen: datetime | None = None
        self._answered = url is None

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
        # Loading the certificates costs 50 ms, which a clock on loopback need not pay.
        async with httpx2.AsyncClient(timeout=5, verify=self._url.startswith("https:")) as client:
            while True:
                try:
                    await self._ask(client, self._url)
                    failing = False
                except (httpx2.HTTPError, msgspec.MsgspecError) as error:
                    if not failing:
                        log.warning("clock_unavailable", url=self._url, error=str(error))
                    failing = True
                await asyncio.sleep(POLL_S)

    async def _ask(self, client: httpx2.AsyncClient, url: str) -> None:
        answer = await client.get(url)
        answer.raise_for_status()
        told = msgspec.json.decode(answer.content, type=_Told)
        self._frozen = None if told.running else told.now
        self._offset = told.now - datetime.now(UTC)
        self._answered = True
