"""Stripe's own pages: Checkout Sessions, where a subscription is bought, and the billing portal.

Laws: a page is made once for each order, since its requests carry the order's id as their idempotency keys; the account
is named on the customer, on the subscription and on the session, so that whichever is read first tells whose it is;
what a page brought is asked of Stripe, never taken from who comes back.

A customer is made before the page: Checkout would make one, too, but without metadata
(https://docs.stripe.com/api/checkout/sessions/create), and a customer without an owner belongs to nobody.
"""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from paygrade.billing.listed_invoices import InvoicePage
from paygrade.changes.checkout import CheckoutOrder, CheckoutPage, CheckoutState
from paygrade.providers.port import PortalFlow
from paygrade.providers.stripe.changed_items import changed_items
from paygrade.providers.stripe.client import belonging_to
from paygrade.providers.stripe.connection import Gone, NotTaken, StripeConnection, not_understood
from paygrade.providers.stripe.fields import Json, Payload
from paygrade.providers.stripe.listed_invoices import listed_invoices
from paygrade.providers.stripe.orders import KEY_TRIES
from paygrade.providers.stripe.portal import portal_url
from paygrade.providers.stripe.translate import owner_of
from paygrade.usage.top_ups import PackOrder
from paygrade.values.errors import Refused

MARK = "paygrade_checkout"
TOP_UP_MARK = "paygrade_top_up_page"
LISTED_WITHIN_S = 2.0
"""How long to wait for a list that stands on a page of ours."""
_SESSIONS = "/v1/checkout/sessions"
_STATES: dict[str, CheckoutState] = {"open": "open", "complete": "complete", "expired": "expired"}


class StripePages:
    """The pages of one Stripe account. Safe to share between threads; every call blocks."""

    name = "stripe"

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection
        self._hasty = connection.within(LISTED_WITHIN_S)

    def open_checkout(self, order: CheckoutOrder) -> CheckoutPage:
        """Make the page, and first a customer where the account has none. Refused `provider_refused_page` where Stripe
        will not, Unavailable where it is in doubt whether it has."""
        try:
            items = changed_items(self._connection, order.items)
            customer = self._customer(order)
            named = {"paygrade_account": order.account, MARK: order.id}
            made = self._post(
                order, "session", _SESSIONS, mode="subscription", **belonging_to(customer), line_items=items,
                client_reference_id=order.account, metadata=named, subscription_data=_subscription(order, named),
                success_url=order.success_url, cancel_url=order.cancel_url, **_discounts(order),
            )  # fmt: skip
            return _page(made)
        except NotTaken as refused:
            raise page_refused(refused.message) from refused
        except Refused as refused:
            if refused.code == "provider_refused_change":
                # The prices of an order are those of a change that adds them all.
                raise Refused("provider_refused_page", refused.detail) from refused
            if refused.code == "provider_payload_invalid":
                raise not_understood(refused.detail) from refused
            raise

    def open_top_up(self, order: PackOrder) -> CheckoutPage:
        """Make a page that sells packs of a credit once. It makes an invoice, by which a refund is found again."""
        named = {"paygrade_account": order.account, TOP_UP_MARK: order.id}
        priced = {"currency": order.currency, "unit_amount": order.amount,
                  "product_data": {"name": f"{order.units} {order.credit}"}}  # fmt: skip
        try:
            customer = self._customer(order)
            made = self._post(
                order, "session", _SESSIONS, mode="payment", **belonging_to(customer),
                line_items=[{"price_data": priced, "quantity": order.packs}],
                client_reference_id=order.account, metadata=named, payment_intent_data={"metadata": named},
                invoice_creation={"enabled": True, "invoice_data": {"metadata": named}},
                success_url=order.success_url, cancel_url=order.cancel_url,
            )  # fmt: skip
            return _page(made)
        except NotTaken as refused:
            raise page_refused(refused.message) from refused
        except Refused as refused:
            raise not_understood(refused.detail) from refused

    def find_checkout(self, session: str) -> CheckoutPage:
        """How the page stands. Raises Unavailable."""
        try:
            return _page(Payload(self._connection.get(_path(session)), "session"))
        except Gone as gone:
            raise not_understood(f"the session `{session}` is gone: {gone}") from gone
        except Refused as refused:
            raise not_understood(refused.detail) from refused

    def close_checkout(self, session: str) -> CheckoutPage:
        """Expire the page, unless something was bought there. Raises Unavailable."""
        try:
            # Only what is open can be expired, so doing it again does nothing.
            self._connection.post(f"{_path(session)}/expire", idempotency_key=None)
        except NotTaken:
            page = self.find_checkout(session)
            if page.state == "open":
                raise not_understood(f"the session `{session}` is open and can't be expired") from None
            return page
        return self.find_checkout(session)

    def open_portal(
        self, *, customer: str, return_url: str, flow: PortalFlow | None = None, subscription: str | None = None
    ) -> str:
        """Make a portal for the customer. Refused `provider_refused_page` and Unavailable."""
        try:
            return portal_url(self._connection, customer, return_url=return_url, flow=flow, subscription=subscription)
        except NotTaken as refused:
            raise page_refused(refused.message) from refused

    def list_invoices(self, *, customer: str, after: str | None, limit: int, at: datetime) -> InvoicePage:
        """As Stripe has them now, within two seconds or Unavailable."""
        return listed_invoices(self._hasty, customer, after=after, limit=limit, at=at)

    def _customer(self, order: CheckoutOrder | PackOrder) -> str:
        """The customer who buys, with the account's name on it."""
        named = {"metadata": {"paygrade_account": order.account}}
        if order.customer is None:
            called = {"name": order.name} if order.name else {}
            return self._post(order, "customer", "/v1/customers", **called, **named).required_text("id")
        if not order.named and order.customer.startswith("cus_"):
            self._post(order, "name", f"/v1/customers/{quote(order.customer, safe='')}", **named)
        return order.customer

    def _post(self, order: CheckoutOrder | PackOrder, step: str, path: str, **params: Any) -> Payload:
        key = f"pg_{order.id}_{step}_{order.tries // KEY_TRIES}"
        return Payload(self._connection.post(path, idempotency_key=key, **params), step)


def page_refused(message: str) -> Refused:
    return Refused("provider_refused_page", f"Stripe refuses this page: {message}")


def _subscription(order: CheckoutOrder, named: dict[str, str]) -> Json:
    trial = {} if order.trial_days is None else {"trial_period_days": order.trial_days}
    return {"metadata": named, **trial}


def _discounts(order: CheckoutOrder) -> dict[str, Any]:
    """Any: Stripe's own parameters; it takes one of the two."""
    if order.coupon is not None:
        return {"discounts": [{"coupon": order.coupon}]}
    return {"allow_promotion_codes": True} if order.promotion_codes else {}


def _page(session: Payload) -> CheckoutPage:
    id, status = session.required_text("id"), session.text("status")
    state = _STATES.get(status or "")
    if state is None:
        raise not_understood(f"the session `{id}` has the unknown status `{status}`")
    return CheckoutPage(
        session=id,
        state=state,
        customer=owner_of(session),
        url=session.text("url"),
        expires_at=session.instant("expires_at"),
        subscription=session.id_of("subscription"),
    )


def _path(session: str) -> str:
    return f"{_SESSIONS}/{quote(session, safe='')}"
