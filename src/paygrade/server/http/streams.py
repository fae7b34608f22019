"""Streams: how what a process is told goes on to whoever holds a connection open.

Laws: nothing on the way may keep an event back; a date is told when it comes, by the clock that is followed; a stream
ends with the token that opened it, and what has come by then is told before, or with the key, a beat later at most.
"""

from collections.abc import Callable
from datetime import datetime

from paygrade.decisions.snapshots import Snapshot
from paygrade.server.process.clock import Clock
from paygrade.server.state.broadcast import Follower

BEAT_S = 5.0
"""How often the time is told. Whoever hears nothing for 2.5 times that has lost the stream."""
RETRY_MS = 1_000
"""How long a client should wait before it connects again, about: it spreads that by chance."""
HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""Nothing on the way may keep events back."""
_EPSILON_S = 0.002
"""A wait may end so much too soon."""


class Listening:
    """What a stream waits for: what its follower is told, and dates. `until`: its end; None: there is none. `counts`:
    whether the key it was opened with counts still."""

    def __init__(
        self,
        follower: Follower,
        clock: Clock,
        *,
        until: datetime | None,
        counts: Callable[[], bool] = lambda: True,
        beat_s: float = BEAT_S,
    ) -> None:
        self._follower, self._clock, self._until, self._counts, self._beat_s = follower, clock, until, counts, beat_s

    async def next(self, date: datetime | None) -> tuple[bytes, tuple[str, ...]] | None:
        """The next event, and which accounts changed by it. None: it is time to look at the time, since this date has
        come, the clock was moved, or `beat_s` has passed. Raises EOFError where the stream ends."""
        now, patience_s = self._clock.now(), self._beat_s
        if self._until is not None and now >= self._until and (date is None or now < date):
            raise EOFError
        for instant in (date, self._until):
            # A clock that stands still brings no date by itself, but may have been moved meanwhile.
            if instant is not None and (instant <= now or not self._clock.stands_still):
                patience_s = min(patience_s, max((instant - now).total_seconds() + _EPSILON_S, 0))
        told = await self._follower.next(patience_s)
        if not self._counts():
            raise EOFError
        return told if told is not None and told[0] else None


def next_date(snapshot: Snapshot, at: datetime) -> datetime:
    """When a date changes what is had, or a new snapshot has to be taken to know."""
    ends = [snapshot.dates[span.until] for span in snapshot.shape.spans]
    return next((end for end in ends if end is not None and end > at), snapshot.until)
