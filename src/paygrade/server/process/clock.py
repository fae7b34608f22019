"""The clock: the one source of time in the shell.

Laws: time never moves backward; nothing but a clock that is followed shifts it; before a followed clock has
answered once, there is no time to give. Whoever moved the clock that is followed and has its answer finds
the new time here: the followed clock holds our request until it moves, and our next one tells that we have
seen it (`paygrade.simulator.http.followers`). Who is merely slow to start, or was not given the processor, is
not warned of: a followed clock is missing only when it has stayed away for a while.
"""

import asyncio
import secrets
import time
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

PATIENCE_S = 5.0
"""How long the followed clock may stay away before that is warned of: it may start with us, and later than we do."""

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
    def follows(self) -> bool:
        """Whether it shows another clock's time, so that no other system's instants compare with it."""
        return self._url is not None

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

    async def first(self) -> datetime:
        """The present, as soon as there is one: before a followed clock has answered there is nothing to do, nor to
        warn of."""
        while not self._answered:
            await asyncio.sleep(RETRY_S)
        return self.now()

    async def follow(self) -> None:
        """Follow the clock at `url` until cancelled; returns at once when there is none."""
        if self._url is None:
            return
        absence = _Absence(self._url)
        name, seen = secrets.token_hex(8), 0
        # Loading the certificates costs 50 ms, which a clock on loopback need not pay.
        timeout = httpx2.Timeout(5, read=HELD_MAX_S)
        async with httpx2.AsyncClient(timeout=timeout, verify=self._url.startswith("https:")) as client:
            while True:
                before = seen
                try:
                    seen = await self._ask(client, self._url, name=name, seen=seen)
                    absence.over()
                except (httpx2.HTTPError, msgspec.MsgspecError) as error:
                    absence.noticed(error)
                    # Another simulator may come in its place, which counts its own moves.
                    name, seen = secrets.token_hex(8), 0
                if seen == before or absence.lasts:
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


class _Absence:
    """How long a followed clock has not answered, which is warned of once when it has been for too long."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._since: float | None = None
        self._told = False

    @property
    def lasts(self) -> bool:
        return self._since is not None

    def over(self) -> None:
        self._since, self._told = None, False

    def noticed(self, error: Exception) -> None:
        now = time.monotonic()
        if self._since is None:
            # From the first failure on: a request that timed out may have waited for us, and not for the clock.
            self._since = now
        if now - self._since >= PATIENCE_S and not self._told:
            # Time-outs have no text of their own.
            log.warning("clock_unavailable", url=self._url, error=str(error) or type(error).__name__)
            self._told = True
