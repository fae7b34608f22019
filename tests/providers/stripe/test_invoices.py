"""Invoices as Stripe has them become invoices of ours: a simulated year, against the money that moved in it."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from paygrade.billing.invoices import Invoice
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.invoices import invoices_of
from paygrade.reports.revenue import next_month, recognize, totals
from paygrade.values.errors import Unavailable
from simulator.asking import Account
from support.canned_stripe import serve
from support.stripe_shapes import JAN, invoice


class Year:
    """A Stripe account of the simulator's, and what its customers do."""

    def __init__(self) -> None:
        self.account = Account()
        self.monthly = self.account.price(unit_amount=2999)
        self.dear = self.account.price(unit_amount=7000)
        self.yearly = self.account.price(unit_amount=30_001, recurring={"interval": "year"})
        self.customers: list[str] = []

    def pages(self, path: str, **params: Any) -> Iterator[Any]:
        yield from self.account.get(path.removeprefix("/v1/"), **params, limit=100)["data"]

    def buys(self, price: str, **terms: Any) -> Any:
        customer = self.account.customer(**terms.pop("customer", {}))
        self.customers.append(customer)
        return self.account.post("subscriptions", items=[{"price": price}], customer=customer, **terms)

    def invoices(self, customer: str) -> tuple[Invoice, ...]:
        return invoices_of(self.pages, {"customer": customer})

    def charge(self, customer: str) -> Any:
        """The latest charge that succeeded."""
        charges = self.account.get("charges", customer=customer)["data"]
        return next(charge for charge in charges if charge["status"] == "succeeded")

    def kept(self, customer: str) -> int:
        """What a customer has paid and not got back, by the money that moved, and what is owed to them (below zero)."""
        charges = self.account.get("charges", customer=customer, limit=100)["data"]
        moved = sum(charge["amount_captured"] - charge["amount_refunded"] for charge in charges)
        for charge in charges:
            for dispute in self.account.get("disputes", charge=charge["id"])["data"]:
                moved += sum(each["amount"] for each in dispute["balance_transactions"])
        return int(moved + self.account.get(f"customers/{customer}")["balance"])


@pytest.fixture(scope="module")
def year() -> Year:
    year = Year()
    account, advance = year.account, year.account.advance
    tax = account.post("tax_rates", display_name="VAT", percentage=20, inclusive=False)["id"]
    half = account.post("coupons", percent_off=50, duration="repeating", duration_in_months=3)["id"]
    plain, taxed = year.buys(year.monthly), year.buys(year.monthly, default_tax_rates=[tax])
    year.buys(year.monthly, discounts=[{"coupon": half}])
    year.buys(year.yearly)
    meter = account.post("billing/meters", display_name="Calls", event_name="calls",
                         default_aggregation={"formula": "sum"})["id"]  # fmt: skip
    calls = account.price(unit_amount=5, recurring={"interval": "month", "usage_type": "metered", "meter": meter})
    user = year.buys(calls)
    disputed, won, credited, upgraded = (year.buys(year.monthly) for _ in range(4))
    advance(days=40)
    use = {"stripe_customer_id": user["customer"], "value": 123}
    account.post("billing/meter_events", event_name="calls", payload=use)
    account.post("refunds", charge=year.charge(plain["customer"])["id"], amount=1000)
    account.post("refunds", charge=year.charge(taxed["customer"])["id"])
    account.engine.dispute(year.charge(disputed["customer"])["id"])
    dispute = account.engine.dispute(year.charge(won["customer"])["id"])
    latest = year.invoices(credited["customer"])[0].id
    account.post("credit_notes", invoice=latest, amount=700, credit_amount=700)
    account.post("credit_notes", invoice=latest, amount=300, refund_amount=300)
    item = upgraded["items"]["data"][0]["id"]
    account.post(f"subscriptions/{upgraded['id']}", items=[{"id": item, "price": year.dear}],
                 proration_behavior="always_invoice")  # fmt: skip
    advance(days=30)
    account.post(f"disputes/{dispute['id']}", evidence={"uncategorized_text": "winning_evidence"}, submit=True)
    account.post(f"subscriptions/{upgraded['id']}", items=[{"id": item, "price": year.monthly}],
                 proration_behavior="always_invoice")  # fmt: skip
    advance(days=300)
    return year


