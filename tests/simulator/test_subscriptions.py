"""Every way a subscription's status changes, and what it needs for that."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated, instant


def test_a_good_card_makes_it_active_and_paid(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    assert subscription.status == "active"
    [item] = subscription["items"].data
    assert (item.current_period_start, item.current_period_end) == (
        instant("2026-01-31T12:00"),
        instant("2026-02-28T12:00"),
    )
    assert "current_period_end" not in subscription
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == (
        "paid",
        2500,
        "subscription_create",
    )
    assert invoice.parent.subscription_details.subscription == subscription.id


def test_a_customer_without_a_card_is_refused(simulated: Simulated) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        simulated.subscribe(simulated.customer(card=None))
    assert simulated.client.v1.subscriptions.list({"status": "all"}).data == []


def test_a_card_that_declines_leaves_it_incomplete_until_another_pays(simulated: Simulated) -> None:
    customer = simulated.customer("pm_card_chargeCustomerFail")
    subscription = simulated.subscribe(customer)
    assert subscription.status == "incomplete"
    with pytest.raises(stripe.CardError):
        simulated.client.v1.invoices.pay(subscription.latest_invoice)
    assert simulated.status(subscription.id) == "incomplete"
    simulated.set_card(customer, "pm_card_visa")
    simulated.client.v1.invoices.pay(subscription.latest_invoice)
    assert simulated.status(subscription.id) == "active"


def test_incomplete_expires_after_23_hours_for_good(simulated: Simulated) -> None:
    subscription = simulated.subscribe(simulated.customer("pm_card_chargeCustomerFail"))
    simulated.advance("22h59m")
    assert simulated.status(subscription.id) == "incomplete"
    simulated.advance("1m")
    assert simulated.status(subscription.id) == "incomplete_expired"
    assert simulated.latest_invoice(subscription.id).status == "void"
    with pytest.raises(stripe.InvalidRequestError):
        simulated.update(subscription.id, cancel_at_period_end=True)


def test_error_if_incomplete_makes_nothing(simulated: Simulated) -> None:
    customer = simulated.customer("pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        simulated.subscribe(customer, payment_behavior="error_if_incomplete")
    assert simulated.client.v1.subscriptions.list({"status": "all"}).data == []
    assert simulated.client.v1.invoices.list().data == []


def test_default_incomplete_waits_for_the_customer_to_pay(simulated: Simulated) -> None:
    subscription = simulated.subscribe(
        payment_behavior="default_incomplete", expand=["latest_invoice.confirmation_secret"]
    )
    assert subscription.status == "incomplete"
    assert subscription.latest_invoice.status == "open"
    assert subscription.latest_invoice.confirmation_secret.client_secret.startswith("pi_")
    simulated.client.v1.invoices.pay(subscription.latest_invoice.id)
    assert simulated.status(subscription.id) == "active"


@pytest.mark.parametrize(("succeeds", "status"), [(True, "active"), (False, "incomplete")])
def test_a_card_that_needs_authentication_waits_for_the_customer(
    simulated: Simulated, succeeds: bool, status: str
) -> None:
    subscription = simulated.subscribe(
        simulated.customer("pm_card_authenticationRequired"), expand=["latest_invoice.payments"]
    )
    assert subscription.status == "incomplete"
    intent = subscription.latest_invoice.payments.data[0].payment.payment_intent
    assert simulated.client.v1.payment_intents.retrieve(intent).status == "requires_action"
    simulated.control("authenticate", {"payment_intent": intent, "succeeds": succeeds})
    assert simulated.status(subscription.id) == status


def test_a_sent_invoice_is_active_at_once_and_past_due_after_its_due_date(simulated: Simulated) -> None:
    customer = simulated.customer(card=None)
    subscription = simulated.subscribe(customer, collection_method="send_invoice", days_until_due=7)
    assert subscription.status == "active"
    simulated.advance("6d")
    assert simulated.latest_invoice(subscription.id).status == "open"
    assert simulated.status(subscription.id) == "active"
    simulated.advance("1d")
    assert simulated.status(subscription.id) == "past_due"
    simulated.client.v1.invoices.pay(subscription.latest_invoice, {"paid_out_of_band": True})
    assert simulated.status(subscription.id) == "active"


def test_a_trial_ends_in_a_paid_period(simulated: Simulated) -> None:
    subscription = simulated.subscribe(trial_period_days=14)
    assert subscription.status == "trialing"
    assert subscription.trial_end == instant("2026-02-14T12:00")
    assert simulated.latest_invoice(subscription.id).amount_paid == 0
    simulated.advance("14d")
    after = simulated.subscription(subscription.id)
    assert after.status == "active"
    assert after["items"].data[0].current_period_end == instant("2026-03-14T12:00")
    assert simulated.latest_invoice(subscription.id).status == "draft"
    simulated.advance("1h")
    assert simulated.latest_invoice(subscription.id).status == "paid"


def test_the_end_of_a_trial_is_announced_three_days_before(simulated: Simulated) -> None:
    subscription = simulated.subscribe(trial_period_days=14)
    simulated.advance("10d23h")
    assert simulated.events("customer.subscription.trial_will_end") == []
    simulated.advance("1h")
    [event] = simulated.events("customer.subscription.trial_will_end")
    assert event.data.object.id == subscription.id
    simulated.subscribe(trial_period_days=1)
    assert len(simulated.events("customer.subscription.trial_will_end")) == 2


@pytest.mark.parametrize(
    ("behavior", "status"), [("create_invoice", "past_due"), ("pause", "paused"), ("cancel", "canceled")]
)
def test_a_trial_without_a_card_ends_as_its_settings_say(simulated: Simulated, behavior: str, status: str) -> None:
    subscription = simulated.subscribe(
        simulated.customer(card=None),
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": behavior}},
    )
    simulated.advance("7d2h")
    after = simulated.subscription(subscription.id)
    assert after.status == status
    if status == "paused":
        assert after.status_details.paused.subscription.type == "trial_end_without_payment_method"
    if status == "canceled":
        assert after.ended_at == subscription.trial_end


def test_a_trial_can_be_ended_now(simulated: Simulated) -> None:
    subscription = simulated.subscribe(trial_period_days=14)
    simulated.advance("2d")
    after = simulated.update(subscription.id, trial_end="now")
    assert after.status == "active"
    assert after["items"].data[0].current_period_start == instant("2026-02-02T12:00")
    assert simulated.latest_invoice(subscription.id).amount_paid == 2500


def test_cancel_now_ends_at_once_and_for_good(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance("3d")
    ended = simulated.client.v1.subscriptions.cancel(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", instant("2026-02-03T12:00"))
    with pytest.raises(stripe.InvalidRequestError):
        simulated.client.v1.subscriptions.cancel(subscription.id)
    with pytest.raises(stripe.InvalidRequestError):
        simulated.update(subscription.id, cancel_at_period_end=False)
    simulated.advance("60d")
    assert simulated.status(subscription.id) == "canceled"
    assert len(simulated.client.v1.invoices.list({"subscription": subscription.id}).data) == 1


def test_cancel_at_period_end_stays_active_until_then(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance("5d")
    asked = simulated.update(subscription.id, cancel_at_period_end=True)
    assert asked.status == "active"
    assert asked.cancel_at == asked["items"].data[0].current_period_end
    assert asked.canceled_at == instant("2026-02-05T12:00")
    simulated.advance_to("2026-02-28T12:00:00Z")
    ended = simulated.subscription(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", asked.cancel_at)
    assert ended.canceled_at == asked.canceled_at
    assert len(simulated.events("customer.subscription.deleted")) == 1


def test_a_cancellation_can_be_taken_back(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.update(subscription.id, cancel_at_period_end=True)
    kept = simulated.update(subscription.id, cancel_at_period_end=False)
    assert (kept.cancel_at, kept.canceled_at, kept.cancel_at_period_end) == (None, None, False)
    simulated.advance("29d")
    assert simulated.status(subscription.id) == "active"


def test_cancel_at_ends_on_its_instant_though_the_flag_is_false(simulated: Simulated) -> None:
    at = instant("2026-02-10")
    subscription = simulated.subscribe(cancel_at=at)
    assert subscription.cancel_at_period_end is False
    simulated.advance_to("2026-02-09T23:59:59Z")
    assert simulated.status(subscription.id) == "active"
    simulated.advance("1s")
    assert simulated.subscription(subscription.id).ended_at == at


def test_pausing_collection_leaves_the_status_and_the_periods_alone(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    paused = simulated.update(
        subscription.id, pause_collection={"behavior": "void", "resumes_at": instant("2026-03-15")}
    )
    assert paused.status == "active"
    simulated.advance("29d")
    assert simulated.latest_invoice(subscription.id).status == "void"
    assert simulated.status(subscription.id) == "active"
    simulated.advance_to("2026-03-15T00:00:00Z")
    assert simulated.subscription(subscription.id).pause_collection is None
    simulated.advance("20d")
    assert simulated.latest_invoice(subscription.id).status == "paid"


@pytest.mark.parametrize(("behavior", "status"), [("keep_as_draft", "draft"), ("mark_uncollectible", "uncollectible")])
def test_paused_collection_treats_invoices_as_told(simulated: Simulated, behavior: str, status: str) -> None:
    subscription = simulated.subscribe()
    simulated.update(subscription.id, pause_collection={"behavior": behavior})
    simulated.advance("29d")
    assert simulated.latest_invoice(subscription.id).status == status
    resumed = simulated.update(subscription.id, pause_collection="")
    assert (resumed.status, resumed.pause_collection) == ("active", None)


def test_a_paused_subscription_has_no_periods_until_it_is_resumed_and_paid(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance("5d")
    paused = simulated.client.v1.subscriptions.pause(subscription.id)
    assert paused.status == "paused"
    details: Any = paused.status_details
    assert details.paused.subscription.type == "pause_requested"
    simulated.advance("60d")
    assert len(simulated.client.v1.invoices.list({"subscription": subscription.id}).data) == 1
    resumed = simulated.client.v1.subscriptions.resume(
        subscription.id, {"payment_behavior": "resume_on_payment_success"}
    )
    assert resumed.status == "active"
    assert "status_details" not in resumed
    [item] = resumed["items"].data
    assert item.current_period_start == instant("2026-04-06T12:00")
    assert len(simulated.events("customer.subscription.paused")) == 1
    assert len(simulated.events("customer.subscription.resumed")) == 1


def test_a_resumption_by_attempt_waits_for_its_invoice(simulated: Simulated) -> None:
    """The unused 27/28 of 2500 were credited by the pause, and the new period costs 2500 again."""
    subscription = simulated.subscribe()
    simulated.advance("1d")
    simulated.client.v1.subscriptions.pause(subscription.id)
    resumed = simulated.client.v1.subscriptions.resume(subscription.id)
    assert resumed.status == "paused"
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.status, invoice.amount_due) == ("open", 2500 - 2411)
    simulated.client.v1.invoices.pay(invoice.id)
    assert simulated.status(subscription.id) == "active"


def test_a_resumption_nobody_pays_is_voided_after_23_hours(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.client.v1.subscriptions.pause(subscription.id, {"bill_for": {"unused_time_from": {"type": "none"}}})
    simulated.client.v1.subscriptions.resume(subscription.id)
    simulated.advance("23h")
    assert simulated.latest_invoice(subscription.id).status == "void"
    assert simulated.status(subscription.id) == "paused"


def test_only_flexible_subscriptions_can_be_paused(simulated: Simulated) -> None:
    subscription = simulated.subscribe(billing_mode={"type": "classic"})
    with pytest.raises(stripe.InvalidRequestError, match="flexible"):
        simulated.client.v1.subscriptions.pause(subscription.id)


def test_lists_leave_canceled_subscriptions_out_unless_asked(simulated: Simulated) -> None:
    customer = simulated.customer()
    live = simulated.subscribe(customer).id
    gone = simulated.subscribe(customer).id
    waiting = simulated.subscribe(simulated.customer("pm_card_chargeCustomerFail")).id
    simulated.client.v1.subscriptions.cancel(gone)

    def listed(**params: Any) -> list[str]:
        wanted: Any = params
        return [s.id for s in simulated.client.v1.subscriptions.list(wanted).auto_paging_iter()]

    assert listed() == [waiting, live]
    assert listed(customer=customer, status="all", limit=1) == [gone, live]
    assert listed(status="canceled") == listed(status="ended") == [gone]
    assert listed(status="incomplete") == [waiting]
    [item] = simulated.subscription(live)["items"].data
    assert listed(price=item.price.id) == [live]
    assert listed(collection_method="send_invoice") == []
    items = simulated.client.v1.subscription_items.list({"subscription": live})
    assert [i.id for i in items.data] == [item.id]


def test_items_of_unlike_intervals_need_flexible_billing(simulated: Simulated) -> None:
    items = [{"price": simulated.price()}, {"price": simulated.price(interval="year"), "quantity": 2}]
    with pytest.raises(stripe.InvalidRequestError, match="interval"):
        simulated.subscribe(items=items, billing_mode={"type": "classic"})
    subscription = simulated.subscribe(items=items)
    ends = [item.current_period_end for item in subscription["items"].data]
    assert ends == [instant("2026-02-28T12:00"), instant("2027-01-31T12:00")]
    simulated.advance("29d")
    ends = [item.current_period_end for item in simulated.subscription(subscription.id)["items"].data]
    assert ends == [instant("2026-03-31T12:00"), instant("2027-01-31T12:00")]


def test_a_metered_item_has_no_quantity(simulated: Simulated) -> None:
    metered = simulated.price(10, usage_type="metered")
    with pytest.raises(stripe.InvalidRequestError, match="metered"):
        simulated.subscribe(items=[{"price": metered, "quantity": 1}])
    subscription = simulated.subscribe(price=metered)
    assert subscription["items"].data[0].quantity is None
    assert subscription.status == "active"


def test_canceling_can_credit_and_invoice_the_rest_of_the_period(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance("14d")
    details: Any = {"comment": "moving on", "feedback": "too_expensive"}
    ended = simulated.client.v1.subscriptions.cancel(
        subscription.id, {"prorate": True, "invoice_now": True, "cancellation_details": details}
    )
    assert ended.cancellation_details.feedback == "too_expensive"  # type: ignore[union-attr]
    assert simulated.latest_invoice(subscription.id).total == -1250
    assert simulated.client.v1.customers.retrieve(subscription.customer).balance == -1250


def test_a_resumption_that_is_tried_and_declined_is_past_due(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.client.v1.subscriptions.pause(subscription.id, {"bill_for": {"unused_time_from": {"type": "none"}}})
    simulated.client.v1.subscriptions.resume(subscription.id)
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    invoice = simulated.latest_invoice(subscription.id).id
    with pytest.raises(stripe.CardError):
        simulated.client.v1.invoices.pay(invoice)
    assert simulated.status(subscription.id) == "past_due"
    assert simulated.client.v1.invoices.retrieve(invoice).next_payment_attempt is None


def test_a_resumption_by_success_stays_paused_and_is_retried_until_paid(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.client.v1.subscriptions.pause(subscription.id, {"bill_for": {"unused_time_from": {"type": "none"}}})
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    resumed = simulated.client.v1.subscriptions.resume(
        subscription.id, {"payment_behavior": "resume_on_payment_success"}
    )
    assert resumed.status == "paused"
    simulated.set_card(subscription.customer, "pm_card_visa")
    simulated.advance("1d")
    assert simulated.status(subscription.id) == "active"


def test_a_resumption_can_keep_the_anchor_and_bill_the_rest(simulated: Simulated) -> None:
    """Of the 31 days from Feb 28 to Mar 31, 16 are left on Mar 15."""
    subscription = simulated.subscribe()
    simulated.advance("1d")
    simulated.client.v1.subscriptions.pause(subscription.id, {"invoicing_behavior": "invoice"})
    assert simulated.client.v1.customers.retrieve(subscription.customer).balance == -2411
    simulated.advance_to("2026-03-15T12:00:00Z")
    resumed = simulated.client.v1.subscriptions.resume(subscription.id, {"billing_cycle_anchor": {"type": "unchanged"}})
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.total, invoice.amount_due) == (1290, 0)
    assert resumed.status == "active"
    assert resumed["items"].data[0].current_period_end == instant("2026-03-31T12:00")
    assert resumed.billing_cycle_anchor == instant("2026-01-31T12:00")


def test_a_change_left_for_the_customer_to_pay_is_past_due_until_then(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    item = subscription["items"].data[0].id
    after = simulated.update(
        subscription.id,
        items=[{"id": item, "quantity": 2}],
        proration_behavior="always_invoice",
        payment_behavior="default_incomplete",
    )
    assert after.status == "past_due"
    simulated.client.v1.invoices.pay(after.latest_invoice)
    assert simulated.status(subscription.id) == "active"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"cancel_at": 5}, "cancel_at"),
        ({"cancel_at": 9_999_999_999, "cancel_at_period_end": True}, "cancel_at"),
        ({"trial_end": 5}, "trial_end"),
        ({"trial_end": 9_999_999_999, "trial_period_days": 5}, "trial_end"),
        ({"collection_method": "send_invoice"}, "days_until_due"),
        ({"days_until_due": 5}, "days_until_due"),
        ({"billing_cycle_anchor": 9_999_999_999}, "billing_cycle_anchor"),
        ({"default_payment_method": "pm_x"}, "default_payment_method"),
        ({"payment_behavior": "hope"}, "payment_behavior"),
        ({"coupon": "WELCOME"}, "coupon"),
    ],
)
def test_what_a_subscription_cannot_be_is_refused_and_makes_nothing(
    simulated: Simulated, params: dict[str, Any], param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.subscribe(**params)
    assert refused.value.param == param
    assert simulated.client.v1.subscriptions.list({"status": "all"}).data == []
