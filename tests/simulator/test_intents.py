"""PaymentIntents and SetupIntents, as a merchant makes them and a customer's browser confirms them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated, client_of

THREE_DS = "pm_card_threeDSecure2Required"


def of(simulated: Simulated, *kinds: str) -> list[str]:
    events = list(simulated.client.v1.events.list({"limit": 100}).auto_paging_iter())[::-1]
    return [event.type for event in events if event.type.startswith(kinds)]


def pay(simulated: Simulated, **params: Any) -> Any:
    wanted: Any = {"amount": 1200, "currency": "usd", **params}
    return simulated.client.v1.payment_intents.create(wanted)


def test_a_payment_by_hand_is_made_confirmed_and_final(simulated: Simulated) -> None:
    customer = simulated.customer(None)
    intents = simulated.client.v1.payment_intents
    made = pay(simulated, customer=customer, setup_future_usage="off_session", metadata={"cart": "7"})
    assert (made.status, made.payment_method) == ("requires_payment_method", None)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        intents.confirm(made.id)
    assert refused.value.param == "payment_method"
    with pytest.raises(stripe.CardError) as declined:
        intents.confirm(made.id, {"payment_method": "pm_card_chargeDeclinedInsufficientFunds"})
    error: Any = declined.value.error
    assert (error.code, error.decline_code, error.payment_intent.id) == (
        "card_declined",
        "insufficient_funds",
        made.id,
    )
    assert intents.retrieve(made.id).last_payment_error is not None
    assert intents.update(made.id, {"amount": 900, "payment_method": "pm_card_visa"}).status == "requires_confirmation"
    paid = intents.confirm(made.id)
    assert (paid.status, paid.amount_received, paid.last_payment_error) == ("succeeded", 900, None)
    [kept] = simulated.client.v1.payment_methods.list({"customer": customer}).data
    assert paid.payment_method == kept.id
    for again in (intents.confirm, intents.cancel):
        with pytest.raises(stripe.InvalidRequestError) as final:
            again(made.id)
        assert final.value.code == "payment_intent_unexpected_state"
    assert [one.id for one in intents.list({"customer": customer}).data] == [made.id]
    assert of(simulated, "payment_intent", "charge") == [
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    refund = simulated.client.v1.refunds.create({"payment_intent": made.id})
    assert refund.amount == 900


def test_a_payment_that_asks_the_customer_says_how_they_confirm(simulated: Simulated) -> None:
    made = pay(simulated, confirm=True, payment_method=THREE_DS)
    assert made.status == "requires_action"
    assert made.next_action.type == "use_stripe_sdk"
    simulated.control("authenticate", {"payment_intent": made.id, "succeeds": False})
    failed = simulated.client.v1.payment_intents.retrieve(made.id)
    assert failed.status == "requires_payment_method"
    assert failed.last_payment_error is not None
    assert failed.last_payment_error.code == "payment_intent_authentication_failure"
    again = simulated.client.v1.payment_intents.confirm(
        made.id, {"payment_method": THREE_DS, "return_url": "https://shop.example/back"}
    )
    assert again.next_action is not None
    assert again.next_action.redirect_to_url is not None
    assert again.next_action.redirect_to_url.return_url == "https://shop.example/back"
    simulated.control("authenticate", {"payment_intent": made.id})
    assert simulated.client.v1.payment_intents.retrieve(made.id).status == "succeeded"


def test_money_is_set_aside_and_captured_in_part_or_let_go(simulated: Simulated) -> None:
    intents = simulated.client.v1.payment_intents
    held = pay(simulated, confirm=True, payment_method="pm_card_visa", capture_method="manual")
    assert (held.status, held.amount_capturable, held.amount_received) == ("requires_capture", 1200, 0)
    with pytest.raises(stripe.InvalidRequestError):
        intents.capture(held.id, {"amount_to_capture": 1201})
    taken = intents.capture(held.id, {"amount_to_capture": 700})
    assert (taken.status, taken.amount_received, taken.amount_capturable) == ("succeeded", 700, 0)
    other = pay(simulated, confirm=True, payment_method="pm_card_visa", capture_method="manual")
    assert intents.cancel(other.id, {"cancellation_reason": "abandoned"}).status == "canceled"


@pytest.mark.parametrize(
    ("account", "status", "event"),
    [("success", "succeeded", "charge.succeeded"), ("accountClosed", "requires_payment_method", "charge.failed")],
)
def test_a_bank_debit_is_under_way_for_days(simulated: Simulated, account: str, status: str, event: str) -> None:
    made = pay(
        simulated,
        confirm=True,
        payment_method=f"pm_usBankAccount_{account}",
        payment_method_types=["us_bank_account"],
    )
    assert made.status == "processing"
    simulated.advance("3d23h")
    assert simulated.client.v1.payment_intents.retrieve(made.id).status == "processing"
    simulated.advance("1h")
    assert simulated.client.v1.payment_intents.retrieve(made.id).status == status
    assert of(simulated, "charge") == ["charge.pending", event]


def test_a_subscription_paid_by_debit_begins_at_once_and_stays_if_the_debit_fails(simulated: Simulated) -> None:
    good = simulated.subscribe(simulated.customer("pm_usBankAccount_success"))
    bad = simulated.subscribe(simulated.customer("pm_usBankAccount_insufficientFunds"))
    assert (good.status, bad.status) == ("active", "active")
    assert simulated.latest_invoice(good.id).status == "open"
    simulated.advance("4d")
    assert (simulated.status(good.id), simulated.status(bad.id)) == ("active", "active")
    assert simulated.latest_invoice(good.id).status == "paid"
    failed = simulated.latest_invoice(bad.id)
    assert (failed.status, failed.attempt_count, failed.next_payment_attempt is not None) == ("open", 1, True)
    [event] = simulated.events("invoice.payment_failed")
    assert event.data.object.id == failed.id


def test_a_renewal_whose_debit_fails_is_past_due(simulated: Simulated) -> None:
    customer = simulated.customer("pm_card_visa")
    subscription = simulated.subscribe(customer)
    simulated.set_card(customer, "pm_usBankAccount_insufficientFunds")
    simulated.advance("28d2h")
    assert simulated.status(subscription.id) == "active"
    simulated.advance("4d")
    assert simulated.status(subscription.id) == "past_due"


def test_a_card_is_kept_for_later(simulated: Simulated) -> None:
    customer = simulated.customer(None)
    intents = simulated.client.v1.setup_intents
    made = intents.create({"customer": customer, "metadata": {"a": "b"}})
    assert (made.status, made.usage) == ("requires_payment_method", "off_session")
    with pytest.raises(stripe.CardError):
        intents.confirm(made.id, {"payment_method": "pm_card_chargeDeclined"})
    asks = intents.confirm(made.id, {"payment_method": "pm_card_authenticationRequiredOnSetup"})
    assert asks.status == "requires_action"
    assert simulated.client.v1.payment_methods.list({"customer": customer}).data == []
    simulated.control("authenticate", {"setup_intent": made.id})
    done = intents.retrieve(made.id)
    [kept] = simulated.client.v1.payment_methods.list({"customer": customer}).data
    assert (done.status, done.payment_method) == ("succeeded", kept.id)
    # Confirmed once for later, this card asks no more.
    simulated.client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": kept.id}})
    assert simulated.subscribe(customer).status == "active"
    other = intents.create({"customer": customer, "payment_method": kept.id})
    assert intents.cancel(other.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        intents.confirm(other.id)
    assert refused.value.code == "setup_intent_unexpected_state"
    assert [one.id for one in intents.list({"customer": customer}).data] == [other.id, made.id]
    assert of(simulated, "setup_intent") == [
        "setup_intent.created",
        "setup_intent.setup_failed",
        "setup_intent.requires_action",
        "setup_intent.succeeded",
        "setup_intent.created",
        "setup_intent.canceled",
    ]


def test_a_trial_without_a_card_waits_for_one_by_its_setup_intent(simulated: Simulated) -> None:
    customer = simulated.customer(None)
    subscription = simulated.subscribe(
        customer,
        trial_period_days=7,
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["pending_setup_intent"],
    )
    assert subscription.status == "trialing"
    intent = subscription.pending_setup_intent
    simulated.client.v1.setup_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    now = simulated.subscription(subscription.id)
    [kept] = simulated.client.v1.payment_methods.list({"customer": customer}).data
    assert (now.pending_setup_intent, now.default_payment_method) == (None, kept.id)
    simulated.advance("7d2h")
    assert (simulated.status(subscription.id), simulated.latest_invoice(subscription.id).status) == ("active", "paid")
    assert simulated.subscribe(trial_period_days=7).pending_setup_intent is None


def test_a_browser_confirms_with_the_publishable_key_what_it_has_the_secret_of(simulated: Simulated) -> None:
    subscription = simulated.subscribe(
        simulated.customer(None),
        payment_behavior="default_incomplete",
        expand=["latest_invoice.confirmation_secret"],
    )
    secret = subscription.latest_invoice.confirmation_secret.client_secret
    intent = secret.partition("_secret_")[0]
    browser = client_of(simulated.running, key="pk_test_simulator")
    card = browser.v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}}).id
    with pytest.raises(stripe.AuthenticationError):
        browser.v1.customers.list()
    for wrong in ({}, {"client_secret": "pi_x_secret_y"}):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            browser.raw_request("post", f"/v1/payment_intents/{intent}/confirm", payment_method=card, **wrong)
        assert refused.value.code == "resource_missing"
    params: Any = {"client_secret": secret}
    assert browser.v1.payment_intents.retrieve(intent, params).status == "requires_payment_method"
    browser.raw_request("post", f"/v1/payment_intents/{intent}/confirm", payment_method=card, client_secret=secret)
    assert simulated.status(subscription.id) == "active"


@pytest.mark.parametrize(
    ("path", "params", "param"),
    [
        ("payment_intents", {"currency": "usd"}, "amount"),
        ("payment_intents", {"amount": 0, "currency": "usd"}, "amount"),
        ("payment_intents", {"amount": 2**63, "currency": "usd"}, "amount"),
        ("payment_intents", {"amount": 1, "currency": "zzz"}, "currency"),
        ("payment_intents", {"amount": 100, "currency": "usd", "confirm": "true"}, "payment_method"),
        ("payment_intents", {"amount": 100, "currency": "usd", "payment_method": "pm_none"}, "payment_method"),
        ("payment_intents", {"amount": 100, "currency": "usd", "customer": "cus_none"}, "customer"),
        (
            "payment_intents",
            {"amount": 100, "currency": "usd", "payment_method_types": ["sofort"]},
            "payment_method_types",
        ),
        ("setup_intents", {"customer": "cus_none"}, "customer"),
        ("setup_intents", {"payment_method_types": ["sofort"]}, "payment_method_types"),
        ("setup_intents", {"confirm": "true"}, "payment_method"),
    ],
)
def test_what_makes_no_intent_is_refused_and_leaves_none(
    simulated: Simulated, path: str, params: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.raw_request("post", f"/v1/{path}", **params)
    assert refused.value.param == param
    assert simulated.client.v1.events.list({"types": ["payment_intent.created", "setup_intent.created"]}).data == []
