"""Usage that is reported later: kept in memory until the server has it.

Laws: an event has its id before it is sent the first time, so that sending it again changes nothing; what the server
has taken leaves, and nothing else does, except what finds no room.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

BATCH_MAX, EVENT_BYTES_MAX = 1_000, 16 * 1024
"""How many events are sent at once, which is no more than the server takes of the largest."""


class Waiting(Protocol):
    """Where events wait to be sent: in memory, or on disk (`spool.py`)."""

    dropped: int
    """For how many there was no room."""
    rejected: int
    """How many the server did not take."""

    def __len__(self) -> int: ...

    def put(self, event: bytes) -> bool:
        """Keep an event, in JSON. False: there is no room for it."""

    def next(self) -> tuple[bytes, int]:
        """The body of the next request, and how many events are in it."""

    def sent(self, rejected: int) -> None:
        """The server has what `next` gave last, but for some that it does not take."""

    def save(self) -> None:
        """Have the disk hold what could not be sent."""

    def adopt(self) -> bool:
        """Take over what processes left that are gone; whether there was anything."""

    def forget(self) -> None:
        """This is a fork: what waits here is the parent's."""

    def close(self) -> None:
        """Let go of what waits, for others to send."""


class Outbox(Waiting):
    """At most `events_max` events, for as long as the process lives."""

    def __init__(self, events_max: int) -> None:
        self._events_max = events_max
        self._waiting: deque[bytes] = deque()
        self._under_way = 0
        self.dropped = self.rejected = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: bytes) -> bool:
        if len(self._waiting) >= self._events_max:
            self.dropped += 1
            return False
        self._waiting.append(event)
        return True

    def next(self) -> tuple[bytes, int]:
        some: Sequence[bytes] = [self._waiting[place] for place in range(min(BATCH_MAX, len(self._waiting)))]
        self._under_way = len(some)
        return b"[" + b",".join(some) + b"]", len(some)

    def sent(self, rejected: int) -> None:
        for _ in range(self._under_way):
            self._waiting.popleft()
        self.rejected += rejected

    def save(self) -> None:
        return

    def adopt(self) -> bool:
        return False

    def forget(self) -> None:
        return

    def close(self) -> None:
        return
