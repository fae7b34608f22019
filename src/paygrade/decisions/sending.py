"""Sending accounts to those who decide by themselves: `following.remembered` reads what this writes."""

from collections.abc import Iterable

from msgspec import Raw

from paygrade.decisions.following import Remembered, View
from paygrade.decisions.snapshots import Shape


def views(remembered: Iterable[Remembered]) -> tuple[tuple[Raw, ...], tuple[View, ...]]:
    """These accounts as they are sent: their shapes, and the accounts."""
    places: dict[Shape, int] = {}
    made = []
    for one in remembered:
        its, counts, rest = one.snapshot, {}, {}
        for pool, balance in its.balances.items():
            plain = balance.detail is None and pool in its.shape.pools and balance.from_at == one.window(pool)
            if plain:
                counts[pool] = (balance.used, balance.reserved)
            else:
                rest[pool] = balance
        place = places.setdefault(its.shape, len(places))
        made.append(
            View(
                its.account, its.version, None if its.until == its.dates[2] else its.until, place, its.dates, its.names,
                one.versions, counts, rest, its.roles, its.seats, its.known,
            )
        )  # fmt: skip
    return tuple(Raw(shape.written) for shape in places), tuple(made)
