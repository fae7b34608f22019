"""Invoices as whoever bills lists them: to be shown, and kept nowhere.

Law: nothing of access follows from them; what does is in the facts.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

ListedState = Literal["open", "overdue", "paid", "uncollectible", "void"]


class ListedInvoice(Struct, frozen=True):
    """One invoice. `amount` is its total, in minor units of `currency`. `page` is where it is looked at and paid, and
    `file` a document of it; None: there is none, or it is no address that browsers may be sent to."""

    id: str
    number: str | None
    issued_at: datetime
    amount: int
    currency: str
    state: ListedState
    page: str | None
    file: str | None


class InvoicePage(Struct, frozen=True):
    """The newest first. `after`: where the next page begins; None: there is none."""

    invoices: tuple[ListedInvoice, ...]
    after: str | None
