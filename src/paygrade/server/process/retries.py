"""Retries: how long to pause after a failure, for everything that is tried again."""

import random
from contextvars import ContextVar

from paygrade.values.errors import Unavailable

FIRST_S, MAX_S = 1.0, 300.0
DRAWN: ContextVar[random.Random | None] = ContextVar("drawn", default=None)
"""Where lengths of pauses are drawn from, if not from the system."""

# Without a state, which each copy of the process would have as well.
_system = random.SystemRandom()


def pause_s(attempts: int, error: Exception) -> float:
    """Seconds to pause after so many failures in a row before this one: twice as long each time, from half to all of
    it, so that many do not come back together; at least as long as was asked for."""
    pause = min(FIRST_S * 2.0 ** min(attempts, 16), MAX_S) * (DRAWN.get() or _system).uniform(0.5, 1.0)
    asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
    return max(pause, asked_s or 0)
