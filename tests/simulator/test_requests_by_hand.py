"""Requests that a back office makes by hand: cards, promotion codes, invoices sent, credit notes tried out."""

from __future__ import annotations

import pytest

from .asking import Account


@pytest.fixture
def account() -> Account:
    return Account()


def test_a_card_is_updated_once_it_is_attached(account: Account) -> None:
    told = {"name": "Ada", "address": {"country": "DE"}}
    made = account.post("payment_methods", type="card", card={"token": "tok_visa"}, billing_details=told)
    assert made["billing_details"]["name"] == "Ada"
    assert account.refused(f"payment_methods/{made['id']}", metadata={"a": "b"})["param"] == "payment_method"
    account.post(f"payment_methods/{made['id']}/attach", customer=account.customer(None))
    expiry = {"exp_month": 11, "exp_year": 2031}
    changed = account.post(
        f"payment_methods/{made['id']}", card=expiry, billing_details={"email": "a@example.org"}, metadata={"a": "b"}
    )
    assert {name: changed["card"][name] for name in expiry} == expiry
    assert changed["billing_details"]["address"] == {
        "city": None, "country": "DE", "line1": None, "line2": None, "postal_code": None, "state": None,
    }  # fmt: skip
    assert (changed["billing_details"]["email"], changed["metadata"]) == ("a@example.org", {"a": "b"})
    refused = account.refused(f"payment_methods/{made['id']}", card={"exp_month": 13})
    assert (refused["code"], refused["param"]) == ("invalid_expiry_month", "exp_month")


@pytest.mark.parametrize(
    ("number", "code"), [("4242424242424242", None), ("4000000000000341", "card_declined"), ("1", "incorrect_number")]
)
def test_a_card_given_by_its_number_is_the_test_card_of_that_number(
    account: Account, number: str, code: str | None
) -> None:
    card = {"number": number, "exp_month": 5, "exp_year": 2033, "cvc": "123"}
    if code == "incorrect_number":
        assert account.refused("payment_methods", type="card", card=card)["code"] == code
        return
    method = account.post("payment_methods", type="card", card=card)
    assert (method["card"]["last4"], method["card"]["exp_year"]) == (number[-4:], 2033)
    wanted = {"amount": 500, "currency": "usd", "payment_method": method["id"], "confirm": True}
    if code is None:
        assert account.post("payment_intents", **wanted)["status"] == "succeeded"
    else:
        assert account.refused("payment_intents", **wanted)["code"] == code


def test_a_payment_below_the_least_that_can_be_charged_is_refused(account: Account) -> None:
    refused = account.refused("payment_intents", amount=49, currency="usd")
    assert (refused["code"], refused["message"]) == ("amount_too_small", "Amount must be at least $0.50 usd")
    assert account.post("payment_intents", amount=30, currency="gbp")["amount"] == 30


def test_a_promotion_code_for_first_transactions_is_refused_to_who_has_paid(account: Account) -> None:
    coupon, price = account.post("coupons", percent_off=50)["id"], account.price(unit_amount=1000)
    code = account.post(
        "promotion_codes",
        promotion={"type": "coupon", "coupon": coupon},
        restrictions={"first_time_transaction": True, "minimum_amount": 5, "minimum_amount_currency": "usd"},
    )
    assert code["restrictions"] == {
        "first_time_transaction": True, "minimum_amount": 5, "minimum_amount_currency": "usd",
    }  # fmt: skip
    discounts = [{"promotion_code": code["id"]}]
    first = account.subscribe(price, discounts=discounts)
    assert [amount for _, amount in account.lines(first)] == [1000]
    again = account.refused("subscriptions", customer=first["customer"], items=[{"price": price}], discounts=discounts)
    assert (again["code"], again["param"]) == ("promotion_code_invalid", "discounts[0][promotion_code]")


def test_an_invoice_takes_lines_and_is_sent(account: Account) -> None:
    customer = account.customer()
    draft = account.post("invoices", customer=customer, collection_method="send_invoice", days_until_due=3)
    waiting = account.post("invoiceitems", customer=customer, amount=200, currency="usd")["id"]
    lines = [{"amount": 100, "description": "Set-up"}, {"invoice_item": waiting}]
    filled = account.post(f"invoices/{draft['id']}/add_lines", lines=lines)
    assert (filled["total"], len(filled["lines"]["data"])) == (300, 2)
    sent = account.post(f"invoices/{draft['id']}/send")
    assert (sent["status"], sent["amount_remaining"]) == ("open", 300)
    assert account.get("events", type="invoice.sent")["data"][0]["data"]["object"]["id"] == draft["id"]
    assert account.refused(f"invoices/{draft['id']}/add_lines", lines=lines)["code"] == "invoice_not_editable"
    charged = account.post("invoices", customer=customer)["id"]
    assert "send_invoice" in account.refused(f"invoices/{charged}/send")["message"]


def test_a_credit_note_is_tried_out_and_leaves_nothing(account: Account) -> None:
    price = account.price(unit_amount=1000)
    invoice = account.subscribe(price)["latest_invoice"]
    wanted = {"invoice": invoice, "amount": 100, "credit_amount": 100}
    tried = account.get("credit_notes/preview", **wanted)
    assert (tried["amount"], tried["type"]) == (100, "post_payment")
    assert [line["amount"] for line in account.get("credit_notes/preview/lines", **wanted, limit=5)["data"]] == [100]
    assert account.get("credit_notes", invoice=invoice)["data"] == []
    assert account.get(f"invoices/{invoice}")["post_payment_credit_notes_amount"] == 0
    made = account.post("credit_notes", invoice=invoice, amount=100, refund_amount=100)
    assert made["refunds"][0]["payment_record_refund"] is None
    charge = account.get("charges")["data"][0]["id"]
    assert [one["amount"] for one in account.get(f"charges/{charge}/refunds")["data"]] == [100]


def test_the_balance_is_what_the_balance_transactions_add_up_to(account: Account) -> None:
    assert account.get("balance")["pending"][0]["amount"] == 0
    account.subscribe(account.price(unit_amount=1000))
    net = sum(one["net"] for one in account.get("balance_transactions")["data"])
    assert 0 < net == account.get("balance")["pending"][0]["amount"]
