"""Plan changes through the whole house: quoted and asked for over HTTP, made at the provider, told back, settled."""

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from support.stack import House
from support.stack import house as empty_house


class Customers(House):
    """A house, and what its customers do."""

    def customer(self, price: str = "pro_monthly", quantity: int = 1) -> str:
        """A new account with a subscription that is paid."""
        account = f"acme-{uuid.uuid4().hex[:8]}"
        self.shop.welcome(account, account)
        self.shop.subscribe(account, price, quantity=quantity)
        self.api.eventually(account, "exports", allowed=True)
        return account

    def change(self, account: str, quote: str | None = None, *, key: str | None = None, wait_s: int = 20,
               **said: Any) -> Any:  # fmt: skip
        body = {"quote_id": quote} if quote else said
        headers = {"Idempotency-Key": key} if key else {}
        path = f"/v1/accounts/{account}/plan-changes"
        return self.api.ok("POST", path, params={"wait_s": wait_s}, json=body, headers=headers)

    def subscription(self, account: str) -> Any:
        return self.stripe.v1.subscriptions.retrieve(self.shop.subscriptions[account])

    def paid(self, account: str) -> list[int]:
        """What its invoices came to that are paid, the first one first."""
        listed = self.stripe.v1.invoices.list({"customer": self.shop.customers[account], "limit": 100}).data
        return [invoice.amount_paid for invoice in reversed(listed) if invoice.status == "paid"]

    def steps(self, account: str, change: str) -> list[str]:
        told = self.api.ok("GET", f"/v1/accounts/{account}/plan-changes/{change}")
        return [step["step"] for step in told["steps"]]


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[Customers]:
    with empty_house(postgres_url) as made:
        customers = Customers(made.api, made.provider)
        customers.shop = made.shop
        yield customers


def test_an_upgrade_is_charged_once_and_opens_what_its_quote_said(house: Customers) -> None:
    acme = house.customer(quantity=3)
    made = house.quote(acme, plan="business")
    change = house.change(acme, made["id"], key="k1")
    assert change["state"] == "applied"
    assert house.api.check(acme, "audit_log")["allowed"] is True
    assert house.paid(acme) == [29_700, made["money"]["due_now"]]
    assert house.change(acme, made["id"], key="k1")["id"] == change["id"]
    assert house.paid(acme) == [29_700, made["money"]["due_now"]]
    said = {delta["feature"]: (delta["before"], delta["after"]) for delta in made["deltas"]}
    assert {d["feature"]: (d["before"], d["after"]) for d in change["settlement"]["deltas"]} == said
    # What it became may be read before whoever made it says that it is done.
    told = house.steps(acme, change["id"])
    assert [step for step in told if step != "done"][:3] == ["asked", "applied", "rule"]


def test_a_downgrade_comes_by_itself_at_the_end_of_the_period(house: Customers) -> None:
    acme = house.customer("business_monthly")
    change = house.change(acme, house.quote(acme, plan="pro")["id"])
    assert (change["state"], change["schedule"] is not None) == ("scheduled", True)
    assert house.api.check(acme, "audit_log")["allowed"] is True
    until = datetime.fromisoformat(change["effective_at"])
    ahead = house.api.ok("GET", f"/v1/accounts/{acme}/entitlements", params={"as_of": change["effective_at"]})
    assert ahead["entitlements"]["audit_log"]["granted"] is False
    house.control("clock", {"to": until.isoformat()})
    house.api.eventually(acme, "audit_log", allowed=False)
    eventually(house, acme, change["id"], "applied")
    assert house.api.check(acme, "exports")["plan"].startswith("pro@")


def test_what_is_scheduled_is_taken_back_and_the_subscription_goes_on(house: Customers) -> None:
    acme = house.customer("business_monthly")
    change = house.change(acme, house.quote(acme, plan="free")["id"])
    assert (change["state"], change["act"]) == ("scheduled", "cancel")
    assert house.subscription(acme).cancel_at is not None
    taken = house.api.ok("DELETE", f"/v1/accounts/{acme}/plan-changes/{change['id']}", params={"wait_s": 20})
    assert taken["state"] == "canceled"
    assert house.subscription(acme).cancel_at is None
    assert house.steps(acme, change["id"]) == ["asked", "scheduled", "taken_back", "canceled"]


def test_a_change_waits_for_the_customer_to_confirm_and_then_takes_effect(house: Customers) -> None:
    acme = house.customer()
    house.shop.use_card(acme, "pm_card_authenticationRequired")
    change = house.change(acme, house.quote(acme, plan="business")["id"])
    assert (change["state"], change["pay_url"] is not None) == ("pending", True)
    assert house.api.check(acme, "audit_log")["allowed"] is False
    problem = house.api.problem(
        409, "POST", f"/v1/accounts/{acme}/plan-changes", json={"quote_id": house.quote(acme, plan="free")["id"]}
    )
    assert problem["code"] == "change_under_way"
    payments = house.stripe.v1.invoice_payments.list({"invoice": change["invoice"]}).data
    intent = str(payments[-1].payment.payment_intent)
    house.control("authenticate", {"payment_intent": intent, "succeeds": True})
    house.api.eventually(acme, "audit_log", allowed=True)
    eventually(house, acme, change["id"], "applied")


def test_a_declined_change_is_taken_back_and_nothing_is_bought(house: Customers) -> None:
    acme = house.customer()
    house.shop.use_card(acme, "pm_card_chargeCustomerFail")
    change = house.change(acme, house.quote(acme, plan="business")["id"])
    assert change["state"] == "pending"
    taken = house.api.ok("DELETE", f"/v1/accounts/{acme}/plan-changes/{change['id']}", params={"wait_s": 20})
    assert taken["state"] == "canceled"
    assert house.api.check(acme, "audit_log")["allowed"] is False
    assert [item.price.lookup_key for item in house.subscription(acme).items.data] == ["pro_monthly"]
    assert house.paid(acme) == [9_900]


