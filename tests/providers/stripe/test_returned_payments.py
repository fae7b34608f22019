"""What went back of payments, as Stripe's charges, disputes and credit notes tell it: of the running period alone."""

from collections.abc import Iterator
from typing import Any

import pytest

from paygrade.billing.facts import Customer, ReturnedOfPeriod
from paygrade.providers.stripe.client import StripeProvider
from support.canned_stripe import CannedStripe, serve
from support.stripe_shapes import FEB, JAN, buyer, endive, invoice


def paid(id: str, intent: str, amount: int, **more: Any) -> dict[str, Any]:
    payment = {"type": "payment_intent", "payment_intent": intent}
    return invoice(
        id=id, status="paid", amount_paid=amount, created=JAN, payments={"data": [{"payment": payment}]}, **more
    )


def charge(id: str, intent: str, *, refunded: int = 0, disputed: bool = False) -> dict[str, Any]:
    return {"id": id, "customer": "cus_1", "payment_intent": intent, "amount_refunded": refunded, "disputed": disputed}


@pytest.fixture
def canned() -> Iterator[CannedStripe]:
    with serve() as server:
        server.objects["/v1/customers/cus_1"] = buyer()
        server.lists["/v1/subscriptions"] = [endive()]
        server.lists |= {key: [] for key in ("/v1/invoices", "/v1/charges", "/v1/disputes", "/v1/credit_notes")}
        yield server


def read(canned: CannedStripe, *, returned: bool = True) -> ReturnedOfPeriod | None:
    canned.asked.clear()
    provider = StripeProvider(api_key="sk_test_x", api_base=canned.url, max_requests_per_second=1000, timeout_s=5)
    found = provider.fetch("stripe:cus_1", returned=returned)
    assert isinstance(found, Customer)
    return found.subscriptions[0].returned


def test_nobody_asks_for_payments_unless_a_policy_does(canned: CannedStripe) -> None:
    canned.lists["/v1/invoices"] = [paid("in_1", "pi_1", 9900)]
    canned.lists["/v1/charges"] = [charge("ch_1", "pi_1", refunded=9900)]
    assert read(canned, returned=False) is None
    assert canned.paths == ["/v1/subscriptions"]


def test_a_customer_whose_money_stayed_takes_two_more_requests(canned: CannedStripe) -> None:
    canned.lists["/v1/invoices"] = [paid("in_1", "pi_1", 9900)]
    canned.lists["/v1/charges"] = [charge("ch_1", "pi_1")]
    assert read(canned) is None
    assert canned.paths == ["/v1/subscriptions", "/v1/invoices", "/v1/charges"]


def test_refunds_disputes_and_credit_notes_of_the_period_add_up_by_kind(canned: CannedStripe) -> None:
    canned.lists["/v1/invoices"] = [
        paid("in_1", "pi_1", 9900),
        paid("in_2", "pi_2", 5000, post_payment_credit_notes_amount=700),
        paid("in_0", "pi_0", 8000) | {"created": JAN - 1},
        paid("in_x", "pi_x", 8000, parent=None),
    ]
    canned.lists["/v1/charges"] = [
        charge("ch_1", "pi_1", refunded=100, disputed=True),
        charge("ch_2", "pi_2", refunded=300),
        charge("ch_0", "pi_0", refunded=8000),
    ]
    statuses = ["needs_response", "under_review", "lost", "won", "warning_needs_response", "unheard_of"]
    canned.lists["/v1/disputes"] = [{"id": f"du_{n}", "amount": 10**n, "status": s} for n, s in enumerate(statuses)]
    canned.lists["/v1/credit_notes"] = [
        {"id": "cn_1", "status": "issued", "post_payment_amount": 600, "refunds": [{"amount_refunded": 200}]},
        {"id": "cn_2", "status": "void", "post_payment_amount": 100, "refunds": []},
    ]
    found = read(canned)
    assert found is not None
    assert (found.paid, found.refunded, found.disputed, found.lost, found.credited) == (14900, 400, 11, 100, 400)
    assert found.until is not None
    assert int(found.until.timestamp()) == FEB
    assert canned.paths.count("/v1/disputes") == canned.paths.count("/v1/credit_notes") == 1


def test_charges_of_an_account_that_stands_for_a_customer_are_asked_for_by_payment(canned: CannedStripe) -> None:
    canned.lists["/v1/subscriptions"] = [endive(customer=None, customer_account="acct_1")]
    canned.lists["/v1/invoices"] = [paid("in_1", "pi_1", 9900)]
    canned.lists["/v1/charges"] = [charge("ch_1", "pi_1", refunded=9900)]
    provider = StripeProvider(api_key="sk_test_x", api_base=canned.url, max_requests_per_second=1000, timeout_s=5)
    found = provider.fetch("stripe:acct_1", returned=True)
    assert isinstance(found, Customer)
    assert found.subscriptions[0].returned is not None
    asked = [query for path, query, _ in canned.asked if path == "/v1/charges"]
    assert [query["payment_intent"] for query in asked] == [["pi_1"]]


def proration(id: str, amount: int, at: int = JAN, *, waits: bool = False) -> dict[str, Any]:
    """A line of an invoice, or the invoice item that waits for one."""
    if waits:
        details = {"subscription_details": {"subscription": "sub_1", "subscription_item": id}, "type": "x"}
        waiting = {
            "id": f"ii_{id}{amount}",
            "customer": "cus_1",
            "amount": amount,
            "period": {"start": at, "end": FEB},
            "parent": details,
        }
        return {**waiting, "proration": True}
    details = {"subscription_item_details": {"subscription_item": id, "proration": True}}
    return {"amount": amount, "period": {"start": at, "end": FEB}, "parent": details}


def test_a_removed_item_was_credited_where_nothing_stands_beside_its_credit(canned: CannedStripe) -> None:
    canned.lists["/v1/invoiceitems"] = [
        proration("si_gone", -500, waits=True),
        proration("si_swapped", -500, waits=True),
        proration("si_swapped", 900, waits=True),
        {"id": "ii_other", "customer": "cus_1", "amount": -100, "period": {"start": JAN, "end": JAN}, "parent": None},
    ]
    lines = [proration("si_billed", -300), proration("si_more", -100), proration("si_more", 200)]
    void = invoice(id="in_2", status="void", lines={"data": [proration("si_void", -300)]})
    canned.lists["/v1/invoices"] = [invoice(id="in_1", status="paid", lines={"data": lines}), void]
    provider = StripeProvider(api_key="sk_test_x", api_base=canned.url, max_requests_per_second=1000, timeout_s=5)
    found = provider.fetch("stripe:cus_1", credited=True)
    assert isinstance(found, Customer)
    assert found.subscriptions[0].credited == ("si_billed", "si_gone")
    assert canned.paths == ["/v1/subscriptions", "/v1/invoiceitems", "/v1/invoices"]
