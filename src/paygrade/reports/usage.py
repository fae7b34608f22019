"""Revenue of usage: each line that bills it, by the months in which it was used.

Law: the months of a line add up to it, and the lines of a month to what the revenue report says of usage.
"""

from collections.abc import Iterable
from datetime import date, datetime

from msgspec import Struct

from paygrade.billing.invoices import Invoice
from paygrade.reports.revenue import lines_before, months


class UsageRow(Struct, frozen=True):
    """What of one paid line for usage in `[from_at, until)` is recognized in a month, in minor units without tax.
    `quantity`: units that the whole line bills."""

    month: str
    currency: str
    invoice: str
    subscription: str | None
    price: str | None
    product: str | None
    from_at: datetime
    until: datetime
    quantity: int | None
    recognized: int


def usage_rows(invoices: Iterable[Invoice], *, from_at: date, until: date) -> tuple[UsageRow, ...]:
    """Rows of the months `[from_at, until)` with something in them, by month, invoice and line."""
    found: list[UsageRow] = []
    for invoice in sorted(invoices, key=lambda each: each.id):
        if not any(line.used for line in invoice.lines):
            continue
        for begin, end in months(from_at, until):
            for before, after in zip(lines_before(invoice, begin), lines_before(invoice, end), strict=True):
                line, recognized = after.line, after.recognized - before.recognized
                if line.used and recognized:
                    found.append(
                        UsageRow(
                            f"{begin:%Y-%m}", invoice.currency, invoice.id, line.subscription, line.price,
                            line.product, line.from_at, line.until, line.quantity, recognized,
                        )
                    )  # fmt: skip
    return tuple(sorted(found, key=lambda row: row.month))
