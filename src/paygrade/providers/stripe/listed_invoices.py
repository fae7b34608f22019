"""A customer's invoices as Stripe lists them at the moment.

Laws: a draft is shown to nobody; what leads elsewhere is an address of the web, or it is left out.
"""

from datetime import datetime
from typing import Any

from paygrade.billing.listed_invoices import InvoicePage, ListedInvoice, ListedState
from paygrade.providers.stripe.client import belonging_to
from paygrade.providers.stripe.connection import Gone, StripeConnection, not_understood
from paygrade.providers.stripe.fields import Payload
from paygrade.providers.stripe.pages import entries_of
from paygrade.values.errors import Refused

_PATH = "/v1/invoices"
_STATES: dict[str, ListedState] = {"open": "open", "paid": "paid", "uncollectible": "uncollectible", "void": "void"}


def listed_invoices(
    connection: StripeConnection, customer: str, *, after: str | None, limit: int, at: datetime
) -> InvoicePage:
    """One page (https://docs.stripe.com/api/invoices/list), by one request, or two where `after` is gone. Raises
    Unavailable."""
    asked: dict[str, Any] = {**belonging_to(customer), "limit": limit}
    try:
        try:
            listed = connection.get(_PATH, **asked, **({"starting_after": after} if after is not None else {}))
        except Gone:
            if after is None:
                raise  # the customer is gone, too
            listed, after = connection.get(_PATH, **asked), None
    except Gone:
        return InvoicePage((), None)
    try:
        entries, following = entries_of(_PATH, listed, after)
        sources = [Payload(entry, "invoice") for entry in entries]
        return InvoicePage(tuple(_invoice(each, at) for each in sources if each.text("status") != "draft"), following)
    except Refused as refused:
        raise not_understood(refused.detail) from refused


def _invoice(source: Payload, at: datetime) -> ListedInvoice:
    amount, created_at = source.integer("total"), source.instant("created")
    if amount is None:
        source.refuse("total", "an amount")
    issued_at = source.child("status_transitions").instant("finalized_at") or created_at
    if issued_at is None:
        source.refuse("created", "an instant")
    state, due_at = _STATES.get(source.text("status") or ""), source.instant("due_date")
    if state is None:
        source.refuse("status", "a state of invoices")
    return ListedInvoice(
        id=source.required_text("id"),
        number=source.text("number"),
        issued_at=issued_at,
        amount=amount,
        currency=source.required_text("currency"),
        state="overdue" if state == "open" and due_at is not None and due_at <= at else state,
        page=_address(source, "hosted_invoice_url"),
        file=_address(source, "invoice_pdf"),
    )


def _address(source: Payload, key: str) -> str | None:
    said = source.text(key) or ""
    return said if said.startswith(("https://", "http://")) else None
