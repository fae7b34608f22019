"""Revenue: what of that which was paid has been earned by when, and what has not yet.

Theory of operation. Everything is a running total: what an invoice has come to before a day began, in UTC. A month is
the difference of two of them. So each cent is in one month only, and what is paid less what went back is what is
recognized and what is deferred, on every day, whatever the rounding.

Laws:
1. recognized + deferred = paid − refunded, before each day and in each currency.
2. The months of a span sum up to the span; a line is recognized whole once its period is over.
3. It follows from the invoices alone, in whatever order they come.
4. What happens on a day changes no total before it: a month that is over stays as it was, but for usage that was not
   paid for yet.

How a line is recognized: in equal parts over the days of its period, from the day of `from_at` to the day before
`until`; at once, if it has no day between them. Of what is paid later than it begins, the days that are over count on
the day of the payment. What was used counts on the days of its use, before it is billed and paid: until then what is
deferred is less by it, and may be below zero. What went back takes from what is not recognized yet, in equal parts
over the days that are left, and from what is where that does not suffice.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime

from msgspec import Struct

from paygrade.billing.invoices import Invoice, InvoiceLine
from paygrade.values.periods import add_months


class Totals(Struct, frozen=True):
    """What things come to, in minor units without tax. `usage` is the part of `recognized` that was for usage."""

    paid: int = 0
    refunded: int = 0
    recognized: int = 0
    usage: int = 0

    @property
    def deferred(self) -> int:
        return self.paid - self.refunded - self.recognized

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(*(getattr(self, name) + getattr(other, name) for name in self.__struct_fields__))

    def __sub__(self, other: "Totals") -> "Totals":
        return Totals(*(getattr(self, name) - getattr(other, name) for name in self.__struct_fields__))


class MonthOfRevenue(Struct, frozen=True):
    """A month in one currency, in minor units without tax: what was paid and refunded in it, and recognized, `usage`
    of that for usage. `deferred`: what is paid and not recognized by its end."""

    month: str
    currency: str
    paid: int
    refunded: int
    recognized: int
    usage: int
    deferred: int


def recognize(invoices: Iterable[Invoice], *, from_at: date, until: date) -> tuple[MonthOfRevenue, ...]:
    """The months `[from_at, until)`, both the first of one, of which something is to be said; by month and currency."""
    by_currency: dict[str, list[Invoice]] = {}
    for invoice in invoices:
        by_currency.setdefault(invoice.currency, []).append(invoice)
    ends = tuple(months(from_at, until))
    found: list[MonthOfRevenue] = []
    for currency, its in sorted(by_currency.items()):
        before = totals(its, from_at)
        for begin, end in ends:
            after = totals(its, end)
            of_month = after - before
            if of_month != Totals() or after.deferred:
                found.append(
                    MonthOfRevenue(
                        f"{begin:%Y-%m}", currency, of_month.paid, of_month.refunded, of_month.recognized,
                        of_month.usage, after.deferred,
                    )
                )  # fmt: skip
            before = after
    return tuple(sorted(found, key=lambda row: (row.month, row.currency)))


def of_all(rows: Iterable[MonthOfRevenue]) -> tuple[MonthOfRevenue, ...]:
    """The months of many accounts together, by month and currency."""
    names = MonthOfRevenue.__struct_fields__[2:]
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        its = found.setdefault((row.month, row.currency), [0] * len(names))
        for n, name in enumerate(names):
            its[n] += getattr(row, name)
    return tuple(MonthOfRevenue(*key, *its) for key, its in sorted(found.items()))


def months(from_at: date, until: date) -> Iterator[tuple[date, date]]:
    """The months of `[from_at, until)`, each from its first day to that of the next."""
    begin = from_at
    while begin < until:
        end = next_month(begin)
        yield begin, end
        begin = end


def next_month(first: date) -> date:
    return add_months(datetime(first.year, first.month, 1, tzinfo=UTC), 1).date()


def totals(invoices: Iterable[Invoice], day: date) -> Totals:
    """What invoices of one currency have come to before this day began."""
    return sum((_of_invoice(invoice, day) for invoice in invoices), Totals())


class LineSoFar(Struct, frozen=True):
    """A line of a paid invoice, and what of it has gone back and been recognized before a day."""

    line: InvoiceLine
    refunded: int
    recognized: int

    @property
    def left(self) -> int:
        return self.line.amount - self.refunded - self.recognized


def lines_before(invoice: Invoice, day: date) -> tuple[LineSoFar, ...]:
    """The lines of an invoice as they stand before this day began; none of one that is not paid."""
    if invoice.status != "paid" or invoice.paid_at is None:
        return ()
    paid_on, back = _day(invoice.paid_at), _went_back(invoice)
    shares = _shared_out([line.amount for line in invoice.lines], [amount for _, amount in back])
    found = []
    for line, its in zip(invoice.lines, shares, strict=True):
        went = [(when, share) for (when, _), share in zip(back, its, strict=True)]
        recognized = recognized_before(line, went, paid_on=paid_on, day=day)
        found.append(LineSoFar(line, sum(share for when, share in went if when < day), recognized))
    return tuple(found)


def _of_invoice(invoice: Invoice, day: date) -> Totals:
    lines = lines_before(invoice, day)
    if not lines or invoice.paid_at is None:
        return Totals()
    amount = sum(each.line.amount for each in lines)
    refunded = sum(back for when, back in _went_back(invoice) if when < day)
    return Totals(
        paid=amount if _day(invoice.paid_at) < day else 0,
        refunded=refunded,
        # Where lines come to nothing, none has a share in what went back.
        recognized=sum(each.recognized for each in lines) - (refunded if amount <= 0 else 0),
        usage=sum(each.recognized for each in lines if each.line.used),
    )


def _went_back(invoice: Invoice) -> list[tuple[date, int]]:
    """What went back of a paid invoice without its tax, by the day from which that counts."""
    paid_on = _day(invoice.paid_at or invoice.created_at)
    return [(max(_day(at), paid_on), amount) for at, amount in invoice.went_back_net()]


def recognized_before(line: InvoiceLine, back: Sequence[tuple[date, int]], *, paid_on: date, day: date) -> int:
    """What of a line of a paid invoice is recognized before this day; `back`: what went back of it and when, in its
    order."""
    if day <= paid_on and not line.used:
        return 0
    done, left, begin, end = 0, line.amount, _day(line.from_at), _day(line.until)
    for when, amount in back:
        if when >= day:
            break
        earned = _over(left, begin, end, when)
        done, left, begin = done + earned, left - earned - amount, max(begin, when)
        if left * line.amount < 0:
            done, left = done + left, 0
    return done + _over(left, begin, end, day)


def _over(amount: int, begin: date, end: date, day: date) -> int:
    """What of an amount is over before this day, in equal parts over the days from `begin` to before `end`, and on
    `begin` where there is none. A part of a minor unit waits for the next, above zero and below."""
    if begin >= end:
        return amount if day > begin else 0
    part = abs(amount) * min(max(0, (day - begin).days), (end - begin).days) // (end - begin).days
    return part if amount >= 0 else -part


def _shared_out(amounts: Sequence[int], back: Sequence[int]) -> list[list[int]]:
    """What each line has of each amount that went back, by what it is of the invoice; the last line that is not nothing
    takes what rounding leaves. Lines of an invoice that came to nothing have nothing of it."""
    total, told = sum(amounts), 0
    shares: list[list[int]] = [[] for _ in amounts]
    before = [0] * len(amounts)
    takes_rest = max((n for n, amount in enumerate(amounts) if amount), default=None)
    for amount in back:
        told += amount
        after = [told * each // total if total > 0 else 0 for each in amounts]
        if takes_rest is not None and total > 0:
            after[takes_rest] += told - sum(after)
        for n, its in enumerate(shares):
            its.append(after[n] - before[n])
        before = after
    return shares


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()
