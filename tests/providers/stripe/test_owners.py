"""Whose a subscription is: a customer's, an account's that stands for one, or nobody's; it is never passed over."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from paygrade.billing.accounts import replay
from paygrade.billing.drift import compare_listed
from paygrade.billing.facts import Customer, Fact
from paygrade.entitlements.findings import findings
from paygrade.providers.stripe import translate
from paygrade.providers.stripe.client import Redirect, StripeProvider
from paygrade.providers.stripe.events import refs
from paygrade.providers.stripe.pages import page_of
from support.canned_stripe import CannedStripe, serve
from support.samples import CATALOG, T0
from support.stripe_shapes import FEB, JAN, buyer, endive

NAMED = {"metadata": {"paygrade_account": "acme"}}
OTHER = {"metadata": {"paygrade_account": "globex"}}


@pytest.fixture
def canned() -> Iterator[CannedStripe]:
    with serve() as server:
        server.lists = {"/v1/subscriptions": [], "/v1/invoices": []}
        yield server


def fetch(canned: CannedStripe, subject: str) -> Customer | Redirect | None:
    return StripeProvider(api_key="sk_test_x", api_base=canned.url, max_requests_per_second=1000).fetch(subject)


def found(customer: Customer) -> list[str]:
    account = replay("acme", [Fact(1, f"stripe:{customer.id}", 1, T0, customer)])
    return [finding.code for finding in findings(account, CATALOG, T0) if finding.code != "unmapped_price"]


def test_the_customers_word_on_its_account_wins_and_a_contradiction_is_found() -> None:
    both = translate.customer(buyer(**NAMED), [endive(**OTHER)])
    assert (both.account, both.account_of, both.named_otherwise) == ("acme", None, {"sub_1": "globex"})
    assert found(both) == ["account_conflict"]
    assert found(translate.customer(buyer(**NAMED), [endive(**NAMED)])) == []


def test_a_subscription_names_the_account_where_its_customer_does_not() -> None:
    ended = endive(id="sub_0", status="canceled", start_date=JAN, **OTHER)
    later = endive(id="sub_2", start_date=FEB, **OTHER)
    read = translate.customer(buyer(metadata={}), [ended, later, endive(start_date=JAN, **NAMED)])
    assert (read.account, read.account_of) == ("acme", "sub_1")
    assert read.named_otherwise == {"sub_0": "globex", "sub_2": "globex"}
    assert translate.customer(buyer(metadata={}), [endive()]).account is None


def test_an_account_that_stands_for_a_customer_is_read_like_one(canned: CannedStripe) -> None:
    entry = endive(customer=None, customer_account="acct_1", **NAMED)
    canned.lists["/v1/subscriptions"] = [entry]
    canned.objects["/v1/subscriptions/sub_1"] = entry
    assert fetch(canned, "stripe:sub_1") == Redirect("stripe:acct_1")
    read = fetch(canned, "stripe:acct_1")
    assert isinstance(read, Customer)
    assert (read.id, read.account, [each.id for each in read.subscriptions]) == ("acct_1", "acme", ["sub_1"])
    assert canned.asked[-1][1]["customer_account"] == ["acct_1"]
    assert "customer" not in canned.asked[-1][1]
    assert found(read) == []


def test_an_event_of_what_an_account_bought_is_about_that_account() -> None:
    bought = {**endive(customer=None, customer_account="acct_1"), "object": "subscription"}
    event = {"id": "evt_1", "object": "event", "type": "customer.subscription.updated", "created": JAN,
             "data": {"object": bought}}  # fmt: skip
    assert refs(event).subject == "stripe:acct_1"


def test_a_subscription_that_belongs_to_nobody_is_read_and_found(canned: CannedStripe) -> None:
    canned.objects["/v1/subscriptions/sub_1"] = endive(customer=None)
    read = fetch(canned, "stripe:sub_1")
    assert isinstance(read, Customer)
    assert (read.id, read.is_ownerless) == ("sub_1", True)
    assert found(read) == ["no_owner"]
    assert fetch(canned, "stripe:sub_gone") is None


def test_a_sweep_passes_nothing_over() -> None:
    page = page_of([endive(id="sub_1", customer=None), endive(id="sub_2", customer=None, customer_account="acct_1"),
                    endive(id="sub_3", customer=buyer())], after=None)  # fmt: skip
    assert [each.subject for each in page.customers] == ["stripe:sub_1", "stripe:acct_1", "stripe:cus_1"]
    assert all(each.customer is not None and each.whole for each in page.customers)


def test_a_listing_without_the_subscription_that_names_the_account_says_nothing_of_it() -> None:
    stored = translate.customer(buyer(metadata={}), [endive(**NAMED)])
    assert compare_listed(stored, translate.customer(buyer(metadata={}), [])) == ()
    assert (
        compare_listed(stored, translate.customer(buyer(metadata={}), [endive(id="sub_9", **OTHER)]))[0].field
        != "account"
    )
    renamed = compare_listed(stored, translate.customer(buyer(**OTHER), []))
    assert [each.field for each in renamed] == ["account"]
    unnamed = compare_listed(stored, translate.customer(buyer(metadata={}), [endive()]))
    assert [each.field for each in unnamed] == ["account"]
    assert compare_listed(replace(stored, account_of=None), translate.customer(buyer(metadata={}), [])) != ()
