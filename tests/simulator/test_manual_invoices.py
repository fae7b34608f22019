"""Invoices made by hand, and the items on them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated


def draft(simulated: Simulated, customer: str, **params: Any) -> Any:
    wanted: Any = {"customer": customer, "auto_advance": False, "pending_invoice_items_behavior": "exclude", **params}
    return simulated.client.v1.invoices.create(wanted)


def add(simulated: Simulated, customer: str, amount: int, **params: Any) -> Any:
    wanted: Any = {"customer": customer, "amount": amount, "currency": "usd", "description": "Credits", **params}
    return simulated.client.v1.invoice_items.create(wanted)


def test_only_the_items_added_to_a_draft_are_charged(simulated: Simulated) -> None:
    customer = simulated.customer()
    waiting = add(simulated, customer, 999)
    invoice = draft(simulated, customer, metadata={"top_up": "one"})
    add(simulated, customer, 2000, invoice=invoice.id)
    simulated.advance("2d")
    kept = simulated.client.v1.invoices.retrieve(invoice.id)
    assert (kept.status, kept.amount_due, kept.billing_reason) == ("draft", 2000, "manual")
    assert simulated.client.v1.invoices.finalize_invoice(invoice.id, {"auto_advance": False}).status == "open"
    simulated.advance("2d")
    assert simulated.client.v1.invoices.retrieve(invoice.id).status == "open"
    paid = simulated.client.v1.invoices.pay(invoice.id)
    assert (paid.status, paid.amount_paid) == ("paid", 2000)
    assert paid.metadata is not None
    assert paid.metadata["top_up"] == "one"
    assert [line.amount for line in paid.lines.data] == [2000]
    assert simulated.charge_of(invoice.id).amount == 2000
    listed = simulated.client.v1.invoice_items.list({"customer": customer, "pending": True})
    assert [item.id for item in listed.data] == [waiting.id]


def test_waiting_items_come_onto_an_invoice_that_includes_them(simulated: Simulated) -> None:
    customer = simulated.customer()
    add(simulated, customer, 300)
    add(simulated, customer, 400)
    invoice = draft(simulated, customer, pending_invoice_items_behavior="include")
    assert [line.amount for line in invoice.lines.data] == [300, 400]
    assert invoice.total == 700


def test_an_invoice_that_advances_is_finalized_and_paid_by_itself(simulated: Simulated) -> None:
    customer = simulated.customer()
    invoice = draft(simulated, customer, auto_advance=True)
    add(simulated, customer, 700, invoice=invoice.id)
    simulated.advance("2h")
    assert simulated.client.v1.invoices.retrieve(invoice.id).status == "paid"
    types = {event.type for event in simulated.client.v1.events.list({"limit": 100}).data}
    assert {"invoice.created", "invoiceitem.created", "invoice.updated", "invoice.finalized", "invoice.paid"} <= types


def test_a_declined_invoice_stays_open_is_not_tried_again_and_can_be_voided(simulated: Simulated) -> None:
    customer = simulated.customer("pm_card_chargeCustomerFail")
    invoice = draft(simulated, customer)
    add(simulated, customer, 700, invoice=invoice.id)
    simulated.client.v1.invoices.finalize_invoice(invoice.id)
    with pytest.raises(stripe.CardError) as declined:
        simulated.client.v1.invoices.pay(invoice.id)
    assert declined.value.code == "card_declined"
    simulated.advance("30d")
    kept = simulated.client.v1.invoices.retrieve(invoice.id)
    assert (kept.status, kept.attempt_count) == ("open", 1)
    assert simulated.client.v1.invoices.void_invoice(invoice.id).status == "void"
    with pytest.raises(stripe.InvalidRequestError, match="already void"):
        simulated.client.v1.invoices.pay(invoice.id)


def test_a_payment_repeated_under_its_key_is_declined_and_paid_once(simulated: Simulated) -> None:
    customer = simulated.customer("pm_card_chargeCustomerFail")
    invoice = draft(simulated, customer)
    add(simulated, customer, 700, invoice=invoice.id)
    simulated.client.v1.invoices.finalize_invoice(invoice.id)
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            simulated.client.v1.invoices.pay(invoice.id, options={"idempotency_key": "first"})
    simulated.set_card(customer, "pm_card_visa")
    for _ in range(2):
        paid = simulated.client.v1.invoices.pay(invoice.id, options={"idempotency_key": "second"})
        assert paid.status == "paid"
    charges = simulated.client.v1.charges.list({"customer": customer}).data
    assert sorted(charge.status for charge in charges) == ["failed", "succeeded"]


def test_items_are_added_to_drafts_only_and_in_their_currency(simulated: Simulated) -> None:
    customer = simulated.customer()
    invoice = draft(simulated, customer, currency="usd")
    item = add(simulated, customer, 700, invoice=invoice.id)
    with pytest.raises(stripe.InvalidRequestError, match="`usd`"):
        add(simulated, customer, 700, invoice=invoice.id, currency="eur")
    with pytest.raises(stripe.InvalidRequestError, match="another customer"):
        add(simulated, simulated.customer(), 700, invoice=invoice.id)
    simulated.client.v1.invoice_items.delete(item.id)
    assert simulated.client.v1.invoices.retrieve(invoice.id).total == 0
    add(simulated, customer, 700, invoice=invoice.id)
    simulated.client.v1.invoices.finalize_invoice(invoice.id)
    with pytest.raises(stripe.InvalidRequestError, match="draft"):
        add(simulated, customer, 700, invoice=invoice.id)


def test_a_draft_can_be_changed_and_deleted_with_its_items(simulated: Simulated) -> None:
    customer = simulated.customer()
    invoice = draft(simulated, customer)
    item = add(simulated, customer, 700, invoice=invoice.id)
    changed = simulated.client.v1.invoices.update(invoice.id, {"description": "Credits", "metadata": {"a": "b"}})
    assert changed.description == "Credits"
    assert changed.metadata is not None
    assert changed.metadata["a"] == "b"
    assert simulated.client.v1.invoices.delete(invoice.id).deleted
    with pytest.raises(stripe.InvalidRequestError, match="No such"):
        simulated.client.v1.invoices.retrieve(invoice.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such"):
        simulated.client.v1.invoice_items.retrieve(item.id)


def test_an_invoice_made_by_hand_leaves_subscriptions_alone(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    invoice = draft(simulated, subscription.customer)
    add(simulated, subscription.customer, 700, invoice=invoice.id)
    with pytest.raises(stripe.CardError):
        simulated.client.v1.invoices.pay(invoice.id)
    assert simulated.status(subscription.id) == "active"
    listed = simulated.client.v1.invoices.list({"subscription": subscription.id})
    assert invoice.id not in [each.id for each in listed.data]


def test_usage_taken_back_below_zero_is_billed_as_none(simulated: Simulated) -> None:
    meter = simulated.client.v1.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    )
    recurring: Any = {"interval": "month", "usage_type": "metered", "meter": meter.id}
    price = simulated.client.v1.prices.create(
        {"currency": "usd", "unit_amount": 5, "recurring": recurring, "product_data": {"name": "Calls"}}
    )
    subscription = simulated.subscribe(price=price.id)
    for value in ("10", "-12"):
        payload = {"stripe_customer_id": subscription.customer, "value": value}
        simulated.client.v1.billing.meter_events.create({"event_name": "calls", "payload": payload})
    simulated.advance_to("2026-02-28T13:00:00Z")
    assert simulated.latest_invoice(subscription.id).total == 0