def test_a_change_that_nobody_pays_for_within_a_day_fails_by_itself(house: Customers) -> None:
    acme = house.customer()
    house.shop.use_card(acme, "pm_card_authenticationRequired")
    change = house.change(acme, house.quote(acme, plan="business")["id"])
    house.control("clock", {"advance": "22h"})
    house.control("clock", {"advance": "2h"})
    ended = eventually(house, acme, change["id"], "failed")
    assert ended["reason"]
    assert house.api.check(acme, "audit_log")["allowed"] is False


def test_an_applied_change_is_reverted_by_a_quote_of_its_own(house: Customers) -> None:
    acme = house.customer()
    change = house.change(acme, house.quote(acme, plan="business")["id"])
    back = house.api.ok("POST", f"/v1/accounts/{acme}/plan-changes/{change['id']}/revert")
    assert (back["reverts"], back["plan_after"].partition("@")[0]) == (change["id"], "pro")
    other = house.change(acme, back["id"])
    assert other["reverts"] == change["id"]


def test_a_subscription_is_paused_resumed_and_kept(house: Customers) -> None:
    acme = house.customer()
    assert house.change(acme, act="pause")["state"] == "applied"
    assert house.api.check(acme, "exports")["allowed"] is False
    assert house.change(acme, act="resume")["state"] == "applied"
    assert house.api.check(acme, "exports")["allowed"] is True
    house.stripe.v1.subscriptions.update(house.shop.subscriptions[acme], {"cancel_at_period_end": True})
    wait_until_canceled(house, acme)
    assert house.change(acme, act="keep_going")["state"] == "applied"
    assert house.subscription(acme).cancel_at_period_end is False
    problem = house.api.problem(409, "POST", f"/v1/accounts/{acme}/plan-changes", json={"act": "resume"})
    assert problem["code"] == "not_possible_now"


def test_a_change_made_in_the_provider_s_portal_has_a_record_like_any_other(house: Customers) -> None:
    acme = house.customer()
    item = house.subscription(acme).items.data[0].id
    house.stripe.v1.subscription_items.update(item, {"quantity": 7})
    house.api.eventually(acme, "seats", allowed=True, quantity=7)
    latest = house.api.ok("GET", f"/v1/accounts/{acme}/plan-changes")["changes"][0]
    assert (latest["source"], latest["state"], latest["settlement"]["direction"]) == ("billing", "applied", "upgrade")


def test_the_commands_change_a_plan_and_tell_its_story(house: Customers) -> None:
    acme = house.customer()
    made = json.loads(house.paygrade("accounts", "quote", acme, "--plan", "business", "--json"))
    changed = house.paygrade("accounts", "change", acme, "--quote", made["id"], "--key", "once")
    id, state, what = changed.strip().split("\t")
    assert (state, what.split(",")[0]) == ("applied", "upgrade")
    assert house.paygrade("accounts", "change", acme, "--quote", made["id"], "--key", "once") == changed
    told = house.paygrade("accounts", "changes", acme, id)
    assert "asked" in told
    assert "gains `audit_log`" in told
    story = house.paygrade("accounts", "timeline", acme)
    assert f"{id}\tapplied\tupgrade" in story
    assert "customer `cus_" in story
    shown = json.loads(house.paygrade("accounts", "timeline", acme, "--json"))
    assert shown["changes"][0]["id"] == id
    back = house.paygrade("accounts", "revert", acme, id)
    assert "downgrade, business@1 → pro@1" in back
    ending = json.loads(house.paygrade("accounts", "quote", acme, "--plan", "free", "--json"))
    scheduled = house.paygrade("accounts", "change", acme, "--quote", ending["id"]).split("\t")
    assert scheduled[1] == "scheduled"
    assert house.paygrade("accounts", "take-back", acme, scheduled[0]).split("\t")[1] == "canceled"
    house.paygrade("accounts", "change", acme, code=2)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "invalid_body"),
        ({"quote_id": "q", "act": "pause"}, 400, "invalid_body"),
        ({"act": "change"}, 400, "invalid_body"),
        ({"act": "set_trial"}, 400, "invalid_body"),
        ({"act": "pause", "trial_ends_at": "2027-01-01T00:00:00Z"}, 400, "invalid_body"),
        ({"act": "set_trial", "trial_ends_at": "soon"}, 400, "invalid_body"),
        ({"act": "set_trial", "trial_ends_at": "2020-01-01T00:00:00Z"}, 400, "date_in_the_past"),
        ({"act": "pause", "subscription": "sub_0"}, 409, "no_subscription_to_change"),
        ({"quote_id": "quote_0"}, 404, "unknown_quote"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(house: Customers, body: dict[str, Any], status: int, code: str) -> None:
    acme = house.customer()
    assert house.api.problem(status, "POST", f"/v1/accounts/{acme}/plan-changes", json=body)["code"] == code


def eventually(house: Customers, account: str, change: str, state: str) -> Any:
    for _ in range(600):
        told = house.api.ok("GET", f"/v1/accounts/{account}/plan-changes/{change}")["change"]
        if told["state"] == state:
            return told
        house.control("flush", {})
    raise AssertionError(told)


def wait_until_canceled(house: Customers, account: str) -> None:
    for _ in range(600):
        (known,) = house.api.ok("GET", f"/v1/accounts/{account}")["subscriptions"]
        if known.get("ends_at") is not None:
            return
        house.control("flush", {})
    raise AssertionError(known)
