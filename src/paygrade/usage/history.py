"""History: what the ledger's entries add up to, at any instant.

Laws: `fold` rebuilds every balance from its entries alone, in any order; an entry counts from when it was recorded,
what a reservation held until it expired, from that instant.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from fractions import Fraction
from itertools import groupby

from msgspec import Struct

from paygrade.usage.balances import Row, SlotDetail, put, rolling_s
from paygrade.usage.entries import Posting


class Drawn(Struct, frozen=True):
    """What one entry drew, and when."""

    time: datetime
    draws: tuple[Posting, ...]


def fold(entries: Iterable[Drawn]) -> dict[tuple[str, str], Row]:
    """What is used and held by pool and slot, after these entries."""
    used: dict[tuple[str, str], int] = defaultdict(int)
    reserved: dict[tuple[str, str], int] = defaultdict(int)
    ahead: dict[tuple[str, str], Fraction] = defaultdict(Fraction)
    rolling: dict[tuple[str, str], list[tuple[datetime, int]]] = defaultdict(list)
    for entry in entries:
        paid = 0
        for draw in entry.draws:
            key = (draw.pool, draw.slot)
            used[key] += draw.used
            reserved[key] += draw.reserved
            if draw.exact is not None:
                # What it was paid with stands right before it: an entry may use several features.
                ahead[key] += paid - Fraction(draw.exact)
                paid = 0
            elif " " not in draw.slot or draw.slot.startswith(("carried ", "grant:")):
                paid += draw.used
            if draw.slot.startswith("rolling ") and draw.used:
                rolling[key].append((entry.time, draw.used))
    rows = {}
    for key in used:
        detail = SlotDetail(
            ahead=(ahead[key].numerator, ahead[key].denominator) if ahead.get(key) else None,
            buckets=_buckets(rolling[key], rolling_s(key[1])) if key in rolling else (),
        )
        rows[key] = Row(used[key], reserved[key], None if detail == SlotDetail() else detail)
    return rows


def _buckets(used: list[tuple[datetime, int]], length_s: int) -> tuple[tuple[int, int], ...]:
    buckets: tuple[tuple[int, int], ...] = ()
    for at, units in sorted(used):
        buckets = put(buckets, units, length_s, at)
    return buckets


class Stretch(Struct, frozen=True):
    """Units that came from one slot without another in between: a piece of how a balance burned down."""

    pool: str
    slot: str
    from_at: datetime
    until: datetime
    units: int


def burn_down(entries: Iterable[tuple[datetime, Posting]]) -> tuple[Stretch, ...]:
    """The draws in the order they were recorded, as stretches."""
    used = [(at, draw) for at, draw in entries if draw.used]
    found = []
    for (pool, slot), run in groupby(used, key=lambda pair: (pair[1].pool, pair[1].slot)):
        drawn = list(run)
        found.append(Stretch(pool, slot, drawn[0][0], drawn[-1][0], sum(draw.used for _, draw in drawn)))
    return tuple(found)
