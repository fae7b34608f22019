"""The weather of a run: what can go wrong in it, and how probable that is, drawn from its seed.

Law: whether somebody changes plans in a world is told by its seed alone, so every other world stays as it was.
"""

import random
from datetime import timedelta

from msgspec import Struct

from simulation.merchant import DAY_S

from .hostile import Crashes
from .provider import Network

OWNERS_EVERY = 3
"""In every third world owners change their plans."""


class Weather(Struct, frozen=True):
    """Everything that can go wrong in a run, as probabilities per event, statement, request or happening."""

    loss: float
    duplicate: float
    doubled: float
    """Two events for one change."""
    thin: float
    burst: float
    late: float
    disaster: float
    limit: int
    """How many subjects a worker takes at a time."""
    crashes: Crashes
    network: Network
    polls: bool
    """Whether the server polls for events, from its start on."""
    sweep_every: timedelta | None
    looks_s: float
    """The longest that nobody looks whether to poll or to sweep."""
    swept_at_once: bool
    """Whether somebody asks for a sweep when the weather clears, with everything still on its way."""
    page_size: int


def drawn_weather(draw: random.Random) -> Weather:
    bad = draw.choice((0.0, 0.3, 1.0, 2.0))
    return Weather(
        loss=draw.choice((0.0, 0.0, 0.05, 0.3, 0.9)),
        duplicate=0.15,
        doubled=draw.choice((0.0, 0.1)),
        thin=draw.choice((0.0, 0.5, 1.0)),
        burst=draw.choice((0.0, 0.3)),
        late=draw.choice((0.05, 0.4)),
        disaster=0.15 * bad,
        limit=draw.choice((1, 3, 100)),
        crashes=Crashes(statement=0.004 * bad, before_commit=0.01 * bad, after_commit=0.01 * bad, stall=0.002 * bad),
        network=Network(failing=0.03 * bad, slow=draw.choice((0.1, 0.5)), lag_s=draw.choice((0.0, 0.0, 0.0, 20.0))),
        polls=draw.choice((False, True)),
        sweep_every=draw.choice((None, timedelta(days=1), timedelta(days=7))),
        looks_s=draw.choice((DAY_S, 4 * DAY_S, 31 * DAY_S)),
        swept_at_once=draw.choice((False, True)),
        page_size=draw.choice((1, 2, 100)),
    )


def has_owners(seed: int) -> bool:
    return seed % OWNERS_EVERY == 1
