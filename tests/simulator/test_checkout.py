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
    return simulated.client.v1.checkout.sessions.create(wanted)


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
