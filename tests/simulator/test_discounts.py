"""Coupons, promotion codes, and what they take off invoices and prorations."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated, instant


def coupon(simulated: Simulated, **params: Any) -> str:
    wanted: Any = {"percent_off": 20, "duration": "forever", **params}
    return simulated.client.v1.coupons.create(wanted).id


def totals(simulated: Simulated, subscription: str) -> list[int]:
    """Give the totals of a subscription's invoices, oldest first."""
    listed = simulated.client.v1.invoices.list({"subscription": subscription, "limit": 100})
    return [invoice.total for invoice in listed.data][::-1]


def test_a_percentage_is_taken_off_every_invoice(simulated: Simulated) -> None:
    subscription = simulated.subscribe(discounts=[{"coupon": coupon(simulated)}])
    simulated.advance("60d")
    assert totals(simulated, subscription.id) == [2000, 2000, 2000]
    invoice = simulated.latest_invoice(subscription.id)
    assert (invoice.subtotal, invoice.amount_paid) == (2500, 2000)
    [discount] = subscription.discounts
    assert invoice.discounts == [discount]
    assert [(off.amount, off.discount) for off in invoice.total_discount_amounts] == [(500, discount)]
    assert [off.amount for off in invoice.lines.data[0].discount_amounts] == [500]


def test_an_amount_takes_off_no_more_than_there_is(simulated: Simulated) -> None:
    off = coupon(simulated, percent_off=None, amount_off=4000, currency="usd")
    subscription = simulated.subscribe(discounts=[{"coupon": off}])
    assert subscription.status == "active"
    assert totals(simulated, subscription.id) == [0]


def test_several_discounts_apply_in_their_order(simulated: Simulated) -> None:
    half, amount = (
        coupon(simulated, percent_off=50),
        coupon(simulated, percent_off=None, amount_off=500, currency="usd"),
    )
    for order, total in (([half, amount], 750), ([amount, half], 1000)):
        subscription = simulated.subscribe(discounts=[{"coupon": one} for one in order])
        assert totals(simulated, subscription.id) == [total]


def test_once_is_used_up_by_the_first_invoice_that_costs_something(simulated: Simulated) -> None:
    once = coupon(simulated, duration="once")
    subscription = simulated.subscribe(discounts=[{"coupon": once}], trial_period_days=3)
    assert len(subscription.discounts) == 1
    simulated.advance("40d")
    assert totals(simulated, subscription.id) == [0, 2000, 2500]
    assert simulated.subscription(subscription.id).discounts == []
    assert len(simulated.events("customer.discount.deleted")) == 1


def test_repeating_ends_after_its_months(simulated: Simulated) -> None:
    repeating = coupon(simulated, duration="repeating", duration_in_months=2)
    subscription = simulated.subscribe(discounts=[{"coupon": repeating}], expand=["discounts"])
    assert subscription.discounts[0].end == instant("2026-03-31T12:00")
    simulated.advance("100d")
    assert totals(simulated, subscription.id) == [2000, 2000, 2500, 2500]
    assert simulated.subscription(subscription.id).discounts == []


def test_a_discount_can_be_added_kept_and_taken_off(simulated: Simulated) -> None:
    subscription = simulated.subscribe()
    [first] = simulated.update(subscription.id, discounts=[{"coupon": coupon(simulated)}]).discounts
    more = simulated.update(subscription.id, discounts=[{"discount": first}, {"coupon": coupon(simulated)}])
    assert more.discounts[0] == first
    assert len(more.discounts) == 2
    assert simulated.update(subscription.id, discounts="").discounts == []
    assert len(simulated.events("customer.discount.created")) == 2
    simulated.update(subscription.id, discounts=[{"coupon": coupon(simulated)}])
    assert simulated.client.v1.subscriptions.delete_discount(subscription.id).deleted is True
    assert simulated.subscription(subscription.id).discounts == []


def test_a_preview_shows_the_discount_of_now_or_of_a_wish(simulated: Simulated) -> None:
    subscription = simulated.subscribe(discounts=[{"coupon": coupon(simulated)}])

    def preview(**params: Any) -> int:
        wanted: Any = {"subscription": subscription.id, **params}
        return simulated.client.v1.invoices.create_preview(wanted).total

    assert preview() == 2000
    assert preview(discounts=[{"coupon": coupon(simulated, percent_off=50)}]) == 1250
    assert preview(discounts="") == 2500


def test_prorations_are_net_of_percentages_in_both_billing_modes(simulated: Simulated) -> None:
    """Of 28 days 21 are left: three quarters of the net price back, three quarters of the new net price due."""
    half = coupon(simulated, percent_off=50)
    better = simulated.price(10_000)
    subscriptions = [
        simulated.subscribe(discounts=[{"coupon": half}], billing_mode={"type": mode})
        for mode in ("classic", "flexible")
    ]
    simulated.advance("7d")
    for subscription in subscriptions:
        item = subscription["items"].data[0].id
        simulated.update(subscription.id, items=[{"id": item, "price": better}], proration_behavior="always_invoice")
        invoice = simulated.latest_invoice(subscription.id)
        assert [line.amount for line in invoice.lines.data] == [-938, 3750]
        assert (invoice.total, invoice.status) == (2812, "paid")


def test_a_coupon_counts_its_redemptions_and_runs_out(simulated: Simulated) -> None:
    scarce = coupon(simulated, max_redemptions=1)
    simulated.subscribe(discounts=[{"coupon": scarce}])
    spent = simulated.client.v1.coupons.retrieve(scarce)
    assert (spent.times_redeemed, spent.valid) == (1, False)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.subscribe(discounts=[{"coupon": scarce}])
    assert refused.value.code == "coupon_expired"


def test_a_promotion_code_redeems_its_coupon(simulated: Simulated) -> None:
    fall = coupon(simulated)
    promotion: Any = {"type": "coupon", "coupon": fall}
    code = simulated.client.v1.promotion_codes.create({"promotion": promotion, "code": "fall20", "max_redemptions": 1})
    [found] = simulated.client.v1.promotion_codes.list({"code": "FALL20", "active": True}).data
    assert found.id == code.id
    subscription = simulated.subscribe(discounts=[{"promotion_code": code.id}], expand=["discounts"])
    assert subscription.discounts[0].promotion_code == code.id
    assert totals(simulated, subscription.id) == [2000]
    with pytest.raises(stripe.InvalidRequestError, match="cannot be redeemed"):
        simulated.subscribe(discounts=[{"promotion_code": code.id}])


def test_a_coupon_for_some_products_leaves_the_others(simulated: Simulated) -> None:
    price, other = simulated.price(1000), simulated.price(3000)
    product: Any = simulated.client.v1.prices.retrieve(price).product
    partial = coupon(simulated, percent_off=50, applies_to={"products": [product]})
    subscription = simulated.subscribe(items=[{"price": price}, {"price": other}], discounts=[{"coupon": partial}])
    assert totals(simulated, subscription.id) == [3500]


def test_a_coupon_that_makes_no_sense_is_refused(simulated: Simulated) -> None:
    for wanted in (
        {"percent_off": 120},
        {"amount_off": 100},
        {"duration": "repeating"},
        {"percent_off": None},
    ):
        with pytest.raises(stripe.InvalidRequestError):
            coupon(simulated, **wanted)
