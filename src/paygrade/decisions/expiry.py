"""When a decision ends by itself: the first instant at which another takes its place though nothing but time happens.

Laws: until then it reads the same whenever it is asked again on the same snapshot, and from then on it does not, unless
the snapshot has come to its end; asking costs one decision for each date in the snapshot that bears on the feature.
"""

from collections.abc import Iterator
from datetime import datetime

from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import Snapshot
from paygrade.usage.balances import Tally, freed_at, parse_slot


def holds_until(snapshot: Snapshot, feature: str, at: datetime, *, member: str | None = None) -> datetime:
    """Until when the decision on one more unit stays what it is at `at`, at the latest the end of the snapshot."""
    now = decide(snapshot, feature, 1, at, member=member)
    # What a shorter window denies, its end allows again.
    dates = {*_dates(snapshot, feature), now.resets_at or snapshot.until}
    for instant in sorted(date for date in dates if at < date < snapshot.until):
        if decide(snapshot, feature, 1, instant, member=member) != now:
            return instant
    return snapshot.until


def _dates(snapshot: Snapshot, feature: str) -> Iterator[datetime]:
    """Every instant at which the decision could turn."""
    pools = {feature}
    for span in snapshot.shape.spans:
        until, terms = snapshot.dates[span.until], span.terms.get(feature)
        if until is not None:
            yield until
        if terms is not None and terms.its.credit is not None:
            pools.add(terms.its.credit)
    for pool in pools:
        balance = snapshot.balances.get(pool)
        if balance is None or balance.detail is None:
            continue
        for grant in balance.detail.grants:
            yield grant.from_at
            if grant.until is not None:
                yield grant.until
        for hold in balance.detail.holds:
            yield hold.until
        for stored, tally in balance.detail.tallies.items():
            slot = parse_slot(stored)
            if slot.kind == "rolling":
                yield from _freed(tally, slot.length_s)


def _freed(tally: Tally, length_s: int) -> Iterator[datetime]:
    """When each bucket leaves a rolling window."""
    for bucket in tally.buckets:
        date = freed_at(Tally(buckets=(bucket,)), length_s)
        if date is not None:
            yield date
