"""Quotes through the whole house: over HTTP, from PostgreSQL, with the provider's preview and without."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import stripe

from paygrade.billing.facts import Item, Subscription
from paygrade.changes.request import ChangeRequest
from paygrade.cli.quote_page import page
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_subscription
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.changes.quotes import KEPT, VALID_FOR, get_quote, purge_quotes, quote_change
from paygrade.server.operations.usage.grants import state_usage
from paygrade.server.state.snapshots import Snapshots
from paygrade.values.errors import Refused
from paygrade.values.money import amount
from support.fake_provider import DOCUMENT
from support.stack import START, House
from support.stack import house as empty_house
from support.waiting import eventually


class Quoted(House):
    """A house in which `acme` has pro for three, `late` is in arrears later, and `own` bills by hand."""

    def refused(self, status: int, account: str, **wanted: Any) -> Any:
        return self.api.problem(status, "POST", f"/v1/accounts/{account}/plan-changes/quote", json=wanted)


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[Quoted]:
    with empty_house(postgres_url) as empty:
        made = Quoted(empty.api, empty.provider)
        made.shop = empty.shop
        for account in ("acme", "late"):
            made.shop.welcome(account, account.title())
            made.shop.subscribe(account, "pro_monthly", quantity=3)
        made.control("clock", {"advance": "7d"})
        made.api.eventually("acme", "exports", allowed=True)
        made.api.eventually("late", "exports", allowed=True)
        made.api.ok("PUT", "/v1/accounts/own", json={})
        stated = {"version": 1, "status": "active", "items": [{"id": "main", "plan": "pro", "price": "monthly"}]}
        made.api.ok("PUT", "/v1/accounts/own/subscriptions/s1", json={**stated, "anchor_at": START.isoformat()})
        yield made


def test_an_upgrade_is_quoted_with_the_provider_s_sums(house: Quoted) -> None:
    made = house.quote("acme", plan="business")
    assert (made["direction"], made["plan_before"], made["plan_after"]) == ("upgrade", "pro@1", "business@1")
    assert made["money"]["source"] == made["money"]["next_invoice"]["source"] == "provider"
    # Three quarters of the month are left.
    assert (made["money"]["credit"], made["money"]["charge"]) == (22_275, 112_275)
    assert (made["money"]["due_now"], made["money"]["next_invoice"]["due"]) == (90_000, 149_700)
    assert [line["what"] for line in made["money"]["invoice"]["lines"]] == ["pro", "business"]
    assert {delta["feature"]: delta["how"] for delta in made["deltas"]}["audit_log"] == "gains"
    assert made["warnings"] == []
    assert house.api.check("acme", "audit_log")["allowed"] is False


def test_a_quote_is_kept_and_names_what_it_was_made_on(house: Quoted) -> None:
    made = house.quote("acme", quantities={"seats": 5}, when="period_end")
    assert house.api.ok("GET", f"/v1/accounts/acme/plan-changes/quotes/{made['id']}") == made
    version = house.api.ok("GET", "/v1/accounts/acme")["version"]
    assert (made["account_version"], made["catalog_version"]) == (version, 1)
    lasts = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["made_at"])
    assert lasts == VALID_FOR
    again = house.quote("acme", quantities={"seats": 5}, when="period_end")
    assert again["id"] != made["id"]
    assert (again["digest"] == made["digest"]) == (again["made_at"] == made["made_at"])
    other = house.api.problem(404, "GET", f"/v1/accounts/late/plan-changes/quotes/{made['id']}")
    assert other["code"] == "unknown_quote"


def test_a_quote_changes_nothing_at_the_provider(house: Quoted) -> None:
    before = house.api.ok("GET", "/v1/accounts/acme/timeline")
    house.quote("acme", plan="business", interval="yearly", add_ons={"extra_calls": 2})
    house.quote("acme", plan="free", when="now")
    house.control("flush", {})
    assert house.api.ok("GET", "/v1/accounts/acme/timeline") == before


def test_members_and_usage_over_the_new_limits_are_told(house: Quoted) -> None:
    for member in ("ann", "bo"):
        house.api.ok("PUT", f"/v1/accounts/acme/members/{member}", json={"role": "owner", "seat": True})
    house.api.ok("PUT", "/v1/accounts/acme/usage/projects", json={"used": 4, "id": "counted"})
    house.api.ok("POST", "/v1/consume", json={"account": "acme", "feature": "api_calls", "quantity": 500, "id": "c1"})
    made = house.quote("acme", plan="free")
    assert (made["ends"], made["when"], made["executable"]) == (True, "period_end", True)
    assert [(v["feature"], v["kind"], v["used"], v["limit"], v["policy"]) for v in made["violations"]] == [
        ("seats", "members", 2, 1, "block_new"),
        ("projects", "usage", 4, 2, "block_new"),
    ]


def test_what_is_billed_by_hand_has_the_formula_s_sums(house: Quoted) -> None:
    made = house.quote("own", plan="business", when="2026-02-14T12:00:00Z")
    assert (made["money"]["source"], made["money"]["invoice"]["due"]) == ("formula", 20_000)
    assert (made["when"], made["effective_at"], made["money"]["due_now"]) == ("date", "2026-02-14T12:00:00Z", 0)


def test_a_provider_that_does_not_answer_leaves_the_formula_and_a_warning(house: Quoted) -> None:
    house.control("weather", {"error": 1.0})
    try:
        made = house.quote("acme", plan="business")
    finally:
        house.control("weather", {})
    assert (made["money"]["source"], made["money"]["due_now"]) == ("formula", 90_000)
    assert [caveat["code"] for caveat in made["warnings"]] == ["preview_unavailable"]


def test_a_change_in_arrears_says_so(house: Quoted) -> None:
    house.shop.use_card("late", "pm_card_chargeCustomerFail")
    client = stripe.StripeClient(house.provider.key, base_addresses={"api": house.provider.url})
    (item,) = client.v1.subscription_items.list({"subscription": house.shop.subscriptions["late"]}).data
    client.v1.subscription_items.update(item.id, {"quantity": 5, "proration_behavior": "always_invoice"})
    # What is not paid for yet is not given.
    eventually(lambda: house.api.check("late", "exports")["reason"] == "grace")
    assert not house.api.check("late", "seats", quantity=5)["allowed"]
    made = house.quote("late", plan="business")
    assert [caveat["code"] for caveat in made["warnings"]] == ["payment_overdue"]
    reasons = {delta["feature"]: delta["decision_after"]["reason"] for delta in made["deltas"]}
    assert reasons["audit_log"] == "grace"


@pytest.mark.parametrize(
    ("status", "account", "wanted", "code"),
    [
        (404, "nobody", {"plan": "pro"}, "unknown_account"),
        (404, "acme", {"plan": "prp"}, "unknown_plan"),
        (404, "acme", {"add_ons": {"calls": 1}}, "unknown_add_on"),
        (404, "acme", {"interval": "weekly"}, "unknown_price"),
        (400, "acme", {"quantities": {"projects": 5}}, "quantity_not_sold"),
        (409, "acme", {}, "same_as_now"),
        (409, "acme", {"plan": "business", "coupon": "none"}, "provider_refused_change"),
        (400, "acme", {"plan": "business", "when": "2026-01-01T00:00:00Z"}, "date_in_the_past"),
        (400, "acme", {"plan": "business", "when": "later"}, "invalid_body"),
        (400, "acme", {"quantities": {"seats": -1}}, "invalid_body"),
        (400, "acme", {"quantities": {"seats": 1_000_001}}, "invalid_body"),
        (400, "acme", {"pln": "business"}, "invalid_body"),
    ],
)
def test_what_cannot_be_quoted_is_refused_with_a_code(
    house: Quoted, status: int, account: str, wanted: dict[str, Any], code: str
) -> None:
    assert house.refused(status, account, **wanted)["code"] == code


def test_an_account_that_pays_for_nothing_has_nothing_to_change(house: Quoted) -> None:
    house.api.ok("PUT", "/v1/accounts/free", json={})
    assert house.refused(409, "free", plan="pro")["code"] == "no_subscription_to_change"


def test_the_command_shows_a_quote_on_one_screen(house: Quoted) -> None:
    told = house.paygrade("accounts", "quote", "acme", "--plan", "business", "--add-on", "extra_calls=2")
    lines = dict(line.split("\t", 1) for line in told.splitlines())
    assert len(told.splitlines()) <= 24
    assert lines["due now"] == "930.00 USD (by the provider)"
    assert lines["takes effect"].startswith("now, 2026-02-07 12:00:")
    assert lines["acme"] == "upgrade, pro@1 → business@1"
    assert "item\t3 × pro → 3 × business" in told
    assert "item\t+ 2 × extra_calls" in told
    assert "gains\taudit_log: no (not_in_plan) → yes" in told
    asked = house.paygrade("accounts", "quote", "acme", "--quantity", "seats=5", "--when", "period_end", "--json")
    assert json.loads(asked)["wanted"] == {"quantities": {"seats": 5}, "when": "period_end"}
    assert "`seats` is not KEY=N" in house.paygrade("accounts", "quote", "acme", "--quantity", "seats", code=2)
    assert "no plan `prp`" in house.paygrade("accounts", "quote", "acme", "--plan", "prp", code=1)


@pytest.mark.parametrize(
    ("units", "currency", "text"),
    [(9900, "usd", "99.00 USD"), (-5, "eur", "-0.05 EUR"), (980, "jpy", "980 JPY"), (1234, "kwd", "1.234 KWD")],
)
def test_an_amount_has_its_currency_s_minor_units(units: int, currency: str, text: str) -> None:
    assert amount(units, currency) == text


# On the operations alone

RULES = [{"direction": "downgrade", "when": "now", "over_limit": "refuse"}, {"when": "now"}]


@pytest.fixture
async def own(store: Store) -> Store:
    """A store with a catalog that refuses, and an account billed by hand."""
    policies = {**DOCUMENT["policies"], "plan_change": RULES}
    document = {**DOCUMENT, "policies": policies}
    await publish_catalog(store, document=document, lines={}, dry_run=False, at=START, by="ann")
    await put_account(store, account="acme", name="", links={}, traits={}, at=START)
    stated = Subscription("own", "active", (Item("main", 1, plan="pro"),), START)
    await put_subscription(store, account="acme", subscription=stated, version=1, at=START)
    return store


@pytest.mark.anyio
async def test_a_change_that_its_rule_refuses_as_things_are_is_told_and_not_executable(own: Store) -> None:
    await state_usage(own, Snapshots(), account="acme", pool="seats", used=3, id="s", reason="", at=START)
    made = await quote_change(
        own, None, account="acme", wanted=ChangeRequest(plan="free"), at=START + timedelta(hours=1)
    )
    assert not made.executable
    assert [row[0] for row in page(msgspec.to_builtins(made))][-2:] == ["refused", "quote"]


@pytest.mark.anyio
async def test_quotes_are_forgotten_long_after_they_expired(own: Store) -> None:
    made = await quote_change(own, None, account="acme", wanted=ChangeRequest(plan="free"), at=START)
    assert await purge_quotes(own, at=START + VALID_FOR + KEPT) == 0
    assert await get_quote(own, account="acme", id=made.id) == made
    assert await purge_quotes(own, at=START + VALID_FOR + KEPT + timedelta(seconds=1)) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("amount", "quantity"), [(2**53 - 1, 10**6), (2**53 - 1, 2), (2**40, 10**6)])
async def test_what_nobody_would_bill_is_refused_and_never_an_internal_error(
    own: Store, amount: int, quantity: int
) -> None:
    prices = {"monthly": {"amount": amount, "currency": "usd", "interval": "month", "stripe": "pro_monthly"}}
    pro = {**DOCUMENT["plans"]["pro"], "prices": prices}
    document = {**DOCUMENT, "plans": {**DOCUMENT["plans"], "pro": pro}}
    await publish_catalog(own, document=document, lines={}, dry_run=False, at=START, by="ann")
    with pytest.raises(Refused, match="check the quantities") as refused:
        await quote_change(own, None, account="acme", wanted=ChangeRequest(quantities={"pro": quantity}), at=START)
    assert refused.value.code == "amount_too_large"
    made = await quote_change(own, None, account="acme", wanted=ChangeRequest(plan="free"), at=START)
    assert made.money.credit <= amount
