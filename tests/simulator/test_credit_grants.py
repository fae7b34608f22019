"""Billing credits: granted, used by metered prices in their order, given back, expired and void."""

from __future__ import annotations

from typing import Any

import pytest

from .asking import Account


class Metered:
    """An account that sells calls for a cent each, beside a base of ten dollars, and one subscriber."""

    def __init__(self) -> None:
        self.account = account = Account()
        meter: dict[str, Any] = {
            "display_name": "Calls",
            "event_name": "calls",
            "default_aggregation": {"formula": "sum"},
        }
        self.meter = account.post("billing/meters", **meter)["id"]
        recurring = {"interval": "month", "usage_type": "metered", "meter": self.meter}
        self.calls = account.price(unit_amount=1, recurring=recurring)
        self.base = account.price(unit_amount=1000)
        self.customer = account.customer()
        items = [{"price": self.base}, {"price": self.calls}]
        self.subscription = account.post("subscriptions", customer=self.customer, items=items)["id"]

    def grant(self, value: int, **params: Any) -> Any:
        amount = {"type": "monetary", "monetary": {"value": value, "currency": "usd"}}
        wanted = {"applicability_config": {"scope": {"price_type": "metered"}}, "customer": self.customer, **params}
        return self.account.post("billing/credit_grants", amount=amount, **wanted)

    def renew(self, calls: int) -> Any:
        payload = {"stripe_customer_id": self.customer, "value": calls}
        self.account.post("billing/meter_events", event_name="calls", payload=payload)
        self.account.advance(days=31, hours=2)
        return self.account.get("invoices", expand=["data.total_pretax_credit_amounts.credit_balance_transaction"])[
            "data"
        ][0]

    def left(self) -> int:
        wanted = {"type": "applicability_scope", "applicability_scope": {"price_type": "metered"}}
        told = self.account.get("billing/credit_balance_summary", customer=self.customer, filter=wanted)
        [one] = told["balances"]
        assert one["available_balance"] == one["ledger_balance"]
        return int(one["available_balance"]["monetary"]["value"])


def test_credits_pay_for_usage_before_taxes_and_for_nothing_else() -> None:
    shop = Metered()
    rate = shop.account.post("tax_rates", display_name="VAT", percentage=10, inclusive=False)["id"]
    shop.account.post(f"subscriptions/{shop.subscription}", default_tax_rates=[rate])
    grant = shop.grant(300, name="Welcome")
    invoice = shop.renew(calls=500)
    # 10.00 + 5.00 − 3.00 of credits, and 10 % on what is left.
    assert (invoice["subtotal"], invoice["total_excluding_tax"], invoice["total"]) == (1500, 1200, 1320)
    assert invoice["amount_paid"] == 1320
    [spared] = invoice["total_pretax_credit_amounts"]
    made = spared["credit_balance_transaction"]
    assert (spared["amount"], spared["type"], made["credit_grant"]) == (300, "credit_balance_transaction", grant["id"])
    line = next(one for one in invoice["lines"]["data"] if one["pricing"]["price_details"]["price"] == shop.calls)
    assert made["debit"]["credits_applied"] == {"invoice": invoice["id"], "invoice_line_item": line["id"]}
    assert (shop.left(), line["taxes"][0]["amount"]) == (0, 20)
    told = [event["type"] for event in shop.account.engine.take_events() if "credit" in event["type"]]
    transaction = "billing.credit_balance_transaction.created"
    assert told == ["billing.credit_grant.created", transaction, transaction]
    assert shop.renew(calls=100)["subtotal"] == 1100


def test_grants_are_used_in_one_order() -> None:
    shop = Metered()
    first = shop.account.engine.world.at
    grants = {
        "later": shop.grant(100, expires_at=first + 90 * 86400),
        "paid": shop.grant(100, expires_at=first + 60 * 86400),
        "promotional": shop.grant(100, category="promotional", expires_at=first + 60 * 86400),
        "urgent": shop.grant(100, priority=1),
        "asleep": shop.grant(100, priority=0, effective_at=first + 200 * 86400),
        "other": shop.grant(100, priority=0, applicability_config={"scope": {"prices": [{"id": other_price(shop)}]}}),
    }
    names = {grant["id"]: name for name, grant in grants.items()}
    invoice = shop.renew(calls=350)
    spared = invoice["total_pretax_credit_amounts"]
    used = [(names[one["credit_balance_transaction"]["credit_grant"]], one["amount"]) for one in spared]
    assert used == [("urgent", 100), ("promotional", 100), ("paid", 100), ("later", 50)]
    listed = shop.account.get(
        "billing/credit_balance_transactions", customer=shop.customer, credit_grant=grants["later"]["id"]
    )
    assert [one["type"] for one in listed["data"]] == ["debit", "credit"]


def other_price(shop: Metered) -> str:
    recurring = {"interval": "month", "usage_type": "metered", "meter": shop.meter}
    return shop.account.price(unit_amount=2, recurring=recurring)


def test_a_void_invoice_gives_credits_back_and_a_grant_ends_once() -> None:
    shop = Metered()
    grant = shop.grant(400)
    declines = shop.account.post("payment_methods/pm_card_chargeCustomerFail/attach", customer=shop.customer)["id"]
    shop.account.post(f"customers/{shop.customer}", invoice_settings={"default_payment_method": declines})
    invoice = shop.renew(calls=300)
    assert (invoice["status"], invoice["amount_due"], shop.left()) == ("open", 1000, 100)
    shop.account.post(f"invoices/{invoice['id']}/void")
    assert shop.left() == 400
    refused = shop.account.refused(f"billing/credit_grants/{grant['id']}/void")
    assert "expire it instead" in refused["message"]
    ended = shop.account.post(f"billing/credit_grants/{grant['id']}/expire")
    assert (ended["expires_at"], shop.left()) == (shop.account.engine.world.at, 0)
    assert "is expired" in shop.account.refused(f"billing/credit_grants/{grant['id']}", metadata={"a": 1})["message"]
    fresh = shop.grant(50, expires_at=shop.account.engine.world.at + 3600)
    shop.account.post(f"billing/credit_grants/{fresh['id']}", metadata={"a": "b"})
    shop.account.advance(hours=2)
    assert shop.left() == 0
    gone = shop.grant(50)
    assert shop.account.post(f"billing/credit_grants/{gone['id']}/void")["voided_at"] is not None
    listed = shop.account.get("billing/credit_grants", customer=shop.customer)["data"]
    assert [one["id"] for one in listed] == [gone["id"], fresh["id"], grant["id"]]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 0}}}, "amount[monetary][value]"),
        ({"amount": {"type": "custom"}}, "amount[type]"),
        ({"applicability_config": {"scope": {}}}, "applicability_config[scope]"),
        ({"priority": 101}, "priority"),
        ({"expires_at": 1}, "expires_at"),
        ({"name": "x" * 101}, "name"),
    ],
)
def test_a_grant_is_refused_with_the_whole_name_of_what_is_wrong(params: dict[str, Any], param: str) -> None:
    account = Account()
    wanted = {
        "amount": {"type": "monetary", "monetary": {"currency": "usd", "value": 5}},
        "applicability_config": {"scope": {"price_type": "metered"}},
        "customer": account.customer(),
        **params,
    }
    refused = account.refused("billing/credit_grants", **wanted)
    assert (refused["status"], refused["param"]) == (400, param)
