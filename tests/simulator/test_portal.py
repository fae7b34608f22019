"""The customer portal: what its configuration lets a customer do, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated


def configured(simulated: Simulated, **features: Any) -> str:
    wanted: Any = {"features": features}
    return simulated.client.v1.billing_portal.configurations.create(wanted).id


def changing(simulated: Simulated, *prices: str, **more: Any) -> dict[str, Any]:
    """The feature that lets customers change to these prices."""
    products = [{"product": simulated.client.v1.prices.retrieve(id).product, "prices": [id]} for id in prices]
    allowed = ["price", "quantity"]
    return {"enabled": True, "default_allowed_updates": allowed, "products": products, **more}


def open_portal(simulated: Simulated, customer: str, configuration: str | None = None, **params: Any) -> str:
    wanted: Any = {"customer": customer, **({"configuration": configuration} if configuration else {}), **params}
    return simulated.client.v1.billing_portal.sessions.create(wanted).id


def do(simulated: Simulated, session: str, action: str, **wanted: Any) -> Any:
    return simulated.control("portal", {"session": session, "action": action, **wanted})


def refused(simulated: Simulated, session: str, action: str, **wanted: Any) -> Any:
    status, answer = simulated.try_control("portal", {"session": session, "action": action, **wanted})
    assert status in (400, 402), answer
    return answer["error"]


def test_the_default_configuration_is_there_when_it_is_needed(simulated: Simulated) -> None:
    configurations = simulated.client.v1.billing_portal.configurations
    assert configurations.list().data == []
    subscription = simulated.subscribe()
    session = open_portal(simulated, subscription.customer)
    [default] = configurations.list({"is_default": True}).data
    assert default.features.subscription_cancel.mode == "at_period_end"
    other = simulated.price(9900)
    assert "subscription_update" in refused(simulated, session, "change_plan", price=other)["message"]
    changed: Any = {"features": {"subscription_update": changing(simulated, other)}}
    configurations.update(default.id, changed)
    assert do(simulated, session, "change_plan", price=other)["outcome"] == "complete"
    assert simulated.subscription(subscription.id)["items"].data[0].price.id == other
    with pytest.raises(stripe.InvalidRequestError):
        configurations.update(default.id, {"active": False})


def test_a_customer_cancels_at_the_periods_end_or_at_once_as_configured(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    session = open_portal(simulated, subscription.customer, return_url="https://shop.example/account")
    answer = do(simulated, session, "cancel", feedback="unused", comment="bye")
    assert answer["redirect_to"] == "https://shop.example/account"
    ends = simulated.subscription(subscription.id)
    period_end = ends["items"].data[0].current_period_end
    assert (ends.status, ends.cancel_at, ends.cancel_at_period_end) == ("active", period_end, False)
    assert (ends.cancellation_details.feedback, ends.cancellation_details.comment) == ("unused", "bye")
    do(simulated, session, "stay")
    assert simulated.subscription(subscription.id).cancel_at is None
    assert "not set to end" in refused(simulated, session, "stay")["message"]
    classic = simulated.subscribe(billing_mode={"type": "classic"})
    do(simulated, open_portal(simulated, classic.customer), "cancel")
    assert simulated.subscription(classic.id).cancel_at_period_end is True
    now = {"enabled": True, "mode": "immediately", "proration_behavior": "none"}
    at_once = open_portal(simulated, subscription.customer, configured(simulated, subscription_cancel=now))
    do(simulated, at_once, "cancel")
    assert simulated.status(subscription.id) == "canceled"


def test_a_change_that_is_not_paid_leaves_the_plan_as_it_was(simulated: Simulated) -> None:
    small, large = simulated.price(1000), simulated.price(5000)
    feature = changing(simulated, small, large, proration_behavior="always_invoice")
    configuration = configured(simulated, subscription_update=feature, payment_method_update={"enabled": True})
    subscription = simulated.subscribe(price=small)
    session = open_portal(simulated, subscription.customer, configuration)

    def plan() -> tuple[str, str]:
        now = simulated.subscription(subscription.id)
        assert now.pending_update is None
        return now["items"].data[0].price.id, now.status

    do(simulated, session, "set_card", card="pm_card_chargeCustomerFail")
    answer = do(simulated, session, "change_plan", price=large)
    assert (answer["outcome"], answer["message"]) == ("declined", "Your card was declined.")
    assert plan() == (small, "active")
    do(simulated, session, "set_card", card="pm_card_threeDSecure2Required")
    do(simulated, session, "authenticate")
    assert do(simulated, session, "change_plan", price=large)["outcome"] == "requires_action"
    assert do(simulated, session, "fail_authentication")["outcome"] == "declined"
    assert plan() == (small, "active")
    assert do(simulated, session, "change_plan", price=large)["outcome"] == "requires_action"
    assert do(simulated, session, "authenticate")["outcome"] == "complete"
    assert plan() == (large, "active")
    assert simulated.latest_invoice(subscription.id).status == "paid"
    assert "does not offer" in refused(simulated, session, "change_plan", price=simulated.price(1))["message"]


def test_a_cheaper_plan_waits_for_the_periods_end_where_that_is_configured(simulated: Simulated) -> None:
    small, large = simulated.price(1000), simulated.price(5000)
    waits = {"conditions": [{"type": "decreasing_item_amount"}]}
    configuration = configured(
        simulated, subscription_update=changing(simulated, small, large, schedule_at_period_end=waits)
    )
    subscription = simulated.subscribe(price=large)
    session = open_portal(simulated, subscription.customer, configuration)
    assert do(simulated, session, "change_plan", price=small)["outcome"] == "complete"
    now = simulated.subscription(subscription.id)
    assert (now["items"].data[0].price.id, now.schedule is not None) == (large, True)
    simulated.advance("28d2h")
    now = simulated.subscription(subscription.id)
    assert now["items"].data[0].price.id == small
    assert simulated.latest_invoice(subscription.id).total == 1000
    simulated.advance("31d")
    assert simulated.subscription(subscription.id).schedule is None


def test_a_trial_ends_or_goes_on_with_a_change_of_plan(simulated: Simulated) -> None:
    small, large = simulated.price(1000), simulated.price(5000)
    for behavior, status in (("continue_trial", "trialing"), ("end_trial", "active")):
        feature = changing(simulated, small, large, trial_update_behavior=behavior)
        subscription = simulated.subscribe(price=small, trial_period_days=14)
        session = open_portal(simulated, subscription.customer, configured(simulated, subscription_update=feature))
        do(simulated, session, "change_plan", price=large)
        assert simulated.status(subscription.id) == status


def test_a_flow_confirms_the_change_it_was_made_for(simulated: Simulated) -> None:
    small, large = simulated.price(1000), simulated.price(5000)
    feature = changing(simulated, small, proration_behavior="always_invoice")
    configuration = configured(simulated, subscription_update=feature)
    subscription = simulated.subscribe(price=small)
    item = {"id": subscription["items"].data[0].id, "price": large, "quantity": 2}
    flow = {
        "type": "subscription_update_confirm",
        "subscription_update_confirm": {"subscription": subscription.id, "items": [item]},
        "after_completion": {"type": "redirect", "redirect": {"return_url": "https://shop.example/done"}},
    }
    session = open_portal(simulated, subscription.customer, configuration, flow_data=flow)
    answer = do(simulated, session, "confirm")
    assert (answer["outcome"], answer["redirect_to"]) == ("complete", "https://shop.example/done")
    now = simulated.subscription(subscription.id)
    assert (now["items"].data[0].price.id, now["items"].data[0].quantity) == (large, 2)


def test_a_new_card_pays_the_next_renewal_also_of_a_subscription_with_its_own(simulated: Simulated) -> None:
    customer = simulated.customer("pm_card_visa")
    [old] = simulated.client.v1.payment_methods.list({"customer": customer}).data
    subscription = simulated.subscribe(customer, default_payment_method=old.id)
    session = open_portal(simulated, customer)
    assert do(simulated, session, "set_card", card="pm_card_chargeDeclined")["outcome"] == "declined"
    do(simulated, session, "set_card", card="pm_card_mastercard")
    simulated.advance("28d2h")
    charge = simulated.charge_of(simulated.latest_invoice(subscription.id).id)
    assert charge.payment_method_details.card.brand == "mastercard"
    do(simulated, session, "update_details", email="new@example.org", name="New")
    changed = simulated.client.v1.customers.retrieve(customer)
    assert (changed.email, changed.name) == ("new@example.org", "New")


def test_nobody_manages_what_is_another_customers(simulated: Simulated) -> None:
    mine, other = simulated.subscribe(), simulated.subscribe()
    session = open_portal(simulated, mine.customer)
    assert refused(simulated, session, "cancel", subscription=other.id)["code"] == "resource_missing"
    assert simulated.subscription(other.id).cancel_at is None


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"customer": "cus_none"}, "customer"),
        ({"configuration": "bpc_none"}, "configuration"),
        ({"return_url": "javascript:alert(1)"}, "return_url"),
        ({"flow_data": {"type": "nothing"}}, "flow_data[type]"),
        ({"flow_data": {"type": "subscription_update"}}, "flow_data[type]"),
        ({"flow_data": {"type": "subscription_cancel"}}, "flow_data[subscription_cancel][subscription]"),
        (
            {"flow_data": {"type": "subscription_cancel", "subscription_cancel": {"subscription": "sub_none"}}},
            "flow_data[subscription_cancel][subscription]",
        ),
        ({"on_behalf_of": "acct_1"}, "on_behalf_of"),
    ],
)
def test_what_opens_no_portal_is_refused(simulated: Simulated, params: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        open_portal(simulated, **{"customer": simulated.customer(), **params})
    assert refusal.value.param == param


@pytest.mark.parametrize(
    ("features", "param"),
    [
        ({}, "features"),
        ({"nothing": {"enabled": True}}, "features[nothing]"),
        ({"subscription_cancel": {"enabled": True, "mode": "later"}}, "features[subscription_cancel][mode]"),
        (
            {"subscription_update": {"enabled": True, "products": [{"product": "prod_none", "prices": []}]}},
            "features[subscription_update][products][0][product]",
        ),
    ],
)
def test_what_is_no_configuration_is_refused(simulated: Simulated, features: Any, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        configured(simulated, **features)
    assert refusal.value.param == param
    assert simulated.client.v1.billing_portal.configurations.list().data == []


@pytest.mark.parametrize(
    ("control", "wanted"),
    [
        ("checkout", {}),
        ("checkout", {"session": "cs_none"}),
        ("checkout", {"session": 7}),
        ("portal", {"session": "bps_none", "action": "cancel"}),
        ("portal", {"session": "bps_none", "action": "dance"}),
        ("portal", {"session": "bps_none", "action": "change_plan", "quantity": "2"}),
        ("invoice", {"invoice": "in_none"}),
        ("invoice", {}),
        ("authenticate", {"setup_intent": "seti_none"}),
        ("checkout", {"session": "cs_none", "unknown": 1}),
    ],
)
def test_a_control_that_names_nothing_is_told_so(simulated: Simulated, control: str, wanted: dict[str, Any]) -> None:
    status, answer = simulated.try_control(control, wanted)
    assert status in (400, 404)
    assert answer["error"]["message"]
