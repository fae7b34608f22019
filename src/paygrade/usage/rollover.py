"""Rollover: what one window leaves to the next, units nobody used or units that are owed.

Laws: what is carried into a window follows from the window before it alone; a unit is carried or used, never both, and
one that is carried for `n` windows is gone after them; over any number of windows, what was used is at most what was
given and what is owed at the end.
"""

from typing import NamedTuple

from paygrade.entitlements.model import Entitlement, carries


class Carried(NamedTuple):
    """What is carried into a window: units, below zero those that are owed. `lots`: of units that are carried for so
    many windows, those that the window before left, then those of the one before that, and so on."""

    units: int = 0
    lots: tuple[int, ...] = ()


NOTHING = Carried()


def takes_rollover(entitlement: Entitlement) -> bool:
    """Whether anything is carried into the window this counts in: nothing is from before the subscription's first."""
    window, begun = entitlement.from_at, entitlement.begun_at
    return carries(entitlement) and window is not None and begun is not None and window > begun


def carried_on(before: Entitlement, its: Entitlement, *, used: int, taken: int, into: Carried) -> Carried:
    """What the window of `before` leaves to the one of `its`.

    `used`: what was used and is held of its own units, `taken` of those carried `into` it. Of what is carried for a
    number of windows the oldest goes first; of what there is too much of, too.
    """
    own = (before.limit or 0) + min(into.units, 0) - used
    left = own + max(0, into.units - taken)
    if left <= 0:
        return Carried(left if before.owes and its.owes else 0)
    if its.rollover_windows is None:
        return Carried(min(its.rollover, left * its.rollover_share // 100))
    lots = (max(0, own) * its.rollover_share // 100, *_without(into, taken)[: its.rollover_windows - 1])
    kept, room = [], its.rollover
    for lot in lots:
        kept.append(min(lot, room))
        room -= kept[-1]
    while kept and not kept[-1]:
        kept.pop()
    return Carried(sum(kept), tuple(kept))


def _without(into: Carried, taken: int) -> list[int]:
    """The lots that are left of those carried into a window."""
    lots = list(into.lots or (max(0, into.units),))
    for place in reversed(range(len(lots))):
        gone = min(lots[place], taken)
        lots[place] -= gone
        taken -= gone
    return lots
