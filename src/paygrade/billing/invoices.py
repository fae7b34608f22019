"""What was billed and paid: facts about invoices, whole statements of one invoice each.

Laws: a fact says everything about its invoice, never a change to it; of two facts about one invoice the one with the
larger `sequence` is the later truth, whatever order they arrive in, so they replay in any order, any number of times;
an account's access is derived from none of them. Amounts are minor units of the invoice's currency.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Literal

from msgspec import Struct

InvoiceStatus = Literal["open", "paid", "void", "uncollectible"]
BackKind = Literal["refund", "credit_note", "dispute"]
STATED = "account:"


class InvoiceLine(Struct, frozen=True, omit_defaults=True):
    """One line of an invoice, and the period `[from_at, until)` it is for; both the same: it is for an instant.

    `amount`: after discounts and billing credits, before tax; below zero where something is credited. `used`: it is for
    usage, billed after its period. `item` and `subscription` name what it is of, at the provider.
    """

    id: str
    amount: int
    from_at: datetime
    until: datetime
    used: bool = False
    proration: bool = False
    quantity: int | None = None
    price: str | None = None
    product: str | None = None
    item: str | None = None
    subscription: str | None = None


class WentBack(Struct, frozen=True, omit_defaults=True):
    """Money that went back at `at`, with its tax; below zero: it came again, as after a dispute that was won."""

    id: str
    kind: BackKind
    amount: int
    at: datetime


class Invoice(Struct, frozen=True, omit_defaults=True):
    """An invoice as it stood when it was read. Drafts are none yet.

    `tax` is in `total`, and the lines are the rest of it. `remaining`: what is still to be paid. `paid_at`: when it
    became paid, with money, from a balance or otherwise.
    """

    id: str
    status: InvoiceStatus
    currency: str
    created_at: datetime
    total: int
    tax: int = 0
    remaining: int = 0
    paid_at: datetime | None = None
    due_at: datetime | None = None
    lines: tuple[InvoiceLine, ...] = ()
    went_back: tuple[WentBack, ...] = ()

    @property
    def net(self) -> int:
        return self.total - self.tax

    def went_back_net(self) -> Iterator[tuple[datetime, int]]:
        """What went back without its share of the tax, in its order. Shares are rounded so that whatever went back
        whole is the whole."""
        told, before = 0, 0
        for one in sorted(self.went_back, key=lambda each: (each.at, each.id)):
            told += one.amount
            after = told * self.net // self.total if self.total > 0 else told
            yield one.at, after - before
            before = after


class InvoiceFact(Struct, frozen=True):
    """As of `as_of`, an invoice of the provider's customer `subject` stood as `invoice` says. `sequence`: the fence
    that was taken before the provider was asked, or the version under which it was pushed."""

    subject: str
    sequence: int
    as_of: datetime
    invoice: Invoice


def stated_of(account: str) -> str:
    """The subject of what an operator or a system of another kind states of an account's invoices: no provider is asked
    for it."""
    return f"{STATED}{account}"


def latest(facts: Iterable[InvoiceFact]) -> dict[tuple[str, str], Invoice]:
    """Each invoice as it was stated last, by subject and id; the facts come in any order, any number of times."""
    found: dict[tuple[str, str], InvoiceFact] = {}
    for fact in facts:
        key = fact.subject, fact.invoice.id
        if key not in found or fact.sequence > found[key].sequence:
            found[key] = fact
    return {key: found[key].invoice for key in sorted(found)}
