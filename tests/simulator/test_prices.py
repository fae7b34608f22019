"""Prices with tiers, in several currencies, below a cent, by the package, and given inline."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.simulator.products import amounts

from .asking import Account

TIERS = [
    {"up_to": 10, "unit_amount": 500, "flat_amount": 1000},
    {"up_to": 100, "unit_amount_decimal": "300.5"},
    {"up_to": "inf", "unit_amount": 100},
]


def tiered(account: Account, mode: str, **terms: Any) -> str:
    return account.price(billing_scheme="tiered", tiers_mode=mode, tiers=TIERS, **terms)


@pytest.mark.parametrize(
    ("mode", "quantity", "total"),
    [
        ("graduated", 0, 1000),
        ("graduated", 10, 6000),
        ("graduated", 11, 6301),  # 6,300.5: each line is rounded on its own
        ("graduated", 150, 6000 + 27045 + 5000),
        ("volume", 0, 1000),
        ("volume", 10, 6000),
        ("volume", 12, 3606),
        ("volume", 150, 15000),
    ],
)
def test_tiers_are_billed_in_their_mode(mode: str, quantity: int, total: int) -> None:
    account = Account()
    subscription = account.subscribe(tiered(account, mode), quantity=quantity)
    assert sum(amount for _, amount in account.lines(subscription)) == total


def test_each_tier_is_a_line_and_a_change_credits_all_of_them() -> None:
    account = Account()
    price = tiered(account, "graduated")
    subscription = account.subscribe(price, quantity=12)
    assert account.lines(subscription) == [
        ("10 × Pro (Tier 1 at $5.00 / month)", 5000),
        ("0 × Pro (Tier 1 flat fee at $10.00 / month)", 1000),
        ("2 × Pro (Tier 2 at $3.005 / month)", 601),
    ]
    assert account.get(f"prices/{price}")["unit_amount"] is None
    shown = account.get(f"prices/{price}", expand=["tiers", "currency_options"])
    assert [tier["up_to"] for tier in shown["tiers"]] == [10, 100, None]
    assert shown["currency_options"]["usd"]["tiers"] == shown["tiers"]
    item = subscription["items"]["data"][0]["id"]
    preview = account.post(
        "invoices/create_preview",
        subscription=subscription["id"],
        subscription_details={"items": [{"id": item, "quantity": 100}], "proration_behavior": "always_invoice"},
    )
    assert [line["amount"] for line in preview["lines"]["data"]] == [-6601, 33045]


def test_metered_tiers_bill_what_was_used() -> None:
    account = Account()
    meter = account.post(
        "billing/meters", display_name="Calls", event_name="calls", default_aggregation={"formula": "sum"}
    )
    recurring = {"interval": "month", "usage_type": "metered", "meter": meter["id"]}
    customer = account.customer()
    items = [{"price": tiered(account, "graduated", recurring=recurring)}]
    subscription = account.post("subscriptions", customer=customer, items=items)
    account.post("billing/meter_events", event_name="calls", payload={"stripe_customer_id": customer, "value": 12})
    account.advance(days=32)
    assert sum(amount for _, amount in account.lines(subscription)) == 6601


def test_a_price_costs_something_else_in_each_of_its_currencies() -> None:
    account = Account()
    price = account.price(unit_amount=1000, currency_options={"eur": {"unit_amount": 900}, "jpy": {"unit_amount": 150}})
    subscription = account.subscribe(price, quantity=2, currency="eur")
    assert subscription["currency"] == "eur"
    invoice = account.get(f"invoices/{subscription['latest_invoice']}")
    assert (invoice["total"], invoice["currency"], invoice["lines"]["data"][0]["currency"]) == (1800, "eur", "eur")
    again = account.subscribe(price, customer=invoice["customer"])
    assert again["currency"] == "eur", "the customer's own currency comes first"
    assert account.subscribe(price)["currency"] == "usd"
    account.post(f"prices/{price}", currency_options={"gbp": {"unit_amount": 800}})
    assert account.subscribe(price, currency="gbp")["currency"] == "gbp"
    items = [{"price": price}]
    refused = account.refused("subscriptions", customer=account.customer(), items=items, currency="chf")
    assert "only supports" in refused["message"]


def test_amounts_below_a_cent_are_rounded_by_the_line() -> None:
    account = Account()
    price = account.price(unit_amount_decimal="0.125")
    assert account.get(f"prices/{price}")["unit_amount"] is None
    subscription = account.subscribe(price, quantity=1004)
    assert account.lines(subscription) == [("1004 × Pro (at $0.00125 / month)", 126)]
    assert account.refused("prices", currency="usd", unit_amount_decimal="0.1234567890123", product_data={"name": "x"})


def test_packages_are_billed_whole() -> None:
    account = Account()
    price = account.price(unit_amount=700, transform_quantity={"divide_by": 5, "round": "up"})
    assert [amount for _, amount in account.lines(account.subscribe(price, quantity=11))] == [2100]


def test_data_of_a_price_makes_one_to_be_used_once() -> None:
    account = Account()
    product = account.post(
        "products",
        name="Seats",
        default_price_data={"currency": "usd", "unit_amount": 900, "recurring": {"interval": "year"}},
    )
    assert account.get(f"prices/{product['default_price']}")["recurring"]["interval"] == "year"
    data = {"currency": "usd", "product": product["id"], "unit_amount": 1200, "recurring": {"interval": "month"}}
    once = {"currency": "usd", "product": product["id"], "unit_amount_decimal": "99.5"}
    customer = account.customer()
    preview = account.post(
        "invoices/create_preview", customer=customer, subscription_details={"items": [{"price_data": data}]}
    )
    assert preview["total"] == 1200
    assert len(account.get("prices")["data"]) == 1, "a preview makes nothing"
    subscription = account.post(
        "subscriptions",
        customer=customer,
        items=[{"price_data": data}],
        add_invoice_items=[{"price_data": once, "quantity": 3}],
    )
    assert account.lines(subscription) == [("1 × Seats (at $12.00 / month)", 1200), ("Seats", 299)]
    assert account.get(f"prices/{subscription['items']['data'][0]['price']['id']}")["active"] is False
    changed = account.post(
        f"subscriptions/{subscription['id']}",
        items=[{"id": subscription["items"]["data"][0]["id"], "price_data": {**data, "unit_amount": 1500}}],
    )
    assert changed["items"]["data"][0]["price"]["unit_amount"] == 1500
    refused = account.refused("invoiceitems", customer=customer, price_data={**once, "product": "prod_none"})
    assert (refused["code"], refused["param"]) == ("resource_missing", "price_data[product]")


def test_what_waits_comes_onto_the_next_invoice_of_a_subscription() -> None:
    account = Account()
    customer = account.customer()
    account.post("invoiceitems", customer=customer, amount=250, currency="usd", description="Setup")
    price = account.price(unit_amount=1000)
    subscription = account.subscribe(price, customer=customer)
    assert [amount for _, amount in account.lines(subscription)] == [1000, 250]
    other = account.subscribe(price, customer=customer)
    account.post("invoiceitems", customer=customer, amount=70, subscription=other["id"])
    item = account.post(
        "invoiceitems", customer=customer, pricing={"price": account.price(unit_amount=30, recurring=None)}
    )
    assert account.post(f"invoiceitems/{item['id']}", quantity=2, metadata={"a": "b"})["amount"] == 60
    account.advance(days=32)
    assert [amount for _, amount in account.lines(subscription)] == [1000, 60]
    assert [amount for _, amount in account.lines(other)] == [1000, 70]


@pytest.mark.parametrize(
    ("param", "terms"),
    [
        ("tiers_mode", {"billing_scheme": "tiered", "tiers": TIERS}),
        ("tiers[1][up_to]", {"tiers": [{"up_to": 5, "unit_amount": 1}, {"up_to": 9, "unit_amount": 1}]}),
        ("tiers[1][up_to]", {"tiers": [{"up_to": 5, "unit_amount": 1}, {"up_to": 5, "unit_amount": 1}, TIERS[2]]}),
        ("tiers[0]", {"tiers": [{"up_to": "inf"}]}),
        ("currency_options[zzz]", {"unit_amount": 1, "currency_options": {"zzz": {"unit_amount": 1}}}),
        ("currency_options[eur][unit_amount]", {"unit_amount": 1, "currency_options": {"eur": {}}}),
        ("unit_amount", {"unit_amount": -1}),
        ("unit_amount", {"unit_amount": 1, "unit_amount_decimal": "1"}),
        ("transform_quantity[divide_by]", {"unit_amount": 1, "transform_quantity": {"divide_by": 0, "round": "up"}}),
    ],
)
def test_terms_that_make_no_price_are_refused(param: str, terms: dict[str, Any]) -> None:
    account = Account()
    if "tiers" in terms and "billing_scheme" not in terms:
        terms = {"billing_scheme": "tiered", "tiers_mode": "volume", **terms}
    refused = account.refused("prices", currency="usd", product_data={"name": "x"}, **terms)
    assert (refused["status"], refused["param"]) == (400, param)
    assert account.get("prices")["data"] == account.get("products")["data"] == []


@given(st.integers(0, 400), st.integers(1, 50), st.integers(51, 200))
def test_graduated_tiers_charge_each_unit_once(quantity: int, first: int, second: int) -> None:
    account = Account()
    tiers = [
        {"up_to": first, "unit_amount": 7},
        {"up_to": second, "unit_amount": 7},
        {"up_to": "inf", "unit_amount": 7},
    ]
    price = account.price(billing_scheme="tiered", tiers_mode="graduated", tiers=tiers)
    world = account.engine.world
    parts = amounts.parts(world, world.objects[price], quantity, currency="usd")
    assert sum(part.quantity for part in parts) == quantity
    assert sum(part.amount for part in parts) == Fraction(7 * quantity)
