"""Sending accounts to those who decide by themselves: `following.remembered` reads what this writes."""

from collections.abc import Iterable

from msgspec import Raw

from paygrade.decisions.following import View
from paygrade.decisions.snapshots import Shape, Snapshot


def views(remembered: Iterable[Snapshot]) -> tuple[tuple[Raw, ...], tuple[View, ...]]:
    """These accounts as they are sent: their shapes, and the accounts."""
    places: dict[Shape, int] = {}
    made = []
    for its in remembered:
        assert its.counts is not None
        place = places.setdefault(its.shape, len(places))
        made.append(
            View(
                its.account, its.version, None if its.until == its.dates[2] else its.until, place, its.dates, its.names,
                tuple(its.counts), its.balances, its.roles, its.seats, its.known,
            )
        )  # fmt: skip
    return tuple(Raw(shape.written) for shape in places), tuple(made)
