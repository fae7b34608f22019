"""Checkout Sessions, from the merchant's request over the customer at the page to what was bought."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import START, Simulated

AT = int(START.timestamp())


def open_session(simulated: Simulated, **params: Any) -> Any:
    wanted: Any = {
        "mode": "subscription",
        "line_items": [{"price": simulated.price(), "quantity": 3}],
        "success_url": "https://shop.example/ok?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/no",
        **params,
    }
    told = {name: value for name, value in wanted.items() if value is not None}
    return simulated.client.v1.checkout.sessions.create(told)  # type: ignore[arg-type]


def at_the_page(simulated: Simulated, session: str, **wanted: Any) -> Any:
    return simulated.control("checkout", {"session": session, **wanted})


def session(simulated: Simulated, id: str, **params: Any) -> Any:
    wanted: Any = params
    return simulated.client.v1.checkout.sessions.retrieve(id, wanted)


def types_since(simulated: Simulated, before: int) -> list[str]:
    events = list(simulated.client.v1.events.list({"limit": 100}).auto_paging_iter())[::-1]
    return [event.type for event in events[before:]]


def test_a_good_card_buys_the_subscription_and_the_customer_is_sent_on(simulated: Simulated) -> None:
    made = open_session(
        simulated,
        client_reference_id="acme",
        metadata={"cart": "7"},
        subscription_data={"metadata": {"account": "acme"}, "description": "Team"},
    )
    assert (made.status, made.payment_status, made.amount_total, made.currency) == ("open", "unpaid", 7500, "usd")
    assert (made.customer, made.subscription, made.expires_at) == (None, None, AT + 86_400)
    assert made.url == f"{simulated.running.url}/c/pay/{made.id}"
    before = len(types_since(simulated, 0))
    answer = at_the_page(simulated, made.id, email="ada@example.org", name="Ada")
    assert (answer["outcome"], answer["redirect_to"]) == (
        "complete",
        f"https://shop.example/ok?session={made.id}",
    )
    done = session(simulated, made.id, expand=["subscription", "customer", "line_items"])
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert (done.customer.email, done.customer.name) == ("ada@example.org", "Ada")
    bought = done.subscription
    assert (bought.status, bought.customer, bought.metadata.to_dict()) == (
        "active",
        done.customer.id,
        {"account": "acme"},
    )
    assert bought["items"].data[0].quantity == 3
    assert bought.default_payment_method is not None
    assert bought.latest_invoice == done.invoice
    assert done.line_items.data[0].amount_total == 7500
    happened = types_since(simulated, before)
    assert happened[0] == "customer.created"
    assert happened[-1] == "checkout.session.completed"
    assert [kind for kind in happened if kind.startswith("customer.subscription")] == [
        "customer.subscription.created",
        "customer.subscription.updated",
    ]
    [created] = simulated.events("customer.subscription.created")
    assert created.data.object.status == "incomplete"
    status, refused = simulated.try_control("checkout", {"session": made.id})
    assert status == 400
    assert "complete" in refused["error"]["message"]


def test_a_declined_card_leaves_the_session_open_for_another(simulated: Simulated) -> None:
    made = open_session(simulated)
    before = len(types_since(simulated, 0))
    assert at_the_page(simulated, made.id, outcome="decline")["outcome"] == "declined"
    assert types_since(simulated, before) == []
    answer = at_the_page(simulated, made.id, card="pm_card_chargeCustomerFail")
    assert (answer["outcome"], answer["redirect_to"]) == ("declined", None)
    assert session(simulated, made.id).status == "open"
    [begun] = simulated.client.v1.subscriptions.list({"status": "incomplete"}).data
    assert at_the_page(simulated, made.id)["outcome"] == "complete"
    assert session(simulated, made.id).subscription == begun.id
    assert simulated.status(begun.id) == "active"


def test_a_card_that_asks_the_customer_buys_once_they_confirm(simulated: Simulated) -> None:
    made = open_session(simulated)
    assert at_the_page(simulated, made.id, outcome="challenge")["outcome"] == "requires_action"
    assert session(simulated, made.id).status == "open"
    assert at_the_page(simulated, made.id, outcome="fail_authentication")["outcome"] == "declined"
    assert at_the_page(simulated, made.id, outcome="challenge")["outcome"] == "requires_action"
    assert at_the_page(simulated, made.id, outcome="authenticate")["outcome"] == "complete"
    assert len(simulated.client.v1.subscriptions.list({"status": "all"}).data) == 1


def test_a_session_ends_by_itself_or_when_the_merchant_says_so(simulated: Simulated) -> None:
    soon = open_session(simulated, expires_at=AT + 1800)
    other = open_session(simulated)
    assert simulated.client.v1.checkout.sessions.expire(other.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="expired"):
        simulated.client.v1.checkout.sessions.expire(other.id)
    simulated.advance("30m")
    assert session(simulated, soon.id).status == "expired"
    expired = simulated.events("checkout.session.expired")
    assert [event.data.object.id for event in expired] == [other.id, soon.id]
    ended = simulated.client.v1.checkout.sessions.list({"status": "expired"}).data
    assert [one.id for one in ended] == [other.id, soon.id]


def test_a_trial_is_nothing_to_pay_today(simulated: Simulated) -> None:
    made = open_session(simulated, subscription_data={"trial_period_days": 14})
    assert made.amount_total == 0
    at_the_page(simulated, made.id)
    done = session(simulated, made.id, expand=["subscription"])
    assert (done.payment_status, done.subscription.status) == ("no_payment_required", "trialing")


def test_a_trial_without_a_card_begins_where_none_is_asked_for(simulated: Simulated) -> None:
    trial = {
        "trial_period_days": 14,
        "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
    }
    made = open_session(simulated, subscription_data=trial, payment_method_collection="if_required")
    answer = at_the_page(simulated, made.id, outcome="without_card")
    assert answer["outcome"] == "complete"
    bought = simulated.subscription(answer["session"]["subscription"])
    assert (bought.status, bought.default_payment_method) == ("trialing", None)
    simulated.advance("14d")
    assert simulated.status(bought.id) == "paused"
    asks = open_session(simulated)
    status, refused = simulated.try_control("checkout", {"session": asks.id, "outcome": "without_card"})
    assert (status, refused["error"]["param"]) == (400, "payment_method")


@pytest.mark.parametrize(
    ("outcome", "event", "payment_status", "invoice_status"),
    [
        ("debit", "checkout.session.async_payment_succeeded", "paid", "paid"),
        ("failing_debit", "checkout.session.async_payment_failed", "unpaid", "open"),
    ],
)
def test_a_bank_debit_completes_the_session_before_the_money_is_there(
    simulated: Simulated, outcome: str, event: str, payment_status: str, invoice_status: str
) -> None:
    made = open_session(simulated, payment_method_types=["card", "us_bank_account"])
    assert at_the_page(simulated, made.id, outcome=outcome)["outcome"] == "complete"
    done = session(simulated, made.id, expand=["subscription", "invoice"])
    assert (done.status, done.payment_status, done.subscription.status) == ("complete", "unpaid", "active")
    assert done.invoice.status == "open"
    before = len(types_since(simulated, 0))
    simulated.advance("4d")
    assert types_since(simulated, before)[-1] == event
    done = session(simulated, made.id, expand=["invoice"])
    assert (done.payment_status, done.invoice.status) == (payment_status, invoice_status)
    cards_only = open_session(simulated, payment_method_types=["card"])
    status, refused = simulated.try_control("checkout", {"session": cards_only.id, "outcome": outcome})
    assert (status, refused["error"]["param"]) == (400, "payment_method")


def once(simulated: Simulated, amount: int = 1200) -> str:
    wanted: Any = {"currency": "usd", "unit_amount": amount, "product_data": {"name": "Credits"}}
    return simulated.client.v1.prices.create(wanted).id


def test_one_time_prices_are_paid_by_a_guest_or_a_customer(simulated: Simulated) -> None:
    lines = [{"price": once(simulated), "quantity": 2}]
    guest = open_session(simulated, mode="payment", line_items=lines, payment_intent_data={"metadata": {"a": "b"}})
    assert (guest.amount_total, guest.payment_intent, guest.customer_creation) == (2400, None, "if_required")
    at_the_page(simulated, guest.id, outcome="challenge")
    at_the_page(simulated, guest.id, outcome="authenticate", email="guest@example.org")
    done = session(simulated, guest.id, expand=["payment_intent"])
    assert (done.payment_status, done.customer, done.customer_details.email) == ("paid", None, "customer@example.com")
    intent = done.payment_intent
    assert (intent.amount_received, intent.metadata.to_dict(), intent.customer) == (2400, {"a": "b"}, None)
    [found] = simulated.client.v1.checkout.sessions.list({"payment_intent": intent.id}).data
    assert found.id == guest.id
    customer = simulated.customer(None)
    known = open_session(
        simulated,
        mode="payment",
        customer=customer,
        line_items=lines,
        discounts=[{"coupon": simulated.client.v1.coupons.create({"percent_off": 25, "duration": "once"}).id}],
        payment_intent_data={"setup_future_usage": "off_session"},
    )
    assert (known.amount_subtotal, known.amount_total, known.customer_details.email) == (2400, 1800, "ada@example.org")
    at_the_page(simulated, known.id)
    [kept] = simulated.client.v1.payment_methods.list({"customer": customer}).data
    assert session(simulated, known.id, expand=["payment_intent"]).payment_intent.payment_method == kept.id


def test_one_time_prices_get_an_invoice_where_one_is_asked_for(simulated: Simulated) -> None:
    made = open_session(
        simulated,
        mode="payment",
        line_items=[{"price": once(simulated), "quantity": 1}],
        invoice_creation={"enabled": True, "invoice_data": {"metadata": {"order": "9"}, "footer": "Thanks"}},
    )
    at_the_page(simulated, made.id, card="pm_card_chargeCustomerFail")
    at_the_page(simulated, made.id)
    done = session(simulated, made.id, expand=["invoice"])
    invoice = done.invoice
    assert (invoice.status, invoice.amount_paid, invoice.footer) == ("paid", 1200, "Thanks")
    assert invoice.metadata.to_dict() == {"order": "9"}
    assert len(simulated.client.v1.invoices.list({"customer": done.customer}).data) == 1


def test_a_session_in_setup_mode_keeps_a_card_and_charges_nothing(simulated: Simulated) -> None:
    customer = simulated.customer(None)
    made = open_session(
        simulated, mode="setup", line_items=None, customer=customer, setup_intent_data={"metadata": {"for": "later"}}
    )
    assert (made.payment_status, made.amount_total) == ("no_payment_required", None)
    assert at_the_page(simulated, made.id, outcome="decline")["outcome"] == "declined"
    assert at_the_page(simulated, made.id, outcome="challenge")["outcome"] == "requires_action"
    assert at_the_page(simulated, made.id, outcome="authenticate")["outcome"] == "complete"
    intent = session(simulated, made.id, expand=["setup_intent"]).setup_intent
    assert (intent.status, intent.metadata.to_dict()) == ("succeeded", {"for": "later"})
    [kept] = simulated.client.v1.payment_methods.list({"customer": customer}).data
    assert kept.id == intent.payment_method
    assert simulated.client.v1.charges.list().data == []


def test_tax_tiers_and_currencies_are_billed_as_the_session_showed_them(simulated: Simulated) -> None:
    create: Any = simulated.client.v1.prices.create
    tiered = create(
        {
            "currency": "eur",
            "recurring": {"interval": "month"},
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers": [{"up_to": 2, "unit_amount": 1000}, {"up_to": "inf", "unit_amount": 500}],
            "currency_options": {
                "usd": {"tiers": [{"up_to": 2, "unit_amount": 1200}, {"up_to": "inf", "unit_amount": 600}]}
            },
            "product_data": {"name": "Seats"},
        }
    ).id
    inline = {"currency": "usd", "unit_amount": 300, "product_data": {"name": "Welcome pack"}}
    made = open_session(
        simulated,
        currency="usd",
        line_items=[{"price": tiered, "quantity": 3}, {"price_data": inline, "quantity": 1}],
        automatic_tax={"enabled": True},
    )
    assert (made.amount_total, made.automatic_tax.status) == (3300, "requires_location_inputs")
    at_the_page(simulated, made.id, country="DE", postal_code="10115")
    done = session(simulated, made.id, expand=["invoice", "line_items", "customer"])
    assert (done.currency, done.amount_subtotal, done.amount_total) == ("usd", 3300, 3630)
    assert (done.total_details.amount_tax, done.automatic_tax.status) == (330, "complete")
    assert (done.invoice.total, done.invoice.currency, done.customer.address.country) == (3630, "usd", "DE")
    assert [(item.description, item.amount_total) for item in done.line_items.data] == [
        ("Seats", 3300),
        ("Welcome pack", 330),
    ]


def test_a_session_of_a_customer_with_a_test_clock_lives_by_it(simulated: Simulated) -> None:
    clock = simulated.client.v1.test_helpers.test_clocks.create({"frozen_time": AT + 10 * 86_400})
    customer = simulated.client.v1.customers.create({"test_clock": clock.id, "email": "ada@example.org"}).id
    made = open_session(simulated, customer=customer)
    assert (made.created, made.expires_at) == (AT + 10 * 86_400, AT + 11 * 86_400)
    at_the_page(simulated, made.id)
    bought = simulated.subscription(session(simulated, made.id).subscription)
    assert (bought.customer, bought.created) == (customer, made.created)


def test_sessions_are_listed_and_their_metadata_changed(simulated: Simulated) -> None:
    customer = simulated.customer(None)
    mine, other = open_session(simulated, customer=customer), open_session(simulated)
    sessions = simulated.client.v1.checkout.sessions
    at_the_page(simulated, other.id, email="bob@example.org")
    subscription = session(simulated, other.id).subscription
    assert [one.id for one in sessions.list({"customer": customer}).data] == [mine.id]
    assert [one.id for one in sessions.list({"subscription": subscription}).data] == [other.id]
    assert [one.id for one in sessions.list({"status": "open"}).data] == [mine.id]
    wanted: Any = {"customer_details": {"email": "bob@example.org"}}
    assert [one.id for one in sessions.list(wanted).data] == [other.id]
    assert sessions.update(mine.id, {"metadata": {"a": "b"}}).metadata.to_dict() == {"a": "b"}  # type: ignore[union-attr]
    assert [item.quantity for item in sessions.line_items.list(mine.id).data] == [3]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"mode": None}, "mode"),
        ({"mode": "later"}, "mode"),
        ({"line_items": []}, "line_items"),
        ({"line_items": [{"quantity": 1}]}, "line_items[0][price]"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "line_items[0][price]"),
        ({"line_items": [{"price": "{monthly}"}]}, "line_items[0][quantity]"),
        ({"line_items": [{"price": "{monthly}", "quantity": 0}]}, "line_items[0][quantity]"),
        ({"line_items": [{"price": "{monthly}", "quantity": 2**63}]}, "line_items[0][quantity]"),
        ({"line_items": [{"price": "{once}", "quantity": 1}]}, "line_items"),
        ({"mode": "payment"}, "line_items"),
        ({"mode": "setup"}, "line_items"),
        ({"success_url": None}, "success_url"),
        ({"success_url": "javascript:alert(1)"}, "success_url"),
        ({"return_url": "https://shop.example"}, "return_url"),
        ({"expires_at": AT + 60}, "expires_at"),
        ({"expires_at": AT + 90_000}, "expires_at"),
        ({"customer": "cus_none"}, "customer"),
        ({"customer": "{customer}", "customer_email": "a@example.org"}, "customer_email"),
        ({"payment_intent_data": {"description": "x"}}, "payment_intent_data"),
        ({"subscription_data": {"trial_period_days": 0}}, "subscription_data[trial_period_days]"),
        ({"subscription_data": {"transfer_data": {"destination": "acct_1"}}}, "subscription_data[transfer_data]"),
        ({"discounts": [{"coupon": "none"}]}, "discounts[0][coupon]"),
        ({"payment_method_types": ["sofort"]}, "payment_method_types"),
        ({"shipping_options": [{"shipping_rate": "shr_1"}]}, "shipping_options"),
        ({"customer": "{customer}", "automatic_tax": {"enabled": True}}, "automatic_tax[enabled]"),
    ],
)
def test_what_makes_no_session_is_refused(simulated: Simulated, params: dict[str, Any], param: str) -> None:
    known = {"{monthly}": simulated.price(), "{once}": once(simulated), "{customer}": simulated.customer(None)}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [filled(inner) for inner in value]
        return known.get(value, value) if isinstance(value, str) else value

    with pytest.raises(stripe.InvalidRequestError) as refused:
        open_session(simulated, **filled(params))
    assert refused.value.param == param
    assert simulated.client.v1.checkout.sessions.list().data == []
