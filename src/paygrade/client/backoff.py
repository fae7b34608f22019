"""How long to wait before trying again: full jitter, so that a thousand clients of a server that comes back do not come
back together."""

from random import uniform

FIRST_S, LONGEST_S = 0.2, 30.0


class Backoff:
    """Counts failures in a row."""

    def __init__(self) -> None:
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def wait_s(self, at_least_s: float | None = None) -> float:
        """For how long to wait after one more failure; `at_least_s`: what the server asked for."""
        self._failures += 1
        longest = min(LONGEST_S, FIRST_S * 2 ** min(self._failures - 1, 10))
        return (at_least_s or 0.0) + uniform(longest / 20, longest)
