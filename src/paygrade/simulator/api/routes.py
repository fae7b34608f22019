"""Which request does what: one table of method and path."""

from __future__ import annotations

import re

from paygrade.simulator.api import documented, listings, search, webhook_endpoints
from paygrade.simulator.api.listings import Handler, HandlerOfOne
from paygrade.simulator.billing import (
    changes,
    credit_grants,
    credit_notes,
    entitlements,
    invoice_items,
    invoice_requests,
    items,
    meters,
    pauses,
    previews,
    schedules,
    subscriptions,
)
from paygrade.simulator.checkout import payment_links
from paygrade.simulator.checkout import sessions as checkout
from paygrade.simulator.clocks import test_clocks as clocks
from paygrade.simulator.customers import customers, disputes, fraud_warnings, tax_ids
from paygrade.simulator.intents import payment_intents, setup_intents
from paygrade.simulator.payments import balances, charges, refunds
from paygrade.simulator.portal import configurations
from paygrade.simulator.portal import sessions as portal
from paygrade.simulator.products import catalog, coupons, discounts, plans, tax_rates

METERS = "/v1/billing/meters"
GRANTS = credit_grants.URL
SCHEDULES = "/v1/subscription_schedules"
CLOCKS = "/v1/test_helpers/test_clocks"
FEATURES = "/v1/entitlements/features"
WARNINGS = "/v1/radar/early_fraud_warnings"
SEARCHED = {
    "charges": "charge",
    "customers": "customer",
    "invoices": "invoice",
    "payment_intents": "payment_intent",
    "prices": "price",
    "products": "product",
    "subscriptions": "subscription",
}


def find(method: str, path: str) -> Handler:
    if handler := OF_A_KIND.get((method, path)):
        return handler
    for wanted, pattern, handler_of_one in OF_ONE:
        if wanted == method and (found := pattern.fullmatch(path)):
            return _bound(handler_of_one, *found.groups())
    raise documented.refusal(method, path)


def _bound(handler: HandlerOfOne, *ids: str) -> Handler:
    return lambda world, params: handler(world, *ids, params)


