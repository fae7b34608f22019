"""Discounts of items and of single invoices: what they take off, in which order, and when they end."""

from __future__ import annotations

from typing import Any

import pytest

from .asking import Account


def coupon(account: Account, **terms: Any) -> str:
    return str(account.post("coupons", **{"percent_off": 20, "duration": "forever", **terms})["id"])


def shop() -> tuple[Account, str, str]:
    account = Account()
    return account, account.price(unit_amount=1000), account.price(unit_amount=3000)


def test_a_discount_of_an_item_leaves_the_others_alone_and_comes_before_the_subscriptions() -> None:
    account, seat, base = shop()
    half, fifth = coupon(account, percent_off=50), coupon(account)
    subscription = account.post(
        "subscriptions",
        customer=account.customer(),
        items=[{"price": seat, "quantity": 2, "discounts": [{"coupon": half}]}, {"price": base}],
        discounts=[{"coupon": fifth}],
        expand=["latest_invoice", "items.data.discounts"],
    )
    invoice, item = subscription["latest_invoice"], subscription["items"]["data"][0]
    [own] = item["discounts"]
    assert (own["subscription_item"], own["subscription"], own["source"]["coupon"]) == (item["id"], None, half)
    assert [line["discounts"] for line in invoice["lines"]["data"]] == [[own["id"]], []]
    # (2 × 10 − 50 %) + 30 = 40, less a fifth
    assert (invoice["subtotal"], invoice["total"]) == (5000, 3200)
    assert [one["amount"] for one in invoice["total_discount_amounts"]] == [1000, 800]
    assert [one["amount"] for one in invoice["total_pretax_credit_amounts"]] == [1000, 800]
    assert invoice["discounts"] == subscription["discounts"]
    account.advance(days=31, hours=2)
    assert account.get("invoices")["data"][0]["total"] == 3200


def test_an_items_discount_ends_with_its_coupon_and_can_be_changed() -> None:
    account, seat, _ = shop()
    once = coupon(account, percent_off=50, duration="once")
    subscription = account.post(
        "subscriptions", customer=account.customer(), items=[{"price": seat, "discounts": [{"coupon": once}]}]
    )
    [item] = account.get(f"subscriptions/{subscription['id']}")["items"]["data"]
    assert item["discounts"] == []
    months = coupon(account, percent_off=10, duration="repeating", duration_in_months=2)
    changed = account.post(f"subscription_items/{item['id']}", discounts=[{"coupon": months}])
    [held] = changed["discounts"]
    kept = account.post(f"subscription_items/{item['id']}", discounts=[{"discount": held}], quantity=2)
    assert kept["discounts"] == [held]
    previewed = account.post("invoices/create_preview", subscription=subscription["id"])
    cycle = [line for line in previewed["lines"]["data"] if line["discountable"]]
    assert [(line["amount"], line["discount_amounts"][0]["amount"]) for line in cycle] == [(2000, 200)]
    # Two seats net of the new percentage, less the one that was paid with half off.
    assert sum(line["amount"] for line in previewed["lines"]["data"] if not line["discountable"]) == 1800 - 500
    account.advance(days=61)
    assert account.get(f"subscription_items/{item['id']}")["discounts"] == []


def test_an_amount_off_an_item_stops_at_the_item() -> None:
    account, seat, base = shop()
    much = coupon(account, percent_off=None, amount_off=1500, currency="usd")
    subscription = account.post(
        "subscriptions",
        customer=account.customer(),
        items=[{"price": seat, "discounts": [{"coupon": much}]}, {"price": base}],
        expand=["latest_invoice"],
    )
    assert subscription["latest_invoice"]["total"] == 3000


def test_invoice_items_and_invoices_of_no_subscription_have_discounts() -> None:
    account, _, _ = shop()
    half, fifth, customer = coupon(account, percent_off=50), coupon(account), account.customer()
    invoice = account.post("invoices", customer=customer, discounts=[{"coupon": fifth}])
    item = account.post(
        "invoiceitems",
        customer=customer,
        invoice=invoice["id"],
        amount=1000,
        currency="usd",
        discounts=[{"coupon": half}],
    )
    assert (item["amount"], item["net_amount"]) == (1000, 500)
    account.post("invoiceitems", customer=customer, invoice=invoice["id"], amount=100, currency="usd")
    drafted = account.get(f"invoices/{invoice['id']}", expand=["discounts"])
    assert drafted["total"] == (500 + 100) * 0.8
    assert drafted["discounts"][0]["invoice"] == invoice["id"]
    assert account.post(f"invoices/{invoice['id']}", discounts="")["total"] == 600
    assert account.post(f"invoiceitems/{item['id']}", discounts="")["net_amount"] == 1000
    assert account.post(f"invoices/{invoice['id']}/pay")["amount_paid"] == 1100


def test_added_invoice_items_and_phases_of_schedules_have_discounts() -> None:
    account, seat, base = shop()
    half = coupon(account, percent_off=50)
    once = account.price(unit_amount=700, recurring=None)
    subscription = account.subscribe(seat, add_invoice_items=[{"price": once, "discounts": [{"coupon": half}]}])
    assert account.get(f"invoices/{subscription['latest_invoice']}")["total"] == 1350
    rate = account.post("tax_rates", display_name="VAT", percentage=10, inclusive=False)["id"]
    schedule = account.post("subscription_schedules", from_subscription=subscription["id"])
    [now] = schedule["phases"]
    later = {"price": base, "discounts": [{"coupon": half}], "tax_rates": [rate], "metadata": {"tier": "gold"}}
    first = {"items": [{"price": seat, "quantity": 1}], "start_date": now["start_date"], "end_date": now["end_date"]}
    told = account.post(f"subscription_schedules/{schedule['id']}", phases=[first, {"items": [later]}])
    [planned] = told["phases"][1]["items"]
    assert (planned["discounts"][0]["coupon"], planned["tax_rates"][0]["id"]) == (half, rate)
    account.advance(days=31, hours=2)
    [item] = account.get(f"subscriptions/{subscription['id']}")["items"]["data"]
    assert (item["metadata"], item["tax_rates"][0]["id"], len(item["discounts"])) == ({"tier": "gold"}, rate, 1)
    assert account.get("invoices")["data"][0]["total"] == 1650


@pytest.mark.parametrize(
    ("discounts", "code", "param"),
    [
        ([{"coupon": "nothing"}], "resource_missing", "items[0][discounts][0][coupon]"),
        ([{"discount": "di_1"}], "resource_missing", "items[0][discounts][0][discount]"),
        ([{"voucher": "x"}], "parameter_unknown", "items[0][discounts][0][voucher]"),
        ([{"coupon": "x"}] * 21, None, "items[0][discounts]"),
    ],
)
def test_a_discount_of_an_item_is_refused_with_its_whole_name(discounts: Any, code: str | None, param: str) -> None:
    account, seat, _ = shop()
    items = [{"price": seat, "discounts": discounts}]
    refused = account.refused("subscriptions", customer=account.customer(), items=items)
    assert (refused["status"], refused.get("code"), refused["param"]) == (400, code, param)