def test_what_a_report_says_was_paid_and_kept_is_the_money_that_moved(year: Year) -> None:
    end = next_month(year.account.engine.now.date())
    for customer in year.customers:
        its = year.invoices(customer)
        gross = sum(one.total for one in its if one.status == "paid")
        gone = sum(back.amount for one in its for back in one.went_back)
        assert gross - gone == year.kept(customer)
        whole = totals(its, end)
        assert whole.paid == sum(
            each["total_excluding_tax"]
            for each in year.account.get("invoices", customer=customer, limit=100)["data"]
            if each["status"] == "paid"
        )
        rows = recognize(its, from_at=date(2026, 1, 1), until=date(2028, 3, 1))
        assert sum(row.recognized for row in rows) == whole.paid - whole.refunded
        assert sum(row.paid for row in rows) == whole.paid


def test_lines_say_what_they_are_for_and_come_to_their_invoice(year: Year) -> None:
    for customer in year.customers:
        for one in year.invoices(customer):
            assert sum(line.amount for line in one.lines) == one.net
            assert not any(line.id.endswith(":beside") for line in one.lines)
    plain, taxed, halved, yearly, user, _, _, _, upgraded = map(year.invoices, year.customers)
    assert {one.lines[0].amount for one in plain} == {2999}
    assert {(one.total, one.tax) for one in taxed} == {(3599, 600)}
    assert [one.lines[0].amount for one in reversed(halved)][:4] == [1499, 1499, 1499, 2999]
    assert [(one.lines[0].until - one.lines[0].from_at).days for one in yearly] == [365] * len(yearly)
    (used,) = [line for one in user for line in one.lines if line.amount]
    assert used.used
    assert (used.amount, used.quantity, used.from_at.day) == (615, 123, 28)
    prorated = [line for one in upgraded for line in one.lines if line.proration]
    assert len(prorated) == 4
    assert not any(line.used for line in prorated)
    assert all(line.subscription and line.item and line.price for line in prorated)


def test_what_went_back_is_counted_once_and_when_it_went(year: Year) -> None:
    plain, taxed, _, _, _, disputed, won, credited, _ = map(year.invoices, year.customers)
    told = [
        [(back.kind, back.amount) for one in its for back in one.went_back]
        for its in (plain, taxed, disputed, won, credited)
    ]
    assert told[:4] == [
        [("refund", 1000)],
        [("refund", 3599)],
        [("dispute", 2999)],
        [("dispute", 2999), ("dispute", -2999)],
    ]
    assert sorted(told[4]) == [("credit_note", 700), ("refund", 300)]
    taken, given = (back.at for one in won for back in one.went_back)
    assert (given - taken).days == 30


def test_what_is_not_understood_is_not_half_read() -> None:
    with serve() as canned:
        provider = StripeProvider(api_key="sk_test_x", api_base=canned.url, max_requests_per_second=1000, timeout_s=5)
        canned.lists["/v1/charges"] = []
        more = {"object": "list", "data": [{"id": "il_1"}], "has_more": True}
        whole = [{"id": f"il_{n}", "amount": 10, "period": {"start": JAN, "end": JAN}} for n in range(12)]
        canned.lists["/v1/invoices"] = [
            invoice(id="in_1", status="paid", created=JAN, currency="usd", total=150, lines=more),
            invoice(id="in_2", status="draft", created=JAN),
        ]
        canned.lists["/v1/invoices/in_1/lines"] = whole
        (read,) = provider.invoices("stripe:cus_1")
        assert [line.amount for line in read.lines] == [10] * 12 + [30]
        canned.lists["/v1/invoices"][0]["total"] = "150"
        with pytest.raises(Unavailable, match="total"):
            provider.invoices("stripe:cus_1")
