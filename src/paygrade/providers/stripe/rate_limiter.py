"""A token bucket: at most so many turns a second, for all threads together.

Stripe allows 100 requests a second in live mode and 25 on one endpoint (docs.stripe.com/rate-limits); what is asked
faster than that comes back as 429 and costs more than waiting.
"""

import threading
import time


class RateLimiter:
    """Hands out turns. A pause earns at most one second's worth of turns in a burst."""

    def __init__(self, turns_per_second: float) -> None:
        if turns_per_second <= 0:
            raise ValueError("turns_per_second must be above 0")
        self._per_second = turns_per_second
        self._burst = max(1.0, turns_per_second)
        self._turns = self._burst
        self._counted_s: float | None = None
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Block until it is this caller's turn."""
        with self._lock:
            wait_s = self.take(time.monotonic())
        if wait_s > 0:
            time.sleep(wait_s)

    def take(self, now_s: float) -> float:
        """Take a turn and say in how many seconds it comes; `now_s` never goes back.

        The turn is taken at once, on credit if need be: callers then wait side by side, each for its own time.
        """
        if self._counted_s is not None:
            self._turns = min(self._burst, self._turns + (now_s - self._counted_s) * self._per_second)
        self._counted_s = now_s
        self._turns -= 1
        return max(0.0, -self._turns / self._per_second)
