"""The journal is double entry: it balances, and what it says is deferred is what the report says."""

from hypothesis import given
from hypothesis import strategies as st
from test_revenue import FIRST, LAST, invoices

from paygrade.reports.journal import JournalEntry, journal
from paygrade.reports.revenue import MonthOfRevenue, recognize


@given(st.lists(invoices(), max_size=4))
def test_each_month_balances_and_ends_with_what_is_deferred(its: list[object]) -> None:
    months = recognize(its, from_at=FIRST, until=LAST)  # type: ignore[arg-type]  # drawn as invoices
    entries = journal(months)
    for currency in ("usd", "jpy"):
        owed = 0
        for month in sorted({row.month for row in months}):
            its_entries = [one for one in entries if (one.month, one.currency) == (month, currency)]
            assert sum(one.debit for one in its_entries) == sum(one.credit for one in its_entries)
            owed += sum(one.credit - one.debit for one in its_entries if one.ledger_account == "deferred_revenue")
            stated = [row.deferred for row in months if (row.month, row.currency) == (month, currency)]
            assert owed == (stated[0] if stated else 0)


def test_a_month_of_many_accounts_is_one_set_of_entries() -> None:
    months = [MonthOfRevenue("2026-01", "usd", 9900, 100, 5000, 200, 4800)] * 2
    assert journal(months) == (
        JournalEntry("2026-01", "usd", "cash", 19600, 0),
        JournalEntry("2026-01", "usd", "deferred_revenue", 0, 9600),
        JournalEntry("2026-01", "usd", "subscription_revenue", 0, 9600),
        JournalEntry("2026-01", "usd", "usage_revenue", 0, 400),
    )
