"""Changes of subscriptions that are worked out, and what waits for an invoice to be paid."""

from __future__ import annotations

from dataclasses import dataclass, replace

from paygrade.simulator.forms import Json


@dataclass(frozen=True, slots=True)
class Debit:
    """What an item was last billed: flexible billing credits from this (Stripe docs: credit prorations)."""

    amount: int
    quantity: int
    period_start: int
    period_end: int
    invoice: str | None  # None: the line still waits for its invoice
    lines: tuple[str, ...]

    def joined(self, other: Debit) -> Debit:
        """Give both as one if they are of one period; otherwise the other, which is the later."""
        if (self.period_start, self.period_end) != (other.period_start, other.period_end):
            return other
        return replace(
            self,
            amount=self.amount + other.amount,
            quantity=self.quantity + other.quantity,
            lines=(*self.lines, *other.lines),
        )


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a paused subscription goes on once its resumption invoice is settled."""

    invoice: str
    anchor: int
    periods: dict[str, tuple[int, int]]  # item id → period
    by_attempt: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A subscription as an update would leave it, and what that costs."""

    items: list[Json]
    anchor: int
    lines: list[Json]
    bill_now: bool
    trial: tuple[int, int] | None = None  # a trial that begins or is moved
    trial_ends: bool = False


@dataclass(frozen=True, slots=True)
class HeldChange:
    """A change that waits for its invoice to be paid: until then `items` stays as it is."""

    invoice: str
    change: Change
    debits: dict[str, Debit]  # as they were
    metadata: Json  # as it was sent: merged once the change is made
    discounts: list[Json] | None  # None: they stay as they are
