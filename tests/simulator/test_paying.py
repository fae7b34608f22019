"""How a subscription's first invoice is paid by the customer, and what is remembered of it."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated


def incomplete(simulated: Simulated, **params: Any) -> tuple[Any, str]:
    """A subscription that waits for its first payment, and the payment intent it waits for."""
    subscription = simulated.subscribe(
        simulated.customer(None),
        payment_behavior="default_incomplete",
        expand=["latest_invoice.payments"],
        **params,
    )
    return subscription, subscription.latest_invoice.payments.data[0].payment.payment_intent


def test_an_incomplete_subscription_begins_once_its_payment_is_confirmed(simulated: Simulated) -> None:
    subscription, intent = incomplete(simulated)
    paid = simulated.client.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"
    assert simulated.status(subscription.id) == "active"
    assert simulated.latest_invoice(subscription.id).status == "paid"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    assert refused.value.code == "payment_intent_unexpected_state"


def test_a_confirmed_payment_that_is_declined_leaves_the_subscription_incomplete(simulated: Simulated) -> None:
    subscription, intent = incomplete(simulated)
    with pytest.raises(stripe.CardError):
        simulated.client.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_chargeCustomerFail"})
    assert simulated.status(subscription.id) == "incomplete"
    simulated.client.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    assert simulated.status(subscription.id) == "active"


def test_a_confirmed_payment_may_ask_the_customer(simulated: Simulated) -> None:
    subscription, intent = incomplete(simulated)
    card = {"payment_method": "pm_card_threeDSecure2Required"}
    assert simulated.client.raw_request("post", f"/v1/payment_intents/{intent}/confirm", **card) is not None
    assert simulated.client.v1.payment_intents.retrieve(intent).status == "requires_action"
    simulated.control("authenticate", {"payment_intent": intent})
    assert simulated.status(subscription.id) == "active"


def test_a_payment_is_not_confirmed_without_a_payment_method(simulated: Simulated) -> None:
    _, intent = incomplete(simulated)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.v1.payment_intents.confirm(intent)
    assert refused.value.param == "payment_method"


@pytest.mark.parametrize("save", ["on_subscription", "off"])
def test_the_card_that_paid_is_saved_where_that_is_asked_for(simulated: Simulated, save: str) -> None:
    subscription, intent = incomplete(simulated, payment_settings={"save_default_payment_method": save})
    simulated.client.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    [card] = simulated.client.v1.payment_methods.list({"customer": subscription.customer}).data
    now = simulated.subscription(subscription.id)
    assert now.payment_settings.save_default_payment_method == save
    assert now.default_payment_method == (card.id if save == "on_subscription" else None)


@pytest.mark.parametrize(
    "params",
    [
        {"payment_settings": {"payment_method_types": ["sepa_debit"]}},
        {"payment_settings": {"payment_method_options": {"card": {"network": "visa"}}}},
        {"invoice_settings": {"issuer": {"type": "account"}}},
    ],
)
def test_what_the_simulator_lacks_is_refused_and_not_left_out(simulated: Simulated, params: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=r"[Ss]imulator"):
        simulated.subscribe(**params)
    subscription = simulated.subscribe(automatic_tax={"enabled": False})
    with pytest.raises(stripe.InvalidRequestError, match=r"[Ss]imulator"):
        simulated.update(subscription.id, **params)


@pytest.mark.parametrize(("behavior", "status"), [("cancel", "canceled"), ("pause", "paused")])
def test_a_trial_without_a_card_ends_as_set_whatever_the_price(
    simulated: Simulated, behavior: str, status: str
) -> None:
    free = simulated.subscribe(
        simulated.customer(None),
        simulated.price(0),
        trial_period_days=3,
        trial_settings={"end_behavior": {"missing_payment_method": behavior}},
    )
    simulated.advance("3d")
    assert simulated.status(free.id) == status


def once(simulated: Simulated, amount: int) -> str:
    return simulated.client.v1.prices.create(
        {"currency": "usd", "unit_amount": amount, "product_data": {"name": "Set-up"}}
    ).id


def test_what_is_added_once_is_on_the_first_invoice_and_on_no_other(simulated: Simulated) -> None:
    subscription = simulated.subscribe(add_invoice_items=[{"price": once(simulated, 700), "quantity": 2}])
    first = simulated.latest_invoice(subscription.id)
    assert (first.total, first.status) == (2500 + 1400, "paid")
    (line,) = [line for line in first.lines.data if line.description == "Set-up"]
    item = simulated.client.v1.invoice_items.retrieve(line.parent.invoice_item_details.invoice_item)
    assert (item.invoice, item.amount, line.parent.invoice_item_details.subscription) == (
        first.id,
        1400,
        subscription.id,
    )
    simulated.advance("32d")
    assert simulated.latest_invoice(subscription.id).total == 2500


def test_what_is_added_later_waits_for_the_next_invoice(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.update(subscription.id, add_invoice_items=[{"price": once(simulated, 700)}])
    assert simulated.latest_invoice(subscription.id).total == 2500
    by_hand = simulated.client.v1.invoices.create(
        {"customer": subscription.customer, "pending_invoice_items_behavior": "include"}
    )
    assert by_hand.total == 0
    simulated.advance("32d")
    assert simulated.latest_invoice(subscription.id).total == 3200


@pytest.mark.parametrize(
    "added",
    [
        {"price": "price_none"},
        {"quantity": 1},
        {"price": "recurring"},
        {"price": "once", "discounts": [{"coupon": "x"}]},
    ],
)
def test_what_cannot_be_added_once_is_refused_and_nothing_is_made(simulated: Simulated, added: dict[str, Any]) -> None:
    prices = {"recurring": simulated.price(), "once": once(simulated, 1)}
    wanted = {name: prices.get(value, value) if name == "price" else value for name, value in added.items()}
    customer = simulated.customer()
    with pytest.raises(stripe.InvalidRequestError):
        simulated.subscribe(customer, add_invoice_items=[wanted])
    assert simulated.client.v1.subscriptions.list({"customer": customer}).data == []
