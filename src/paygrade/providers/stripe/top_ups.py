"""Buying at Stripe: one amount on one invoice, drafted, finalized and paid step by step; or on a page, by the customer.

Laws: every step looks at the invoice before it acts; nothing but the order's amount is ever on its invoice; a payment
that was declined is not tried again under the same order, so a card is charged once at most.

The invoice is no subscription's: it does not advance by itself, takes no items that wait for the customer and inherits
no discount (https://docs.stripe.com/api/invoices/create).
"""

from typing import Any
from urllib.parse import quote

from paygrade.billing.facts import Returned
from paygrade.providers.stripe.connection import Gone, NotTaken, StripeConnection, not_understood
from paygrade.providers.stripe.fields import Payload
from paygrade.providers.stripe.payments import failure, payment_of, worded
from paygrade.providers.stripe.returned import of_charge
from paygrade.usage.top_ups import Bill, Order
from paygrade.values.errors import Refused

MARK = "paygrade_top_up"
"""The metadata by which the invoice of an order is found again."""
KEY_TRIES = 5
"""Stripe keeps a failure of its own under its idempotency key for a day and answers with it again, so after this many
failures in a row the next key is used. That is safe, since every step looks first."""
_PAYMENT = "payments.data.payment.payment_intent"
_PAGE = 100


