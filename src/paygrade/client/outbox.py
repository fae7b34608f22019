"""Usage that is reported later: kept in memory until the server has it.

Laws: an event has its id before it is sent the first time, so that sending it again changes nothing; what the server
has taken leaves, and nothing else does, except what finds no room.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from paygrade.usage.events import UsageEvent

BATCH_MAX, GATHER_S = 1_000, 0.5
"""How many are sent at once, and how long fewer are waited for."""

_encode = msgspec.json.Encoder().encode


class Outbox:
    """At most `events_max` events."""

    def __init__(self, events_max: int) -> None:
        self._events_max = events_max
        self._waiting: deque[bytes] = deque()
        self.dropped = 0
        self.rejected = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: UsageEvent) -> bool:
        """False: there is no room for it."""
        if len(self._waiting) >= self._events_max:
            self.dropped += 1
            return False
        self._waiting.append(_encode(event))
        return True

    def next(self) -> tuple[bytes, int]:
        """The body of the next request, and how many events are in it."""
        some: Sequence[bytes] = [self._waiting[place] for place in range(min(BATCH_MAX, len(self._waiting)))]
        return b"[" + b",".join(some) + b"]", len(some)

    def sent(self, count: int, rejected: int) -> None:
        """The server has the first `count`, but for some that it does not take."""
        for _ in range(count):
            self._waiting.popleft()
        self.rejected += rejected
