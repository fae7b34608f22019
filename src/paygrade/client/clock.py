"""The server's time, as one process knows it: from what was last told, and how the wall clock went on since.

Laws: time is the server's, whatever the machine's clock says; a clock that jumped, a process that slept and a server
that fell silent are noticed by whoever asks first, not by a thread that may be asleep as well.
"""

from datetime import UTC, datetime
from math import inf

from paygrade.decisions.following import Beat

SILENCES = 2.5
"""After so many beats without one, the server is not heard any more."""
BACK_S = 1.0
"""A clock that goes back further than this was set, not adjusted."""


class ServerClock:
    """Seconds are those of the wall clock, `time.time()`. What was told holds for instants in `[low, high)`."""

    def __init__(self) -> None:
        self.low, self.high = inf, -inf
        self.ahead_s = 0.0
        """How far the server's clock is ahead."""
        self.standing: datetime | None = None
        """The server's time where that does not go on by itself."""
        self.floor: datetime | None = None
        """Until the server is heard, a time that has been: it is not earlier, whatever this machine's clock says."""
        self.beat_s = 5.0
        self._heard_s = -inf

    def hear(self, beat: Beat, now_s: float) -> None:
        """The server said what time it is."""
        self.floor = None
        self.ahead_s = beat.now.timestamp() - now_s
        self.standing = beat.now if beat.stands_still else None
        self.hear_something(now_s)

    def hear_something(self, now_s: float) -> None:
        """The server is there."""
        self._heard_s = now_s
        self.low, self.high = now_s - BACK_S, now_s + SILENCES * self.beat_s

    def lose(self) -> None:
        """The server is not heard any more; its time goes on as it did."""
        self.low, self.high = inf, -inf

    def now(self, now_s: float) -> datetime:
        """The server's time."""
        if self.standing is not None:
            return self.standing
        found = datetime.fromtimestamp(now_s + self.ahead_s, UTC)
        if self.floor is not None:
            self.floor = found = max(found, self.floor)
        return found

    def age(self, now_s: float) -> float:
        """For how many seconds nothing was heard."""
        return max(0.0, now_s - self._heard_s)
