"""Leases: units that one process holds, and claims before it uses them.

Laws: what a process may use counts as used before it may use it; no step takes a window over its limit, and where it is
over already nothing can be claimed; what was claimed and not used comes back once, and nothing else does; whoever asks
for units leaves most of what is left to others, down to single units.
"""

from msgspec import Struct

from paygrade.usage.balances import Row

SHARE = 4
"""One of so many parts of what is left goes to one request."""


class LeaseMove(Struct, frozen=True):
    """What a step of a lease adds to its slot (`used`, `reserved`), what the lease holds and has claimed after it, and
    how many `units` to hold and to `claim` it was given."""

    used: int
    reserved: int
    held: int
    claimed: int
    units: int
    claim: int


def move_lease(
    row: Row,
    limit: int | None,
    *,
    held: int = 0,
    claimed: int = 0,
    good: bool,
    unused: int = 0,
    units: int = 0,
    claim: int = 0,
    end: bool = False,
) -> LeaseMove:
    """Give back, hold more, claim and end, in this order, on the slot as it is kept.

    `held` and `claimed` are the lease's own before, `unused` at most what is claimed. `limit` None: going over it is
    allowed. A lease that is not `good` any more holds nothing, and nothing can be claimed from it.
    """
    used, others = row.used, row.reserved - held
    # Usage may have been set anew since, below what was claimed: what is used never falls below zero.
    back = min(unused, max(0, used))
    used -= back
    room = None if limit is None else max(0, limit - used - others)
    mine = held + (0 if end else back) if good else 0
    if room is not None:
        mine = min(mine, room)
    given = _given(None if room is None else room - mine, units) if good else 0
    mine += given
    taken = min(claim, mine)
    mine = 0 if end else mine - taken
    return LeaseMove(
        used + taken - row.used, others + mine - row.reserved, mine, claimed - unused + taken, given, taken
    )


def _given(left: int | None, units: int) -> int:
    """How many of the `units` asked for are held, where so many are left."""
    if left is None:
        return units
    return min(units, left, max(1, left // SHARE))
