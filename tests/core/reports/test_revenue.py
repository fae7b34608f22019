"""Revenue by its laws, for invoices of every kind, and by the cent for those that a person checks by hand."""

import random
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.invoices import Invoice, InvoiceFact, InvoiceLine, InvoiceStatus, WentBack, latest
from paygrade.reports.revenue import MonthOfRevenue, Totals, recognize, totals
from paygrade.reports.usage import usage_rows

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FIRST, LAST = date(2025, 1, 1), date(2030, 1, 1)
"""Before anything that is drawn here, and after all of it."""
instants = st.integers(0, 700 * 24).map(lambda hours: BEGIN + timedelta(hours=hours))
amounts = st.integers(-30_000, 90_000)


@st.composite
def lines(draw: st.DrawFn) -> InvoiceLine:
    from_at = draw(instants)
    until = from_at + timedelta(hours=draw(st.sampled_from([0, 5, 24, 31 * 24, 365 * 24, 1000])))
    return InvoiceLine(f"il_{draw(st.integers(0, 9))}", draw(amounts), from_at, until, used=draw(st.booleans()))


@st.composite
def invoices(draw: st.DrawFn) -> Invoice:
    its, paid_at = tuple(draw(st.lists(lines(), min_size=1, max_size=4))), draw(instants)
    net = sum(line.amount for line in its)
    tax = net // 5 if net > 0 and draw(st.booleans()) else 0
    went = draw(st.lists(st.tuples(st.integers(0, 100), instants, st.booleans()), max_size=3))
    back = tuple(
        WentBack(f"re_{n}", "refund", (-1 if again else 1) * max(0, net + tax) * percent // 100, at)
        for n, (percent, at, again) in enumerate(went)
    )
    status: InvoiceStatus = draw(st.sampled_from(["paid", "paid", "paid", "open", "void"]))
    return Invoice(
        f"in_{draw(st.integers(0, 99))}", status, draw(st.sampled_from(["usd", "usd", "jpy"])), paid_at,
        net + tax, tax, paid_at=paid_at if status == "paid" else None, lines=its, went_back=back,
    )  # fmt: skip


def paid(amount: int, *its: WentBack, since: datetime = BEGIN, days: int = 31, at: datetime | None = None,
         used: bool = False, tax: int = 0) -> Invoice:  # fmt: skip
    line = InvoiceLine("il_1", amount, since, since + timedelta(days=days), used=used)
    at = at or since
    return Invoice("in_1", "paid", "usd", at, amount + tax, tax, paid_at=at, lines=(line,), went_back=its)


def back(amount: int, month: int, day: int, id: str = "re_1") -> WentBack:
    return WentBack(id, "refund", amount, datetime(2026, month, day, 12, tzinfo=UTC))


def recognized(*its: Invoice, until: date = date(2027, 1, 1)) -> dict[str, tuple[int, int]]:
    """What of them is recognized in each month, and deferred by its end."""
    found = recognize(its, from_at=date(2026, 1, 1), until=until)
    return {row.month: (row.recognized, row.deferred) for row in found}


@given(st.lists(invoices(), max_size=4), st.dates(FIRST, LAST))
def test_law_1_recognized_and_deferred_are_what_was_paid_and_did_not_go_back(its: list[Invoice], day: date) -> None:
    # Counted here by what invoices say, without a line of the report.
    for one in its:
        if one.status == "paid" and one.paid_at is not None:
            kept = one.total - one.tax if one.paid_at.date() < day else 0
            went = [each for each in one.went_back if max(each.at, one.paid_at).date() < day]
            gone = sum(each.amount for each in went)
            kept -= gone * (one.total - one.tax) // one.total if one.total > 0 else gone
            its_totals = totals([one], day)
            assert its_totals.recognized + its_totals.deferred == kept
        else:
            assert totals([one], day) == Totals()


@given(st.lists(invoices(), max_size=5))
def test_law_2_each_cent_is_in_one_month_and_after_all_periods_nothing_is_deferred(its: list[Invoice]) -> None:
    rows = recognize(its, from_at=FIRST, until=LAST)
    assert len({(row.month, row.currency) for row in rows}) == len(rows)
    for currency in ("usd", "jpy"):
        own = [one for one in its if one.currency == currency]
        of_currency = [row for row in rows if row.currency == currency]
        whole = totals(own, LAST)
        assert whole.deferred == 0
        assert sum(row.paid for row in of_currency) == whole.paid
        assert sum(row.refunded for row in of_currency) == whole.refunded
        assert sum(row.recognized for row in of_currency) == whole.recognized == whole.paid - whole.refunded
        assert sum(row.usage for row in of_currency) == whole.usage


@given(st.lists(invoices(), max_size=4))
def test_rows_of_usage_add_up_to_the_usage_of_each_month(its: list[Invoice]) -> None:
    by_line = usage_rows(its, from_at=FIRST, until=LAST)
    for month in recognize(its, from_at=FIRST, until=LAST):
        own = [row for row in by_line if (row.month, row.currency) == (month.month, month.currency)]
        assert sum(row.recognized for row in own) == month.usage


@given(st.lists(invoices(), max_size=4), st.randoms(use_true_random=False), st.integers(0, 3))
def test_law_3_facts_in_any_order_any_number_of_times_say_the_same(
    its: list[Invoice], draw: random.Random, older: int
) -> None:
    facts = [InvoiceFact("stripe:cus_1", n + 10, BEGIN, one) for n, one in enumerate(its)]
    facts += [InvoiceFact("stripe:cus_1", n, BEGIN, one) for n, one in enumerate(its[:older])]
    said = recognize(latest(facts).values(), from_at=FIRST, until=LAST)
    again = facts + draw.sample(facts, len(facts))
    draw.shuffle(again)
    assert recognize(latest(again).values(), from_at=FIRST, until=LAST) == said


@given(invoices(), st.dates(FIRST, LAST), st.integers(1, 90_000))
def test_law_4_what_happens_later_changes_no_month_that_is_over(one: Invoice, day: date, amount: int) -> None:
    before = totals([one], day)
    late = WentBack("re_late", "refund", amount, datetime(day.year, day.month, day.day, 9, tzinfo=UTC))
    earlier = tuple(each for each in one.went_back if each.at.date() < day)
    kept, changed = replace(one, went_back=earlier), replace(one, went_back=(*earlier, late))
    assert totals([changed], day) == totals([kept], day)
    if earlier == one.went_back:
        assert totals([kept], day) == before


def test_a_year_is_recognized_by_its_days_and_the_cents_add_up() -> None:
    year = paid(10_000, since=datetime(2026, 1, 15, 10, tzinfo=UTC), days=365)
    found = recognized(year, until=date(2027, 2, 1))
    assert found["2026-01"] == (465, 9535)  # 17 of 365 days, the 15th the first of them
    assert found["2026-02"] == (767, 8768)
    assert found["2027-01"] == (384, 0)  # 14 days, with what rounding had left
    assert sum(each for each, _ in found.values()) == 10_000


def test_what_is_paid_late_is_caught_up_with_on_that_day_and_closed_months_stay() -> None:
    assert recognized(paid(3100, at=datetime(2026, 2, 3, tzinfo=UTC))) == {"2026-02": (3100, 0)}
    ahead = paid(2800, since=datetime(2026, 2, 1, tzinfo=UTC), days=28, at=datetime(2026, 1, 20, tzinfo=UTC))
    assert recognized(ahead) == {"2026-01": (0, 2800), "2026-02": (2800, 0)}


def test_usage_is_recognized_when_it_was_used_before_it_is_paid() -> None:
    used = paid(3100, used=True, at=datetime(2026, 2, 2, tzinfo=UTC))
    assert recognize([used], from_at=date(2026, 1, 1), until=date(2026, 3, 1)) == (
        MonthOfRevenue("2026-01", "usd", 0, 0, 3100, 3100, -3100),
        MonthOfRevenue("2026-02", "usd", 3100, 0, 0, 0, 0),
    )


def test_a_refund_takes_what_is_deferred_first_and_only_then_what_was_recognized() -> None:
    quarter = paid(9000, back(3000, 2, 1), days=90)
    assert recognized(quarter) == {"2026-01": (3100, 5900), "2026-02": (1376, 1524), "2026-03": (1524, 0)}
    whole = paid(9000, back(9000, 2, 1), days=90)
    assert recognized(whole) == {"2026-01": (3100, 5900), "2026-02": (-3100, 0)}


def test_a_dispute_that_is_won_gives_back_what_it_took() -> None:
    won = paid(9000, back(9000, 2, 1), back(-9000, 3, 1, "re_2"), days=90)
    found = recognized(won)
    assert found["2026-02"] == (-3100, 0)
    assert sum(each for each, _ in found.values()) == 9000


def test_tax_is_nobodys_revenue_and_goes_back_with_its_share() -> None:
    taxed = paid(3100, back(3720, 1, 20), tax=620)
    (row,) = recognize([taxed], from_at=date(2026, 1, 1), until=date(2026, 2, 1))
    assert (row.paid, row.refunded, row.recognized, row.deferred) == (3100, 3100, 0, 0)


def test_a_credit_for_unused_time_is_taken_off_over_the_time_it_is_for() -> None:
    half = datetime(2026, 1, 16, tzinfo=UTC)
    until = datetime(2026, 2, 1, tzinfo=UTC)
    upgrade = Invoice(
        "in_2", "paid", "usd", half, 1600, paid_at=half,
        lines=(InvoiceLine("il_1", -1600, half, until, proration=True), InvoiceLine("il_2", 3200, half, until)),
    )  # fmt: skip
    assert recognized(paid(3100), upgrade) == {"2026-01": (4700, 0)}
    assert totals([paid(3100), upgrade], date(2026, 1, 20)).recognized == 1900 + 400


def test_of_two_words_on_an_invoice_the_later_one_counts_in_whatever_order_they_come() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    facts = [
        InvoiceFact("stripe:cus_1", 1, at, Invoice("in_1", "open", "usd", at, 100)),
        InvoiceFact("stripe:cus_1", 2, at, Invoice("in_1", "paid", "usd", at, 100)),
    ]
    for order in (facts, facts[::-1]):
        assert latest(order)["stripe:cus_1", "in_1"].status == "paid"
