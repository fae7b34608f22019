"""Reading invoices: what customers were billed and paid becomes facts, apart from what access follows from.

Theory of operation. Whoever is read themselves (`sync`) has their invoices marked in the transaction that saves it, so
whatever leads to a reading of a customer, an event, a date, the poll or a sweep, leads to one of their invoices that
began after it. A sweep marks a few of those that were read longest ago as well, since refunds and disputes of ended
subscriptions have neither dates nor anything that a sweep compares.

Laws: nothing is written under a fence that was overtaken; invoices stay dirty until a reading that began after their
mark is saved; an invoice that stands as it was stated becomes no fact; what can't be read keeps access from nobody.
"""

import asyncio
from typing import TYPE_CHECKING, Literal

from paygrade.billing.invoices import InvoiceFact
from paygrade.providers.port import Invoicing
from paygrade.server.workers.claims import Queue, give_back
from paygrade.values.errors import Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.invoices import InvoiceReading
    from paygrade.postgres.store import Store
    from paygrade.server.process.clock import Clock

LEASE_S = 120.0
"""Longer than reading the invoices of a customer takes who has thousands."""

INVOICES: "Queue[InvoiceReading]" = Queue("invoices_read", lambda tx: tx.invoices, ("subject",), LEASE_S, quiet=True)
"""Customers whose invoices wait to be read."""

Outcome = Literal["saved", "overtaken", "failed"]


async def read_invoices(store: "Store", provider: Invoicing, clock: "Clock", claimed: "InvoiceReading") -> Outcome:
    """Read the invoices of a claimed customer and save what is new; a failure is kept and retried later."""
    asked_at = clock.now()
    try:
        said = await asyncio.to_thread(provider.invoices, claimed.subject)
    except Unavailable as error:
        await give_back(store, INVOICES, claimed, error)
        return "failed"
    async with store.transaction() as tx:
        held = await tx.invoices.lock(claimed)
        if held is None:
            return "overtaken"
        stored = await tx.invoices.of_subject(claimed.subject)
        new = [one for one in said if stored.get(one.id) != one]
        await tx.invoices.add([InvoiceFact(claimed.subject, claimed.fence, asked_at, one) for one in new], clock.now())
        await tx.invoices.settle(claimed, read_at=asked_at)
    return "saved"
