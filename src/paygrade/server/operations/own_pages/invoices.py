"""An account's invoices, as whoever bills has them at the moment.

Laws: they are read for who looks at them, and kept nowhere; whoever looks waits a few seconds at most, and a provider
that does not answer holds no more than a few threads.
"""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

from paygrade.billing.listed_invoices import InvoicePage
from paygrade.providers.port import Selling
from paygrade.server.operations.accounts.record import load_account
from paygrade.server.operations.changes.checkouts import customer_of
from paygrade.server.process import tracing
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

PAGE, WAIT_S = 12, 3.0
AT_ONCE = 4
"""How many lists a process asks for at the same time."""
_asking = 0


async def list_invoices(
    store: "Store", pages: Selling, *, account: str, after: str | None, at: datetime
) -> InvoicePage:
    """A page of twelve, of the customer whose billing portal the account has; none where there is no customer.
    Unavailable `provider_busy` where too many are asked for, else as the provider says."""
    async with store.transaction() as tx:
        held = (await load_account(tx, account)).account
    try:
        customer, _ = customer_of(held)
    except Refused:
        return InvoicePage((), None)
    return await _asked(pages, customer, after, at)


async def _asked(pages: Selling, customer: str, after: str | None, at: datetime) -> InvoicePage:
    global _asking
    if _asking >= AT_ONCE:
        raise Unavailable("provider_busy", "too many lists of invoices are being read; try again")
    _asking += 1
    with tracing.span("list invoices at provider"):
        reading = asyncio.ensure_future(
            asyncio.to_thread(pages.list_invoices, customer=customer, after=after, limit=PAGE, at=at)
        )
        reading.add_done_callback(_done)
        try:
            # The thread goes on for as long as its own time-out; it counts until it has ended.
            return await asyncio.wait_for(asyncio.shield(reading), WAIT_S)
        except TimeoutError:
            raise Unavailable("provider_unreachable", "the provider does not answer in time") from None


def _done(reading: "asyncio.Future[InvoicePage]") -> None:
    global _asking
    _asking -= 1
    if not reading.cancelled():
        reading.exception()  # said to whoever waited; if nobody does any more, it is no news
