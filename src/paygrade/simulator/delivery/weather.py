"""Bad weather: how badly webhooks are delivered and requests are answered, drawn from the seed.

Laws. What is not asked for is calm. Every event and every request costs the same number of draws whatever the
weather, so the same run meets the same mishaps. Nothing here acts: `endpoints` and `app` do what is drawn.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated

import msgspec

from paygrade.simulator.forms import Json

Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Rate = Annotated[float, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]

RETRY_AFTER_S = 1
FAILURES = (500, 502, 503)


class Weather(msgspec.Struct, frozen=True):
    """The bounds of delays, and probabilities per event, per delivery or per request."""

    delay_ms: tuple[Milliseconds, Milliseconds] = (0, 0)
    duplicate: Probability = 0.0
    drop: Probability = 0.0
    reorder: Probability = 0.0
    twice: Probability = 0.0  # two events, of two ids, tell of one change
    late: Probability = 0.0  # delivered hours later on the simulator's clock
    thin: Probability = 0.0  # a notification without the object
    burst_s: Seconds = 0.0  # hold deliveries back for that long, then send them at once
    timeout: Probability = 0.0
    hang_ms: tuple[Milliseconds, Milliseconds] = (1000, 5000)  # how long a timeout hangs
    error: Probability = 0.0
    rate_limit: Probability = 0.0
    rate_limit_per_s: Rate = 0.0  # 0: any number of requests
    lag_ms: tuple[Milliseconds, Milliseconds] = (0, 0)


def parse_weather(wanted: Json) -> Weather:
    """Read a whole weather; what is not mentioned is calm. Raises ValueError with a message for a person."""
    if unknown := set(wanted) - set(Weather.__struct_fields__):
        keys = ", ".join(Weather.__struct_fields__)
        raise ValueError(f"unknown weather `{min(unknown)}`; the keys are {keys}")
    try:
        weather = msgspec.convert(wanted, Weather)
    except msgspec.ValidationError as error:
        raise ValueError(f"no such weather: {error}") from None
    for name in ("delay_ms", "hang_ms", "lag_ms"):
        least, most = getattr(weather, name)
        if least > most:
            raise ValueError(f"`{name}` is [least, most]")
    return weather


@dataclass(frozen=True, slots=True)
class Mishap:
    """What becomes of one API request."""

    limited: bool = False
    failure: int | None = None  # a status instead of the answer
    hangs_s: float | None = None  # no answer: the connection is closed after that
    takes_effect: bool = True
    lag_s: float = 0.0  # a read answers with the state of that long ago


class Skies:
    """The weather over the API: one mishap, or none, for each request."""

    def __init__(self, seed: int) -> None:
        self._draws = random.Random(f"{seed}/requests")
        self._event_draws = random.Random(f"{seed}/events")
        self._allowance = 0.0
        self._refilled_at: float | None = None  # on the loop's clock

    def meet(self, weather: Weather, *, at_s: float) -> Mishap:
        refused, hangs, fails, effect, which, share = (self._draws.random() for _ in range(6))
        least, most = weather.lag_ms
        lag_s = (least + (most - least) * share) / 1000
        if refused < weather.rate_limit or self._exhausted(weather.rate_limit_per_s, at_s=at_s):
            return Mishap(limited=True, takes_effect=False)
        if hangs < weather.timeout:
            least, most = weather.hang_ms
            hangs_s = (least + (most - least) * which) / 1000
            return Mishap(hangs_s=hangs_s, takes_effect=effect < 0.5, lag_s=lag_s)
        if fails < weather.error:
            failure = FAILURES[int(which * len(FAILURES))]
            return Mishap(failure=failure, takes_effect=effect < 0.5, lag_s=lag_s)
        return Mishap(lag_s=lag_s)

    def tell_twice(self, weather: Weather) -> bool:
        return self._event_draws.random() < weather.twice

    def _exhausted(self, per_s: float, *, at_s: float) -> bool:
        """Take from a bucket that holds one second's requests."""
        if per_s <= 0:
            self._refilled_at = None
            return False
        if self._refilled_at is None:
            self._refilled_at, self._allowance = at_s, max(1.0, per_s)
        self._allowance = min(max(1.0, per_s), self._allowance + (at_s - self._refilled_at) * per_s)
        self._refilled_at = at_s
        if self._allowance < 1:
            return True
        self._allowance -= 1
        return False
