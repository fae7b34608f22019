"""Changes of a subscription and what they cost."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated, instant

FEBRUARY = (instant("2026-01-31T12:00"), instant("2026-02-28T12:00"))  # 28 days


def test_a_plain_update_changes_only_what_it_names(simulated: Simulated) -> None:
    subscription = simulated.subscribe(metadata={"a": "1"})
    after = simulated.update(subscription.id, metadata={"b": "2"}, description="Team")
    assert after.metadata.to_dict() == {"a": "1", "b": "2"}
    [event] = simulated.events("customer.subscription.updated")
    assert event.data.previous_attributes.to_dict() == {"metadata": {"b": None}, "description": None}


def test_an_upgrade_keeps_the_item_and_swaps_its_price(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    item = subscription["items"].data[0].id
    better = simulated.price(10_000)
    after = simulated.update(subscription.id, items=[{"id": item, "price": better, "quantity": 3}])
    [kept] = after["items"].data
    assert (kept.id, kept.price.id, kept.quantity) == (item, better, 3)
    assert (kept.current_period_start, kept.current_period_end) == FEBRUARY


def test_prorations_wait_for_the_next_invoice(simulated: Simulated) -> None:
    """After 7 of 28 days three quarters are left: 75 % of 2500 back, 75 % of 10000 due."""
    subscription = simulated.subscribe()
    simulated.advance("7d")
    item = subscription["items"].data[0].id
    simulated.update(subscription.id, items=[{"id": item, "price": simulated.price(10_000)}])
    assert simulated.latest_invoice(subscription.id).billing_reason == "subscription_create"
    simulated.advance_to("2026-02-28T13:00:00Z")
    invoice = simulated.latest_invoice(subscription.id)
    assert [line.amount for line in invoice.lines.data] == [-1875, 7500, 10_000]
    assert [line.parent.subscription_item_details.proration for line in invoice.lines.data] == [
        True,
        True,
        False,
    ]
    assert (invoice.total, invoice.status) == (15_625, "paid")
    assert invoice.lines.data[0].description == "Unused time on Pro after 7 Feb 2026"


def test_always_invoice_bills_the_change_now(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance("7d")
    item = subscription["items"].data[0].id
    simulated.update(
        subscription.id,
        items=[{"id": item, "quantity": 3}],
        proration_behavior="always_invoice",
    )
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.billing_reason, invoice.status, invoice.total) == ("subscription_update", "paid", 3750)
    credited = invoice.lines.data[0].parent.subscription_item_details.proration_details.credited_items
    assert credited.invoice == subscription.latest_invoice


def test_without_proration_the_change_is_free_until_the_next_period(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance("7d")
    item = subscription["items"].data[0].id
    simulated.update(subscription.id, items=[{"id": item, "quantity": 3}], proration_behavior="none")
    simulated.advance_to("2026-02-28T13:00:00Z")
    assert simulated.latest_invoice(subscription.id).total == 7500


def test_a_downgrade_becomes_credit_that_pays_later_invoices(simulated: Simulated) -> None:
    subscription = simulated.subscribe(price=simulated.price(10_000))
    simulated.advance("14d")
    item = subscription["items"].data[0].id
    simulated.update(
        subscription.id,
        items=[{"id": item, "price": simulated.price(2000)}],
        proration_behavior="always_invoice",
    )
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.total, invoice.amount_due, invoice.status) == (-4000, 0, "paid")
    assert simulated.client.v1.customers.retrieve(subscription.customer).balance == -4000
    simulated.advance_to("2026-02-28T13:00:00Z")
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.total, invoice.amount_due, invoice.ending_balance) == (2000, 0, -2000)


@pytest.mark.parametrize(("mode", "credit"), [("flexible", -1250), ("classic", -5000)])
def test_flexible_billing_credits_what_was_debited_classic_what_it_costs_now(
    simulated: Simulated, mode: str, credit: int
) -> None:
    subscription = simulated.subscribe(billing_mode={"type": mode})
    item = subscription["items"].data[0].id
    better = simulated.price(10_000)
    simulated.update(subscription.id, items=[{"id": item, "price": better}], proration_behavior="none")
    simulated.advance("14d")
    simulated.update(subscription.id, items=[{"id": item, "quantity": 2}], proration_behavior="always_invoice")
    invoice = simulated.latest_invoice(subscription.id)
    assert [line.amount for line in invoice.lines.data] == [credit, 10_000]


def test_flexible_billing_keeps_the_anchor_from_month_to_year(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    item = subscription["items"].data[0].id
    after = simulated.update(
        subscription.id,
        items=[{"id": item, "price": simulated.price(25_000, interval="year")}],
        proration_behavior="always_invoice",
    )
    assert after.billing_cycle_anchor == FEBRUARY[0]
    assert after["items"].data[0].current_period_end == instant("2027-01-31T12:00")
    assert simulated.latest_invoice(subscription.id).total == 22_500


def test_classic_billing_starts_a_new_period_when_the_interval_changes(simulated: Simulated) -> None:
    subscription = simulated.subscribe(billing_mode={"type": "classic"})
    simulated.advance("14d")
    item = subscription["items"].data[0].id
    yearly = simulated.price(25_000, interval="year")
    after = simulated.update(subscription.id, items=[{"id": item, "price": yearly}])
    assert after.billing_cycle_anchor == instant("2026-02-14T12:00")
    assert after["items"].data[0].current_period_end == instant("2027-02-14T12:00")
    assert [line.amount for line in simulated.latest_invoice(subscription.id).lines.data] == [-1250, 25_000]


def test_items_can_be_added_and_removed_but_not_the_last(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    extra = simulated.price(500)
    first = subscription["items"].data[0].id
    after = simulated.update(subscription.id, items=[{"price": extra, "quantity": 2}])
    assert [item.price.unit_amount for item in after["items"].data] == [2500, 500]
    assert after["items"].data[1].current_period_end == FEBRUARY[1]
    with pytest.raises(stripe.InvalidRequestError, match="same price"):
        simulated.update(subscription.id, items=[{"price": extra}])
    after = simulated.update(subscription.id, items=[{"id": first, "deleted": True}])
    [left] = after["items"].data
    assert left.price.id == extra
    with pytest.raises(stripe.InvalidRequestError):
        simulated.update(subscription.id, items=[{"id": left.id, "deleted": True}])
    items = simulated.client.v1.subscription_items.list({"subscription": subscription.id})
    assert [item.id for item in items.data] == [left.id]


def test_a_change_that_cannot_be_paid_makes_it_past_due(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    item = subscription["items"].data[0].id
    after = simulated.update(subscription.id, items=[{"id": item, "quantity": 5}], proration_behavior="always_invoice")
    assert (after.status, after["items"].data[0].quantity) == ("past_due", 5)


def test_error_if_incomplete_refuses_the_change_whole(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    item = subscription["items"].data[0].id
    with pytest.raises(stripe.CardError):
        simulated.update(
            subscription.id,
            items=[{"id": item, "quantity": 5}],
            metadata={"a": "1"},
            proration_behavior="always_invoice",
            payment_behavior="error_if_incomplete",
        )
    after = simulated.subscription(subscription.id)
    assert (after.status, after["items"].data[0].quantity) == ("active", 1)
    assert after.metadata.to_dict() == {}
    assert after.latest_invoice == subscription.latest_invoice


def hold_a_change(simulated: Simulated) -> Any:
    subscription = simulated.subscribe()
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    item = subscription["items"].data[0].id
    return simulated.update(
        subscription.id,
        items=[{"id": item, "quantity": 5}],
        proration_behavior="always_invoice",
        payment_behavior="pending_if_incomplete",
    )


def test_a_pending_update_is_not_live_until_it_is_paid(simulated: Simulated) -> None:
    held = hold_a_change(simulated)
    assert (held.status, held["items"].data[0].quantity) == ("active", 1)
    assert held.pending_update.subscription_items[0].quantity == 5
    simulated.set_card(held.customer, "pm_card_visa")
    simulated.client.v1.invoices.pay(held.latest_invoice)
    after = simulated.subscription(held.id)
    assert (after["items"].data[0].quantity, after.pending_update) == (5, None)


def test_a_pending_update_holds_metadata_and_discounts_until_it_is_paid(simulated: Simulated) -> None:
    subscription = simulated.subscribe(metadata={"kept": "yes", "gone": "soon"})
    coupon = simulated.client.v1.coupons.create({"percent_off": 10, "duration": "forever"}).id
    simulated.set_card(subscription.customer, "pm_card_chargeCustomerFail")
    held = simulated.update(
        subscription.id,
        items=[{"id": subscription["items"].data[0].id, "quantity": 5}],
        payment_behavior="pending_if_incomplete",
        proration_behavior="always_invoice",
        metadata={"change": "1", "gone": ""},
        discounts=[{"coupon": coupon}],
    )
    assert (held.metadata.to_dict(), held.discounts) == ({"kept": "yes", "gone": "soon"}, [])
    assert held.pending_update.metadata.to_dict() == {"change": "1"}
    assert len(held.pending_update.discounts) == 1
    simulated.set_card(subscription.customer, "pm_card_visa")
    simulated.client.v1.invoices.pay(held.latest_invoice)
    after = simulated.subscription(subscription.id)
    assert after.metadata.to_dict() == {"kept": "yes", "change": "1"}
    assert (len(after.discounts), after.pending_update) == (1, None)


def test_what_cannot_wait_for_a_payment_is_refused_with_a_pending_update(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    with pytest.raises(stripe.InvalidRequestError, match="you can only pass"):
        simulated.update(subscription.id, payment_behavior="pending_if_incomplete", description="later")
    sent = simulated.subscribe(collection_method="send_invoice", days_until_due=7)
    with pytest.raises(stripe.InvalidRequestError, match="charge_automatically"):
        simulated.update(sent.id, payment_behavior="pending_if_incomplete", proration_behavior="none")


def test_another_update_takes_the_place_of_one_that_waits(simulated: Simulated) -> None:
    held = hold_a_change(simulated)
    item = held["items"].data[0].id
    changed = simulated.update(held.id, items=[{"id": item, "quantity": 3}], proration_behavior="none")
    assert (changed["items"].data[0].quantity, changed.pending_update) == (3, None)
    assert simulated.client.v1.invoices.retrieve(held.latest_invoice).status == "void"


def test_a_pending_update_nobody_pays_is_dropped_after_23_hours(simulated: Simulated) -> None:
    held = hold_a_change(simulated)
    simulated.advance("23h")
    after = simulated.subscription(held.id)
    assert (after.status, after["items"].data[0].quantity, after.pending_update) == ("active", 1, None)
    assert simulated.latest_invoice(held.id).status == "void"


def test_a_trial_can_be_put_into_a_running_subscription(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance("14d")
    end = instant("2026-03-10")
    after = simulated.update(subscription.id, trial_end=end)
    assert (after.status, after.trial_end, after.billing_cycle_anchor) == ("trialing", end, end)
    longer = simulated.update(subscription.id, trial_end=instant("2026-03-20"))
    assert longer["items"].data[0].current_period_end == instant("2026-03-20")
    simulated.advance_to("2026-03-10T00:00:00Z")
    assert simulated.status(subscription.id) == "trialing"
    simulated.advance_to("2026-03-20T00:00:00Z")
    assert simulated.status(subscription.id) == "active"


def test_the_anchor_can_be_moved_to_now(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.advance("14d")
    after = simulated.update(subscription.id, billing_cycle_anchor={"type": "now"})
    assert after.billing_cycle_anchor == instant("2026-02-14T12:00")
    assert after["items"].data[0].current_period_end == instant("2026-03-14T12:00")
    assert simulated.latest_invoice(subscription.id).total == 1250


def test_a_first_period_up_to_the_anchor_is_prorated(simulated: Simulated) -> None:
    subscription = simulated.subscribe(billing_cycle_anchor=instant("2026-02-14T12:00"))
    assert subscription["items"].data[0].current_period_end == instant("2026-02-14T12:00")
    assert simulated.latest_invoice(subscription.id).total == 1129  # 14 of the 31 days before Feb 14
    simulated.advance_to("2026-02-14T13:00:00Z")
    after = simulated.subscription(subscription.id)
    assert after["items"].data[0].current_period_end == instant("2026-03-14T12:00")
    assert simulated.latest_invoice(subscription.id).total == 2500


def test_with_mixed_intervals_the_period_ends_with_its_first_item(simulated: Simulated) -> None:
    yearly, monthly = simulated.price(interval="year"), simulated.price()
    subscription = simulated.subscribe(items=[{"price": yearly}, {"price": monthly}])
    canceled = simulated.update(subscription.id, cancel_at_period_end=True)
    assert canceled.cancel_at == min(item.current_period_end for item in subscription["items"].data) == FEBRUARY[1]
    simulated.advance_to("2026-02-28T12:00:00Z")
    assert simulated.status(subscription.id) == "canceled"


def test_a_first_item_that_moves_takes_the_canceled_period_end_with_it(simulated: Simulated) -> None:
    yearly, monthly = simulated.price(interval="year"), simulated.price()
    subscription = simulated.subscribe(price=yearly, cancel_at_period_end=True)
    assert subscription.cancel_at == instant("2027-01-31T12:00")
    added = simulated.update(subscription.id, items=[{"price": monthly}])
    assert added.cancel_at == FEBRUARY[1]


def test_a_canceled_period_end_follows_a_moved_period(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.update(subscription.id, cancel_at_period_end=True)
    item = subscription["items"].data[0].id
    yearly = simulated.price(25_000, interval="year")
    after = simulated.update(subscription.id, items=[{"id": item, "price": yearly}])
    assert after.cancel_at == instant("2027-01-31T12:00")
    simulated.advance_to("2026-03-01T00:00:00Z")
    assert simulated.status(subscription.id) == "active"


def test_an_item_can_be_added_changed_and_removed_by_itself(simulated: Simulated) -> None:
    items = simulated.client.v1.subscription_items
    subscription = simulated.subscribe()
    added = items.create({"subscription": subscription.id, "price": simulated.price(500), "quantity": 2})
    assert items.update(added.id, {"quantity": 3, "proration_behavior": "none"}).quantity == 3
    assert len(simulated.subscription(subscription.id)["items"].data) == 2
    assert items.delete(added.id).deleted is True
    assert len(simulated.subscription(subscription.id)["items"].data) == 1


@pytest.mark.parametrize("proration", ["always_invoice", "create_prorations"])
def test_a_preview_shows_what_the_change_then_costs(simulated: Simulated, proration: Any) -> None:
    subscription = simulated.subscribe()
    simulated.advance("5d7h")
    change: Any = {
        "items": [{"id": subscription["items"].data[0].id, "price": simulated.price(9900), "quantity": 2}],
        "proration_behavior": proration,
    }
    preview = simulated.client.v1.invoices.create_preview(
        {"subscription": subscription.id, "subscription_details": change}
    )
    before = simulated.subscription(subscription.id)
    assert (before["items"].data[0].quantity, before.latest_invoice) == (1, subscription.latest_invoice)
    simulated.client.v1.subscriptions.update(subscription.id, change)
    if proration == "create_prorations":
        simulated.advance_to("2026-02-28T13:00:00Z")
    invoice = simulated.latest_invoice(subscription.id)
    assert invoice.total == preview.total
    assert [line.amount for line in invoice.lines.data] == [line.amount for line in preview.lines.data]


def test_a_preview_of_a_new_subscription_makes_none(simulated: Simulated) -> None:
    details: Any = {"items": [{"price": simulated.price(), "quantity": 4}]}
    preview = simulated.client.v1.invoices.create_preview(
        {"customer": simulated.customer(), "subscription_details": details}
    )
    assert preview.total == 10_000
    assert simulated.client.v1.subscriptions.list({"status": "all"}).data == []


def test_what_ends_has_no_upcoming_invoice(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    simulated.update(subscription.id, cancel_at_period_end=True)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.v1.invoices.create_preview({"subscription": subscription.id})
    assert refused.value.code == "invoice_upcoming_none"


def test_paying_for_a_held_change_after_the_end_revives_nothing(simulated: Simulated) -> None:
    held = hold_a_change(simulated)
    ended = simulated.client.v1.subscriptions.cancel(held.id)
    assert ended.pending_update is None
    simulated.set_card(held.customer, "pm_card_visa")
    simulated.client.v1.invoices.pay(held.latest_invoice)
    after = simulated.subscription(held.id)
    assert (after.status, after["items"].data[0].quantity) == ("canceled", 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cancel_at": 5},
        {"collection_method": "send_invoice"},
        {"pause_collection": {"behavior": "nap"}},
        {"default_payment_method": "pm_x"},
        {"trial_settings": {"end_behavior": {"missing_payment_method": "hope"}}},
    ],
)
def test_one_wrong_field_refuses_the_whole_update(simulated: Simulated, wrong: dict[str, Any]) -> None:
    subscription = simulated.subscribe()
    item = subscription["items"].data[0].id
    with pytest.raises(stripe.InvalidRequestError):
        simulated.update(
            subscription.id,
            items=[{"id": item, "quantity": 9}],
            metadata={"a": "1"},
            proration_behavior="always_invoice",
            **wrong,
        )
    assert simulated.subscription(subscription.id).to_dict() == subscription.to_dict()
    assert simulated.events("customer.subscription.updated") == []
    assert len(simulated.client.v1.invoices.list().data) == 1