OF_A_KIND: dict[tuple[str, str], Handler] = {
    ("GET", "/v1/account"): listings.retrieve_account,
    ("GET", "/v1/balance"): charges.retrieve_balance,
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
    ("GET", GRANTS): listings.list_credit_grants,
    ("POST", GRANTS): credit_grants.create,
    ("GET", "/v1/billing/credit_balance_summary"): credit_grants.summarize,
    ("GET", "/v1/billing/credit_balance_transactions"): listings.list_credit_transactions,
    ("POST", "/v1/billing/meter_events"): meters.tell,
    ("POST", "/v1/billing/meter_event_adjustments"): meters.adjust,
    ("GET", SCHEDULES): listings.list_schedules,
    ("POST", SCHEDULES): schedules.create,
    ("GET", checkout.URL): listings.list_sessions,
    ("POST", checkout.URL): checkout.create,
    ("GET", payment_links.URL): listings.listing(
        payment_links.KIND, payment_links.URL, {"active": lambda link: link["active"]}, timeless=True
    ),
    ("POST", payment_links.URL): payment_links.create,
    ("POST", portal.URL): portal.create,
    ("GET", configurations.URL): listings.listing(
        configurations.KIND, configurations.URL, listings.CONFIGURATION_FILTERS
    ),
    ("POST", configurations.URL): configurations.create,
    ("GET", "/v1/coupons"): listings.listing("coupon", "/v1/coupons", {}),
    ("POST", "/v1/coupons"): coupons.create_coupon,
    ("GET", "/v1/promotion_codes"): listings.list_promotion_codes,
    ("POST", "/v1/promotion_codes"): coupons.create_code,
    ("GET", payment_intents.URL): listings.list_payment_intents,
    ("POST", payment_intents.URL): payment_intents.create,
    ("GET", setup_intents.URL): listings.list_setup_intents,
    ("POST", setup_intents.URL): setup_intents.create,
    ("GET", "/v1/charges"): listings.list_charges,
    ("GET", "/v1/refunds"): listings.list_refunds,
    ("POST", "/v1/refunds"): refunds.create,
    ("GET", "/v1/disputes"): listings.list_disputes,
    ("GET", "/v1/credit_notes"): listings.list_credit_notes,
    ("POST", "/v1/credit_notes"): credit_notes.create,
    ("GET", credit_notes.URL + "/preview"): credit_notes.preview,
    ("GET", credit_notes.URL + "/preview/lines"): credit_notes.preview_lines,
    ("GET", CLOCKS): listings.listing(clocks.KIND, CLOCKS, {}),
    ("POST", CLOCKS): clocks.create,
    ("GET", "/v1/events"): listings.list_events,
    ("GET", "/v1/balance_transactions"): listings.list_balance_transactions,
    ("GET", "/v1/plans"): listings.list_plans,
    ("POST", "/v1/plans"): plans.create,
    ("GET", "/v1/tax_rates"): listings.listing("tax_rate", "/v1/tax_rates", listings.TAX_RATE_FILTERS),
    ("POST", "/v1/tax_rates"): tax_rates.create,
    ("GET", "/v1/tax_ids"): listings.list_tax_ids,
    ("POST", "/v1/tax_ids"): tax_ids.create,
    ("GET", "/v1/webhook_endpoints"): listings.listing(
        webhook_endpoints.KIND, "/v1/webhook_endpoints", {}, timeless=True
    ),
    ("POST", "/v1/webhook_endpoints"): webhook_endpoints.create,
    ("GET", FEATURES): listings.listing(entitlements.FEATURE, FEATURES, listings.FEATURE_FILTERS, timeless=True),
    ("POST", FEATURES): entitlements.create_feature,
    ("GET", "/v1/entitlements/active_entitlements"): entitlements.list_active,
    ("GET", WARNINGS): listings.listing(fraud_warnings.KIND, WARNINGS, listings.OF_A_CHARGE),
    **{("GET", f"/v1/{path}/search"): search.searching(kind, f"/v1/{path}/search") for path, kind in SEARCHED.items()},
    **{("GET", path): listings.nothing(path) for path in listings.EMPTY_LISTS},
}
_ONE: list[tuple[str, str, HandlerOfOne]] = [
    ("GET", "/v1/accounts/{id}", listings.retrieve_account_by_id),
    ("GET", "/v1/customers/{id}", listings.retrieving("customer")),
    ("POST", "/v1/customers/{id}", customers.update_customer),
    ("DELETE", "/v1/customers/{id}", customers.delete_customer),
    ("GET", "/v1/customers/{id}/payment_methods", listings.list_customer_payment_methods),
    ("GET", "/v1/payment_methods/{id}", listings.retrieving("payment_method")),
    ("POST", "/v1/payment_methods/{id}", customers.update_payment_method),
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
    ("POST", "/v1/invoices/{id}/send", invoice_requests.send_invoice),
    ("POST", "/v1/invoices/{id}/add_lines", invoice_requests.add_lines),
    ("POST", "/v1/invoices/{id}/void", invoice_requests.void_invoice),
    ("POST", "/v1/invoices/{id}/mark_uncollectible", invoice_requests.mark_invoice_uncollectible),
    ("GET", "/v1/invoiceitems/{id}", listings.retrieving("invoiceitem")),
    ("POST", "/v1/invoiceitems/{id}", invoice_items.update),
    ("DELETE", "/v1/invoiceitems/{id}", invoice_items.delete),
    ("GET", "/v1/invoice_payments/{id}", listings.retrieving("invoice_payment")),
    ("GET", "/v1/payment_intents/{id}", listings.retrieving_secret("payment_intent")),
    ("POST", "/v1/payment_intents/{id}", payment_intents.update),
    ("POST", "/v1/payment_intents/{id}/confirm", payment_intents.confirm),
    ("POST", "/v1/payment_intents/{id}/cancel", payment_intents.cancel),
    ("POST", "/v1/payment_intents/{id}/capture", payment_intents.capture),
    ("GET", setup_intents.URL + "/{id}", listings.retrieving_secret(setup_intents.KIND)),
    ("POST", setup_intents.URL + "/{id}", setup_intents.update),
    ("POST", setup_intents.URL + "/{id}/confirm", setup_intents.confirm),
    ("POST", setup_intents.URL + "/{id}/cancel", setup_intents.cancel),
    ("GET", "/v1/charges/{id}", listings.retrieving("charge")),
    ("GET", "/v1/charges/{id}/refunds", listings.list_refunds_of_charge),
    ("GET", "/v1/balance_transactions/{id}", listings.retrieving("balance_transaction")),
    ("GET", METERS + "/{id}", listings.retrieving(meters.KIND)),
    ("POST", METERS + "/{id}", meters.update),
    ("POST", METERS + "/{id}/deactivate", meters.deactivate),
    ("POST", METERS + "/{id}/reactivate", meters.reactivate),
    ("GET", METERS + "/{id}/event_summaries", meters.summaries),
    ("GET", GRANTS + "/{id}", listings.retrieving(credit_grants.KIND)),
    ("POST", GRANTS + "/{id}", credit_grants.update),
    ("POST", GRANTS + "/{id}/expire", credit_grants.expire),
    ("POST", GRANTS + "/{id}/void", credit_grants.void),
    ("GET", "/v1/billing/credit_balance_transactions/{id}", listings.retrieving(credit_grants.TRANSACTION)),
    ("GET", SCHEDULES + "/{id}", listings.retrieving(schedules.KIND)),
    ("POST", SCHEDULES + "/{id}", schedules.update),
    ("POST", SCHEDULES + "/{id}/release", schedules.release),
    ("POST", SCHEDULES + "/{id}/cancel", schedules.cancel),
    ("GET", checkout.URL + "/{id}", listings.retrieving(checkout.KIND)),
    ("POST", checkout.URL + "/{id}", checkout.update),
    ("GET", checkout.URL + "/{id}/line_items", checkout.retrieve_line_items),
    ("POST", checkout.URL + "/{id}/expire", checkout.expire),
    ("GET", payment_links.URL + "/{id}", listings.retrieving(payment_links.KIND)),
    ("POST", payment_links.URL + "/{id}", payment_links.update),
    ("GET", payment_links.URL + "/{id}/line_items", payment_links.retrieve_line_items),
    ("GET", configurations.URL + "/{id}", listings.retrieving(configurations.KIND)),
    ("POST", configurations.URL + "/{id}", configurations.update),
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
    ("POST", "/v1/charges/{id}", charges.update),
    ("GET", "/v1/customers/{id}/balance_transactions", listings.list_customer_balance),
    ("POST", "/v1/customers/{id}/balance_transactions", balances.create),
    ("GET", "/v1/customers/{id}/balance_transactions/{id}", balances.retrieve),
    ("POST", "/v1/customers/{id}/balance_transactions/{id}", balances.update),
    ("GET", "/v1/customers/{id}/sources", listings.list_customer_sources),
    ("GET", "/v1/customers/{id}/tax_ids", listings.list_customer_tax_ids),
    ("POST", "/v1/customers/{id}/tax_ids", tax_ids.create_of_customer),
    ("GET", "/v1/customers/{id}/tax_ids/{id}", tax_ids.retrieve_of_customer),
    ("DELETE", "/v1/customers/{id}/tax_ids/{id}", tax_ids.delete_of_customer),
    ("GET", "/v1/tax_ids/{id}", listings.retrieving("tax_id")),
    ("DELETE", "/v1/tax_ids/{id}", tax_ids.delete),
    ("GET", "/v1/tax_rates/{id}", listings.retrieving("tax_rate")),
    ("POST", "/v1/tax_rates/{id}", tax_rates.update),
    ("GET", "/v1/plans/{id}", plans.retrieve),
    ("POST", "/v1/plans/{id}", plans.update),
    ("DELETE", "/v1/plans/{id}", plans.delete),
    ("GET", "/v1/webhook_endpoints/{id}", listings.retrieving(webhook_endpoints.KIND)),
    ("POST", "/v1/webhook_endpoints/{id}", webhook_endpoints.update),
    ("DELETE", "/v1/webhook_endpoints/{id}", webhook_endpoints.delete),
    ("GET", FEATURES + "/{id}", listings.retrieving(entitlements.FEATURE)),
    ("POST", FEATURES + "/{id}", entitlements.update_feature),
    ("GET", "/v1/products/{id}/features", listings.list_product_features),
    ("POST", "/v1/products/{id}/features", entitlements.attach),
    ("GET", "/v1/products/{id}/features/{id}", entitlements.retrieve_attached),
    ("DELETE", "/v1/products/{id}/features/{id}", entitlements.detach),
    ("GET", "/v1/entitlements/active_entitlements/{id}", entitlements.retrieve_active),
    ("GET", WARNINGS + "/{id}", listings.retrieving(fraud_warnings.KIND)),
    ("GET", "/v2/core/events/{id}", listings.retrieve_thin_event),
]
OF_ONE = [(method, re.compile(path.replace("{id}", "([^/]+)")), handler) for method, path, handler in _ONE]