class Purchases:
    """Purchases at one Stripe account. Safe to share between threads; every call blocks."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def advance(self, order: Order) -> Bill:
        """Look how the order's invoice stands and take the next step, towards its payment or its removal.

        Refused `purchase_refused` where Stripe will not, Unavailable where it is in doubt whether it has.
        """
        try:
            if order.session is not None:
                return self._at_page(order.session)
            invoice = self._read(order.invoice) if order.invoice else self._find(order)
            if invoice is not None:
                return self._advance(order, invoice)
            # What was there and is not any more was removed.
            return Bill(None, "gone") if order.declined or order.invoice else self._draft(order)
        except Refused as refused:
            if refused.code == "purchase_refused":
                raise
            raise not_understood(refused.detail) from refused

    def _at_page(self, session: str) -> Bill:
        """How a page stands: only its customer takes steps there."""
        path = f"/v1/checkout/sessions/{quote(session, safe='')}"
        try:
            page = Payload(self._connection.get(path, expand=["payment_intent"]), "session")
        except Gone as gone:
            raise not_understood(f"the session `{session}` is gone: {gone}") from gone
        invoice, payment = page.id_of("invoice"), page.child("payment_intent")
        match page.text("status"):
            case "expired":
                return Bill(invoice, "gone")
            case "complete" if page.text("payment_status") in ("paid", "no_payment_required"):
                # The invoice of a page may come a moment after its payment, and refunds are found by it.
                return Bill(invoice, "paid") if invoice is not None else Bill(None, "open", waits=True)
            case "complete":
                # A debit that failed: nobody can pay on this page any more.
                failed = failure(payment) if payment.text("status") != "processing" else None
                return Bill(invoice, "gone", declined=failed) if failed else Bill(invoice, "open", waits=True)
            case "open":
                return Bill(invoice, "open", waits=True)
            case status:
                raise not_understood(f"the session `{session}` has the unknown status `{status}`")

    def returned(self, order: Order) -> Returned:
        """What went back of the money of an order that was paid: refunded, or disputed and not won.

        Nothing where no card or account was charged. At most three requests. Raises Unavailable.
        """
        try:
            invoice = self._read(order.invoice) if order.invoice else None
            charge_id = payment_of(invoice).id_of("latest_charge") if invoice is not None else None
            if charge_id is None:
                return Returned()
            charge = Payload(self._connection.get(f"/v1/charges/{charge_id}"), "charge")
            page = Payload(self._connection.get("/v1/disputes", charge=charge_id, limit=_PAGE), "disputes")
            return of_charge(charge, page.listed("data"))
        except Gone as gone:
            raise not_understood(f"what `{order.invoice}` was paid with is gone: {gone}") from gone
        except Refused as refused:
            raise not_understood(refused.detail) from refused

    def _advance(self, order: Order, invoice: Payload) -> Bill:
        try:
            return self._clear(order, invoice) if order.declined else self._forward(order, invoice)
        except NotTaken as refused:
            # Somebody may have done it before: then the invoice shows it.
            again = self._read(invoice.required_text("id"))
            if again is not None and again.text("status") != invoice.text("status"):
                return _bill(again)
            raise Refused("purchase_refused", refused.message) from refused

    def _forward(self, order: Order, invoice: Payload) -> Bill:
        id, status, payment = invoice.required_text("id"), invoice.text("status"), payment_of(invoice)
        if status == "draft":
            lines = invoice.listed("lines")
            if not lines:
                self._post(order, "item", "/v1/invoiceitems", customer=order.customer, invoice=id, amount=order.amount,
                           currency=order.currency, description=order.description, discountable=False)  # fmt: skip
                return Bill(id, "draft")
            if len(lines) != 1 or lines[0].integer("amount") != order.amount:
                return Bill(id, "draft", declined="something else is on its invoice")
            return _bill(self._post(order, "finalize", f"/v1/invoices/{id}/finalize", auto_advance=False))
        if status != "open":
            return _bill(invoice)
        if payment.text("status") == "processing":
            return Bill(id, "open", waits=True)
        failed = failure(payment)
        if failed is not None:
            return Bill(id, "open", declined=failed)
        try:
            return _bill(self._post(order, "pay", f"/v1/invoices/{id}/pay", off_session=True))
        except NotTaken as refused:
            if refused.status != 402:
                raise
            return Bill(id, "open", declined=worded(refused.code, refused.message))

    def _clear(self, order: Order, invoice: Payload) -> Bill:
        id, status = invoice.required_text("id"), invoice.text("status")
        if status in ("open", "uncollectible") and payment_of(invoice).text("status") == "processing":
            return Bill(id, "open", waits=True)
        if status == "draft":
            self._connection.delete(f"/v1/invoices/{id}")
            return Bill(id, "gone")
        if status in ("open", "uncollectible"):
            return _bill(self._post(order, "void", f"/v1/invoices/{id}/void"))
        return _bill(invoice)

    def _draft(self, order: Order) -> Bill:
        card = self._card(order.customer)
        if card is None:
            raise Refused("purchase_refused", "the customer has no default payment method")
        try:
            made = self._post(
                order, "draft", "/v1/invoices", customer=order.customer, auto_advance=False, currency=order.currency,
                collection_method="charge_automatically", default_payment_method=card, discounts="",
                description=order.description, pending_invoice_items_behavior="exclude",
                metadata={MARK: order.key, "paygrade_account": order.account},
            )  # fmt: skip
        except NotTaken as refused:
            raise Refused("purchase_refused", refused.message) from refused
        return _bill(made)

    def _card(self, customer: str) -> str | None:
        """What pays: the customer's default payment method, else that of a live subscription of theirs."""
        try:
            payload = Payload(self._connection.get(f"/v1/customers/{customer}"), "customer")
        except Gone as gone:
            raise Refused("purchase_refused", f"Stripe has no customer `{customer}`") from gone
        default = payload.child("invoice_settings").id_of("default_payment_method")
        if default is not None:
            return default
        page = Payload(self._connection.get("/v1/subscriptions", customer=customer, limit=_PAGE), "subscriptions")
        cards = (subscription.id_of("default_payment_method") for subscription in page.listed("data"))
        return next((card for card in cards if card is not None), None)

    def _read(self, id: str) -> Payload | None:
        try:
            return Payload(self._connection.get(f"/v1/invoices/{id}", expand=[_PAYMENT]), "invoice")
        except Gone:
            return None

    def _find(self, order: Order) -> Payload | None:
        """The order's invoice, if it was drafted and that was not heard."""
        # An hour more: a clock of ours that is ahead must not hide it.
        since = {"gte": int(order.since.timestamp()) - 3600}
        try:
            listed = self._connection.get("/v1/invoices", customer=order.customer, limit=_PAGE, created=since)
        except Gone:
            return None
        page = Payload(listed, "invoices")
        if page.flag("has_more"):
            raise not_understood(f"`{order.customer}` has too many invoices to find that of a top-up among them")
        found = (each for each in page.listed("data") if each.child("metadata").text(MARK) == order.key)
        invoice = next(found, None)
        return self._read(invoice.required_text("id")) if invoice is not None else None

    def _post(self, order: Order, step: str, path: str, **params: Any) -> Payload:
        key = f"pg_{order.key}_{step}_{order.tries // KEY_TRIES}"
        return Payload(self._connection.post(path, idempotency_key=key, **params), "invoice")


def _bill(invoice: Payload) -> Bill:
    id, status = invoice.required_text("id"), invoice.text("status")
    match status:
        case "draft" | "open" | "paid" | "void":
            return Bill(id, status)
        case "uncollectible":
            return Bill(id, "open", declined="the invoice was written off")
        case _:
            raise not_understood(f"the invoice `{id}` has the unknown status `{status}`")
