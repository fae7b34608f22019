"""History: what the ledger's entries add up to, at any instant.

Laws: a row is the sum of its postings, and `post` is the one place where one is added; `fold` rebuilds every balance
from its entries alone, in any order; an entry counts from when it was recorded,
what a reservation held until it expired, from that instant.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from fractions import Fraction
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from paygrade.entitlements.model import Entitlement
from paygrade.usage.balances import Balance, Row, SlotDetail, parse_slot, put, rolling_slot, slot_of
from paygrade.usage.entries import Posting
from paygrade.usage.ledger import counted
from paygrade.values.text import on_wire


class Drawn(Struct, frozen=True):
    """What one entry drew, and when."""

    time: datetime
    draws: tuple[Posting, ...]


def post(postings: Iterable[Posting], at: datetime, row_of: Callable[[Posting], Row]) -> Iterator[tuple[Posting, Row]]:
    """Each posting of one entry with its row after it. Take each in before the next: `row_of` is asked of it anew.

    What a feature was paid with stands right before its exact price: an entry may use several features. `at` is when
    it happened, for rolling windows.
    """
    paid = 0
    for posting in postings:
        row, slot = row_of(posting), parse_slot(posting.slot)
        detail = row.detail
        if posting.exact is not None:
            detail = _paid_ahead(detail, paid - Fraction(posting.exact))
            paid = 0
        elif slot.pays:
            paid += posting.used
        elif slot.kind == "rolling":
            buckets = put(detail.buckets if detail else (), posting.used, slot.length_s, at)
            detail = SlotDetail(buckets=buckets) if buckets else None
        yield posting, Row(row.used + posting.used, row.reserved + posting.reserved, detail)


def _paid_ahead(detail: SlotDetail | None, more: Fraction) -> SlotDetail | None:
    """The detail after so much more was paid than used."""
    before = detail or SlotDetail()
    ahead = Fraction(*(before.ahead or (0, 1))) + more
    changed = replace(before, ahead=(ahead.numerator, ahead.denominator) if ahead else None)
    return None if changed == SlotDetail() else changed


def restate(entitlement: Entitlement, balance: Balance, used: int, at: datetime) -> tuple[Posting, ...]:
    """What stating that so many are used draws: the difference, in the window and, where that rolls, of its seconds."""
    more = used - counted(entitlement, balance, at)[0]
    places = [slot_of(entitlement.from_at)]
    if entitlement.rolling_s is not None:
        places.append(rolling_slot(entitlement.rolling_s))
    return tuple(Posting(entitlement.feature, place, more) for place in places) if more else ()


def fold(entries: Iterable[Drawn]) -> dict[tuple[str, str], Row]:
    """What is used and held by pool and slot, after these entries."""
    rows: dict[tuple[str, str], Row] = {}
    for entry in sorted(entries, key=lambda entry: entry.time):
        for posting, row in post(entry.draws, entry.time, lambda p: rows.get((p.pool, p.slot), _NOTHING)):
            rows[posting.pool, posting.slot] = row
    return rows


_NOTHING = Row()


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
        found.append(Stretch(pool, slot, drawn[0][0], drawn[-1][0], on_wire(sum(draw.used for _, draw in drawn))))
    return tuple(found)
