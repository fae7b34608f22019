"""Which request does what: one table of method and path."""

from __future__ import annotations

import re

from paygrade.simulator import errors
from paygrade.simulator.api import listings
from paygrade.simulator.api.listings import Handler, HandlerOfOne
from paygrade.simulator.billing import (
    changes,
    credit_notes,
    invoice_items,
    invoice_requests,
    items,
    meters,
    pauses,
    previews,
    schedules,
    subscriptions,
)
from paygrade.simulator.clocks import test_clocks as clocks
from paygrade.simulator.customers import customers, disputes
from paygrade.simulator.payments import refunds
from paygrade.simulator.products import catalog, coupons, discounts

METERS = "/v1/billing/meters"
SCHEDULES = "/v1/subscription_schedules"
CLOCKS = "/v1/test_helpers/test_clocks"


def find(method: str, path: str) -> Handler:
    if handler := OF_A_KIND.get((method, path)):
        return handler
    for wanted, pattern, handler_of_one in OF_ONE:
        if wanted == method and (found := pattern.fullmatch(path)):
            return _bound(handler_of_one, found.group(1))
    raise errors.no_such_url(method, path)


def _bound(handler: HandlerOfOne, id: str) -> Handler:
    return lambda world, params: handler(world, id, params)


OF_A_KIND: dict[tuple[str, str], Handler] = {
    ("GET", "/v1/account"): listings.retrieve_account,
    ("GET", "/v1/customers"): listings.list_customers,
    ("POST", "/v1/customers"): customers.create_customer,
    ("GET", "/v1/payment_methods"): listings.list_payment_methods,
    ("POST", "/v1/payment_methods"): customers.create_payment_method,
    ("GET", "/v1/products"): listings.listing("product", "/v1/products", listings.PRODUCT_FILTERS),
    ("POST", "/v1/products"): catalog.create_product,
    ("GET", "/v1/prices"): listings.list_prices,
    ("POST", "/v1/prices"): catalog.create_price,
    ("GET", "/v1/subscriptions"): listings.list_subscriptions,
    ("POST", "/v1/subscriptions"): subscriptions.create,
    ("GET", "/v1/subscription_items"): listings.list_items,
    ("POST", "/v1/subscription_items"): items.create,
    ("POST", "/v1/invoices/create_preview"): previews.create_preview,
    ("GET", "/v1/invoices"): listings.list_invoices,
    ("POST", "/v1/invoices"): invoice_requests.create_invoice,
    ("GET", "/v1/invoiceitems"): listings.list_invoice_items,
    ("POST", "/v1/invoiceitems"): invoice_items.create,
    ("GET", "/v1/invoice_payments"): listings.list_invoice_payments,
    ("GET", METERS): listings.listing(meters.KIND, METERS, {"status": lambda m: m["status"]}),
    ("POST", METERS): meters.create,
    ("POST", "/v1/billing/meter_events"): meters.tell,
    ("POST", "/v1/billing/meter_event_adjustments"): meters.adjust,
    ("GET", SCHEDULES): listings.list_schedules,
    ("POST", SCHEDULES): schedules.create,
    ("GET", "/v1/coupons"): listings.listing("coupon", "/v1/coupons", {}),
    ("POST", "/v1/coupons"): coupons.create_coupon,
    ("GET", "/v1/promotion_codes"): listings.list_promotion_codes,
    ("POST", "/v1/promotion_codes"): coupons.create_code,
    ("GET", "/v1/charges"): listings.list_charges,
    ("GET", "/v1/refunds"): listings.list_refunds,
    ("POST", "/v1/refunds"): refunds.create,
    ("GET", "/v1/disputes"): listings.list_disputes,
    ("GET", "/v1/credit_notes"): listings.list_credit_notes,
    ("POST", "/v1/credit_notes"): credit_notes.create,
    ("GET", CLOCKS): listings.listing(clocks.KIND, CLOCKS, {}),
    ("POST", CLOCKS): clocks.create,
    ("GET", "/v1/events"): listings.list_events,
}
_ONE: list[tuple[str, str, HandlerOfOne]] = [
    ("GET", "/v1/accounts/{id}", listings.retrieve_account_by_id),
    ("GET", "/v1/customers/{id}", listings.retrieving("customer")),
    ("POST", "/v1/customers/{id}", customers.update_customer),
    ("DELETE", "/v1/customers/{id}", customers.delete_customer),
    ("GET", "/v1/customers/{id}/payment_methods", listings.list_customer_payment_methods),
    ("GET", "/v1/payment_methods/{id}", listings.retrieving("payment_method")),
    ("POST", "/v1/payment_methods/{id}/attach", customers.attach_payment_method),
    ("POST", "/v1/payment_methods/{id}/detach", customers.detach_payment_method),
    ("GET", "/v1/products/{id}", listings.retrieving("product")),
    ("POST", "/v1/products/{id}", catalog.update_product),
    ("DELETE", "/v1/products/{id}", catalog.delete_product),
    ("GET", "/v1/prices/{id}", listings.retrieving("price")),
    ("POST", "/v1/prices/{id}", catalog.update_price),
    ("GET", "/v1/subscriptions/{id}", listings.retrieving("subscription")),
    ("POST", "/v1/subscriptions/{id}", changes.update),
    ("DELETE", "/v1/subscriptions/{id}", subscriptions.cancel),
    ("POST", "/v1/subscriptions/{id}/pause", pauses.pause),
    ("POST", "/v1/subscriptions/{id}/resume", pauses.resume),
    ("GET", "/v1/subscription_items/{id}", listings.retrieving("subscription_item")),
    ("POST", "/v1/subscription_items/{id}", items.update),
    ("DELETE", "/v1/subscription_items/{id}", items.delete),
    ("GET", "/v1/invoices/{id}", listings.retrieving("invoice")),
    ("POST", "/v1/invoices/{id}", invoice_requests.update_invoice),
    ("DELETE", "/v1/invoices/{id}", invoice_requests.delete_invoice),
    ("GET", "/v1/invoices/{id}/lines", listings.list_invoice_lines),
    ("POST", "/v1/invoices/{id}/finalize", invoice_requests.finalize_invoice),
    ("POST", "/v1/invoices/{id}/pay", invoice_requests.pay_invoice),
    ("POST", "/v1/invoices/{id}/void", invoice_requests.void_invoice),
    ("POST", "/v1/invoices/{id}/mark_uncollectible", invoice_requests.mark_invoice_uncollectible),
    ("GET", "/v1/invoiceitems/{id}", listings.retrieving("invoiceitem")),
    ("POST", "/v1/invoiceitems/{id}", invoice_items.update),
    ("DELETE", "/v1/invoiceitems/{id}", invoice_items.delete),
    ("GET", "/v1/invoice_payments/{id}", listings.retrieving("invoice_payment")),
    ("GET", "/v1/payment_intents/{id}", listings.retrieving("payment_intent")),
    ("POST", "/v1/payment_intents/{id}/confirm", invoice_requests.confirm_payment),
    ("GET", "/v1/charges/{id}", listings.retrieving("charge")),
    ("GET", "/v1/balance_transactions/{id}", listings.retrieving("balance_transaction")),
    ("GET", METERS + "/{id}", listings.retrieving(meters.KIND)),
    ("POST", METERS + "/{id}", meters.update),
    ("POST", METERS + "/{id}/deactivate", meters.deactivate),
    ("POST", METERS + "/{id}/reactivate", meters.reactivate),
    ("GET", METERS + "/{id}/event_summaries", meters.summaries),
    ("GET", SCHEDULES + "/{id}", listings.retrieving(schedules.KIND)),
    ("POST", SCHEDULES + "/{id}", schedules.update),
    ("POST", SCHEDULES + "/{id}/release", schedules.release),
    ("POST", SCHEDULES + "/{id}/cancel", schedules.cancel),
    ("GET", "/v1/coupons/{id}", listings.retrieving("coupon")),
    ("POST", "/v1/coupons/{id}", coupons.update_coupon),
    ("DELETE", "/v1/coupons/{id}", coupons.delete_coupon),
    ("GET", "/v1/promotion_codes/{id}", listings.retrieving("promotion_code")),
    ("POST", "/v1/promotion_codes/{id}", coupons.update_code),
    ("DELETE", "/v1/subscriptions/{id}/discount", discounts.detach),
    ("GET", "/v1/refunds/{id}", listings.retrieving("refund")),
    ("POST", "/v1/refunds/{id}", refunds.update),
    ("GET", "/v1/disputes/{id}", listings.retrieving("dispute")),
    ("POST", "/v1/disputes/{id}", disputes.update),
    ("POST", "/v1/disputes/{id}/close", disputes.close),
    ("GET", "/v1/credit_notes/{id}", listings.retrieving("credit_note")),
    ("POST", "/v1/credit_notes/{id}", credit_notes.update),
    ("GET", "/v1/credit_notes/{id}/lines", listings.list_credit_note_lines),
    ("POST", "/v1/credit_notes/{id}/void", credit_notes.void),
    ("GET", CLOCKS + "/{id}", clocks.retrieve),
    ("POST", CLOCKS + "/{id}/advance", clocks.advance),
    ("DELETE", CLOCKS + "/{id}", clocks.delete),
    ("GET", "/v1/events/{id}", listings.retrieve_event),
    ("GET", "/v2/core/events/{id}", listings.retrieve_thin_event),
]
OF_ONE = [(method, re.compile(path.replace("{id}", "([^/]+)")), handler) for method, path, handler in _ONE]
