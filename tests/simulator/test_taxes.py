"""Taxes on invoices: tax rates, automatic tax, exempt customers, tax ids."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .asking import Account


def rate(account: Account, percentage: float, *, inclusive: bool = False) -> str:
    return str(account.post("tax_rates", display_name="VAT", percentage=percentage, inclusive=inclusive)["id"])


def invoice_of(account: Account, subscription: Any) -> Any:
    latest = account.get(f"subscriptions/{subscription['id']}")["latest_invoice"]
    return account.get(f"invoices/{latest}")


def test_an_exclusive_rate_is_added_and_an_inclusive_one_is_part_of_the_total() -> None:
    account = Account()
    price = account.price(unit_amount=1000)
    added = invoice_of(account, account.subscribe(price, default_tax_rates=[rate(account, 19)]))
    assert (added["subtotal"], added["total"], added["total_excluding_tax"], added["amount_paid"]) == (
        1000,
        1190,
        1000,
        1190,
    )
    [tax] = added["total_taxes"]
    assert (tax["amount"], tax["taxable_amount"], tax["tax_behavior"]) == (190, 1000, "exclusive")
    assert added["lines"]["data"][0]["taxes"][0]["amount"] == 190
    within = invoice_of(account, account.subscribe(price, default_tax_rates=[rate(account, 25, inclusive=True)]))
    assert (within["total"], within["total_excluding_tax"], within["subtotal_excluding_tax"]) == (1000, 800, 800)


def test_an_items_rates_come_first_and_discounts_lower_the_tax() -> None:
    account = Account()
    coupon = account.post("coupons", percent_off=50, duration="forever")["id"]
    items = [{"price": account.price(unit_amount=1000), "tax_rates": [rate(account, 10)]}]
    subscription = account.post(
        "subscriptions",
        customer=account.customer(),
        items=items,
        default_tax_rates=[rate(account, 50)],
        discounts=[{"coupon": coupon}],
    )
    assert invoice_of(account, subscription)["total"] == 550
    account.advance(days=32)
    assert invoice_of(account, subscription)["total"] == 550


def test_automatic_tax_is_computed_or_refused_and_never_silently_off() -> None:
    account = Account()
    price = account.price(unit_amount=1000)
    wanted: dict[str, Any] = {"items": [{"price": price}], "automatic_tax": {"enabled": True}}
    refused = account.refused("subscriptions", customer=account.customer(), **wanted)
    assert (refused["status"], refused["code"]) == (400, "customer_tax_location_invalid")
    customer = account.customer(address={"country": "DE"})
    subscription = account.post("subscriptions", customer=customer, **wanted)
    invoice = invoice_of(account, subscription)
    assert (invoice["total"], invoice["automatic_tax"]["status"], invoice["total_taxes"][0]["amount"]) == (
        1100,
        "complete",
        100,
    )
    account.post(f"customers/{customer}", address={"country": ""})
    account.advance(days=32)
    lost = invoice_of(account, subscription)
    assert (lost["status"], lost["automatic_tax"]["status"]) == ("draft", "requires_location_inputs")
    assert lost["last_finalization_error"]["code"] == "customer_tax_location_invalid"
    assert account.get("events", type="invoice.finalization_failed")["data"]


@pytest.mark.parametrize(("status", "reason"), [("exempt", "customer_exempt"), ("reverse", "reverse_charge")])
def test_an_exempt_customer_is_taxed_nothing_and_the_invoice_says_why(status: str, reason: str) -> None:
    account = Account()
    customer = account.customer(
        address={"country": "DE"}, tax_exempt=status, tax_id_data=[{"type": "eu_vat", "value": "DE123456789"}]
    )
    price = account.price(unit_amount=1000)
    subscription = account.subscribe(price, customer=customer, automatic_tax={"enabled": True})
    invoice = invoice_of(account, subscription)
    assert (invoice["total"], invoice["total_taxes"][0]["taxability_reason"]) == (1000, reason)
    assert (invoice["customer_tax_exempt"], invoice["customer_tax_ids"]) == (
        status,
        [{"type": "eu_vat", "value": "DE123456789"}],
    )
    [known] = account.get(f"customers/{customer}/tax_ids")["data"]
    assert account.ask("DELETE", f"customers/{customer}/tax_ids/{known['id']}").body["deleted"] is True
    assert account.refused(f"customers/{customer}/tax_ids", type="nonsense", value="1")["param"] == "type"


@given(st.integers(0, 10**6), st.floats(0, 60).map(lambda p: round(p, 4)), st.booleans(), st.integers(0, 100))
def test_an_invoice_adds_up(amount: int, percent: float, inclusive: bool, off: int) -> None:
    account = Account()
    more: dict[str, Any] = {}
    if off:
        more["discounts"] = [{"coupon": account.post("coupons", percent_off=off, duration="forever")["id"]}]
    price = account.price(unit_amount=amount)
    rates = [rate(account, percent, inclusive=inclusive)]
    invoice = invoice_of(account, account.subscribe(price, default_tax_rates=rates, **more))
    taxes = sum(tax["amount"] for tax in invoice["total_taxes"])
    assert invoice["total_excluding_tax"] + taxes == invoice["total"]
    assert taxes == sum(tax["amount"] for line in invoice["lines"]["data"] for tax in line["taxes"])
    net = invoice["subtotal"] - sum(one["amount"] for one in invoice["total_discount_amounts"])
    assert invoice["total"] == net + (0 if inclusive else taxes)


def test_a_preview_adds_items_and_taxes_and_makes_nothing() -> None:
    account = Account()
    customer = account.customer(address={"country": "DE"})
    product = account.post("products", name="Setup")["id"]
    data = {"currency": "usd", "product": product, "unit_amount": 250}
    before = len(account.get("events", limit=100)["data"])
    preview = account.post(
        "invoices/create_preview",
        customer=customer,
        subscription_details={"items": [{"price": account.price(unit_amount=1000)}]},
        invoice_items=[{"amount": 500, "currency": "usd", "description": "Hours"}, {"price_data": data, "quantity": 2}],
        automatic_tax={"enabled": True},
    )
    assert [line["amount"] for line in preview["lines"]["data"]] == [1000, 500, 500]
    assert (preview["subtotal"], preview["total"], preview["automatic_tax"]["status"]) == (2000, 2200, "complete")
    made = [event["type"] for event in account.get("events", limit=100)["data"]][: -before or None]
    assert sorted(made) == ["price.created", "product.created"], "those of the price that was there before"
