"""Every object has the fields the official library declares, no others, and all that are never absent."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated
from .test_checkout import open_session

# Sent by the API and no longer declared by the library.
LEGACY: dict[str, set[str]] = {
    "subscription": {"plan", "quantity"},
    "charge": {"destination", "dispute", "order"},
    "debit": {"destination", "dispute", "order"},
    "list": {"total_count"},
}
# Declared as never null, and yet only sent when asked for or in some states (as the API's answers show).
SOMETIMES: dict[str, set[str]] = {
    "charge": {"source"},
    "debit": {"source"},
    "price": {"currency_options"},
    "refund": {"instructions_email"},
}


def beside_billing(client: Any, customer: str, product: str, charge: str) -> dict[str, Any]:
    rate = client.tax_rates.create({"display_name": "VAT", "percentage": 19, "inclusive": False})
    owned: Any = {"type": "eu_vat", "value": "DE123456789"}
    feature = client.entitlements.features.create({"name": "API", "lookup_key": "api"})
    given = client.products.features.create(product, {"entitlement_feature": feature.id})
    wanted: Any = {"url": "http://127.0.0.1:9/", "enabled_events": ["price.created"]}
    credit: Any = {"amount": -5, "currency": "usd"}
    line: Any = {"price_data": {"currency": "usd", "product": product, "unit_amount": 5}, "quantity": 1}
    grant = client.billing.credit_grants.create(
        {
            "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 5}},
            "applicability_config": {"scope": {"price_type": "metered"}},
            "customer": customer,
        }
    )
    return {
        "credit_grant": grant,
        "credit_transaction": client.billing.credit_balance_transactions.list({"customer": customer}).data[0],
        "payment_link": client.payment_links.create({"line_items": [line]}),
        "tax_rate": rate,
        "tax_id": client.customers.tax_ids.create(customer, owned),
        "customer_balance_transaction": client.customers.balance_transactions.create(customer, credit),
        "webhook_endpoint": client.webhook_endpoints.create(wanted),
        "feature": feature,
        "product_feature": given,
        "active_entitlement": client.entitlements.active_entitlements.list({"customer": customer}).data[0],
        "early_fraud_warning": client.radar.early_fraud_warnings.list().data[0],
        "old_plan": client.plans.list().data[0],
    }


def objects(simulated: Simulated) -> dict[str, Any]:
    subscription = simulated.subscribe(
        trial_period_days=3, expand=["latest_invoice.payments", "customer", "default_payment_method"]
    )
    simulated.advance("3d2h")
    paid = simulated.subscription(subscription.id, expand=["latest_invoice.payments"])
    intent = paid.latest_invoice.payments.data[0].payment.payment_intent
    client = simulated.client.v1
    price = paid["items"].data[0].price
    charge: Any = client.payment_intents.retrieve(intent).latest_charge
    latest = paid.latest_invoice.id
    note = client.credit_notes.create({"invoice": latest, "amount": 100, "credit_amount": 100})
    refund = client.refunds.create({"charge": charge, "amount": 100})
    simulated.control("early_fraud_warning", {"charge": charge})
    simulated.control("dispute", {"charge": charge})
    coupon = client.coupons.create({"percent_off": 20, "duration": "forever"})
    code = client.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    discounted = simulated.subscribe(discounts=[{"coupon": coupon.id}], expand=["discounts"])
    schedule = client.subscription_schedules.create({"from_subscription": discounted.id})
    meter = client.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    )
    manual = client.invoices.create({"customer": paid.customer})
    item = client.invoice_items.create({"customer": paid.customer, "invoice": manual.id, "amount": 700})
    usage: dict[str, str] = {"stripe_customer_id": paid.customer, "value": "3"}
    session = open_session(simulated)
    simulated.control("checkout", {"session": session.id, "outcome": "debit"})
    bought: Any = client.checkout.sessions.retrieve(session.id, {"expand": ["line_items", "customer"]})
    debit: Any = client.payment_methods.list({"customer": bought.customer.id}).data[0]
    portal = client.billing_portal.sessions.create({"customer": paid.customer})
    return {
        "checkout_session": bought,
        "open_checkout_session": open_session(simulated),
        "checkout_item": bought.line_items.data[0],
        "bank_account": debit,
        "debit": client.charges.list({"customer": bought.customer.id}).data[0],
        "setup_intent": client.setup_intents.create({"confirm": True, "payment_method": "pm_card_visa"}),
        "own_payment_intent": client.payment_intents.create({"amount": 100, "currency": "usd"}),
        "portal_session": portal,
        "portal_configuration": client.billing_portal.configurations.list().data[0],
        **beside_billing(client, paid.customer, price.product, charge),
        "manual_invoice": client.invoices.retrieve(manual.id),
        "invoice_item": item,
        "manual_line": client.invoices.retrieve(manual.id).lines.data[0],
        "meter": meter,
        "meter_event": client.billing.meter_events.create({"event_name": "calls", "payload": usage}),
        "subscription_schedule": schedule,
        "coupon": coupon,
        "promotion_code": code,
        "discount": discounted.discounts[0],
        "credit_note": note,
        "credit_note_line": note.lines.data[0],
        "refund": refund,
        "dispute": client.disputes.list().data[0],
        "account": client.accounts.retrieve_current(),
        "customer": subscription.customer,
        "subscription": paid,
        "subscription_item": paid["items"].data[0],
        "plan": paid["items"].data[0].plan,
        "price": price,
        "product": client.products.retrieve(price.product),
        "invoice": paid.latest_invoice,
        "line_item": paid.latest_invoice.lines.data[0],
        "invoice_payment": paid.latest_invoice.payments.data[0],
        "payment_intent": client.payment_intents.retrieve(intent),
        "charge": client.charges.retrieve(charge),
        "payment_method": client.payment_methods.list({"customer": paid.customer}).data[0],
        "event": client.events.list({"limit": 1}).data[0],
    }


def declared(cls: type) -> dict[str, str]:
    """Give the fields a library class declares, with their annotations as written."""
    return {
        name: str(annotation) for name, annotation in cls.__annotations__.items() if "ClassVar" not in str(annotation)
    }


def test_objects_have_the_declared_fields_and_no_others(simulated: Simulated) -> None:
    for name, thing in objects(simulated).items():
        fields = declared(type(thing))
        assert len(fields) > 4, name
        present = set(thing.to_dict())
        assert present <= set(fields) | LEGACY.get(name, set()), name
        never_null = {field for field, kind in fields.items() if "Optional" not in kind and "None" not in kind}
        assert never_null - SOMETIMES.get(name, set()) <= present, name
        for field in present & never_null:
            assert thing[field] is not None, (name, field)


# Fields that Stripe's published types require (nullable ones included), inside of objects or added of late.
REQUIRED: dict[str, list[str]] = {
    "subscription": [
        "cancellation_details.feedback_option",
        "trial_settings.end_behavior.billing_cycle_anchor",
        "invoice_settings.custom_fields",
        "invoice_settings.description",
        "invoice_settings.footer",
    ],
    "product": ["tax_details"],
    "payment_intent": ["managed_payments", "allowed_payment_method_types", "payment_record"],
    "charge": [
        "payment_method_details.card.electronic_commerce_indicator",
        "payment_method_details.card.transaction_link_id",
    ],
}


def test_fields_that_stripes_types_require_are_there(simulated: Simulated) -> None:
    made = objects(simulated)
    for name, paths in REQUIRED.items():
        for path in paths:
            *way, last = path.split(".")
            thing = made[name].to_dict()
            for step in way:
                thing = thing[step]
            assert last in thing, (name, path)


def test_only_a_paused_subscription_has_status_details(simulated: Simulated) -> None:
    assert "status_details" not in simulated.subscribe()


@pytest.mark.parametrize("name", ["subscription", "invoice", "customer"])
def test_every_object_is_the_library_class_of_its_name(simulated: Simulated, name: str) -> None:
    classes: dict[str, type] = {
        "subscription": stripe.Subscription,
        "invoice": stripe.Invoice,
        "customer": stripe.Customer,
    }
    assert isinstance(objects(simulated)[name], classes[name])
