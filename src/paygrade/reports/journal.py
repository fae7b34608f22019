"""Journal entries for the ledger: what a month of revenue is in double entry.

Laws: debits and credits of each month and currency are equal; what is deferred at the end of a month is the balance of
that account, begun where the report begins. What was paid is owed first (`deferred_revenue`), what is recognized is no
longer, and what went back takes from what is owed.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

from paygrade.reports.revenue import MonthOfRevenue

LedgerAccount = Literal["cash", "deferred_revenue", "subscription_revenue", "usage_revenue"]


class JournalEntry(Struct, frozen=True):
    """A line of the journal, in minor units; of `debit` and `credit` one is 0."""

    month: str
    currency: str
    ledger_account: LedgerAccount
    debit: int
    credit: int


def journal(months: Iterable[MonthOfRevenue]) -> tuple[JournalEntry, ...]:
    """The entries of these months, of however many accounts, by month and currency; none of what moved nothing."""
    moved: dict[tuple[str, str, LedgerAccount], int] = {}
    for month in months:
        for name, amount in _movements(month):
            key = month.month, month.currency, name
            moved[key] = moved.get(key, 0) + amount
    return tuple(
        JournalEntry(*key, debit=max(amount, 0), credit=max(-amount, 0))
        for key, amount in sorted(moved.items())
        if amount
    )


def _movements(month: MonthOfRevenue) -> Iterator[tuple[LedgerAccount, int]]:
    """What each account moved by, a debit above zero."""
    yield "cash", month.paid - month.refunded
    yield "deferred_revenue", month.refunded + month.recognized - month.paid
    yield "subscription_revenue", month.usage - month.recognized
    yield "usage_revenue", -month.usage
