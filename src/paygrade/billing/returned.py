"""What follows for a subscription when the payment of its period goes back: by a refund, a dispute or a credit note.

Laws: it follows from what went back and the policy alone, so a dispute that is won gives everything back; of several
consequences all hold, so none leaves more than it does alone; what went back of earlier periods has none, and the next
payment begins anew.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import get_args

from msgspec import Struct

from paygrade.billing.facts import ReturnedOfPeriod
from paygrade.catalog.model import Consequence, Consequences, ReturnedPayment

_STRICTNESS: tuple[Consequence, ...] = get_args(Consequence)


class Outcome(Struct, frozen=True):
    """Since when access has ended, or when it will; and of how much of the payment the units are void. `read_only`:
    until then only reading and exporting is left. `note` says it to a person; empty: nothing follows."""

    ends_at: datetime | None = None
    ended: bool = False
    voided: int = 0
    paid: int = 1
    note: str = ""
    read_only: bool = False


NOTHING = Outcome()


def has_consequences(policy: ReturnedPayment) -> bool:
    """Whether it matters at all what went back."""
    return policy != ReturnedPayment()


def outcome_of(returned: ReturnedOfPeriod | None, policy: ReturnedPayment, at: datetime) -> Outcome:
    """What follows at `at` from what went back of the payment of a period."""
    if returned is None or returned.paid <= 0 or returned.total <= 0:
        return NOTHING
    whole = returned.total >= returned.paid
    kinds = [(what, amount, said.full if whole else said.partial) for what, amount, said in _kinds(returned, policy)]
    strictest = max((said for _, _, said in kinds), key=_STRICTNESS.index)
    voided = min(sum(amount for _, amount, said in kinds if said == "void_rest"), returned.paid)
    words = {said for _, _, said in kinds}
    ends_at = returned.until if "end_at_period_end" in words and strictest != "end_now" else None
    ended = strictest == "end_now" or (ends_at is not None and at >= ends_at)
    note = _note(kinds, "end_at_period_end" if ended and ends_at else strictest, returned, ends_at, ended=ended)
    return Outcome(None if ended else ends_at, ended, voided, returned.paid, note, "read_only" in words and not ended)


def units_of(units: int, counted: int, *, paid: int) -> int:
    """How many of the units that were `paid` for so much of that has paid for; a part of a unit counts whole."""
    return -(-units * min(counted, paid) // paid)


def _kinds(returned: ReturnedOfPeriod, policy: ReturnedPayment) -> Iterator[tuple[str, int, Consequences]]:
    if returned.refunded:
        yield "refunded", returned.refunded, policy.refund
    if returned.disputed:
        yield "disputed", returned.disputed, policy.dispute
    if returned.lost:
        yield "lost by a dispute", returned.lost, policy.dispute_lost or policy.dispute
    if returned.credited:
        yield "credited", returned.credited, policy.credit_note


def _note(
    kinds: list[tuple[str, int, Consequence]],
    strictest: Consequence,
    returned: ReturnedOfPeriod,
    ends_at: datetime | None,
    *,
    ended: bool,
) -> str:
    if strictest == "ignore":
        return ""
    what = " and ".join(what for what, _, said in kinds if said == strictest)
    head = f"the payment for this period was {'' if returned.total >= returned.paid else 'partly '}{what}"
    match strictest:
        case "void_rest":
            return f"{head}, so the units it paid for are void"
        case "end_at_period_end" if not ended and ends_at is not None:
            return f"{head}, so access ends {ends_at:%Y-%m-%d %H:%M} UTC unless a new period is paid"
        case "read_only":
            then = f" until access ends {ends_at:%Y-%m-%d %H:%M} UTC" if ends_at is not None else ""
            return f"{head}, so only reading and exporting is left{then}"
        case _:
            return f"{head}, so access has ended"
