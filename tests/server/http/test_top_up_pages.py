"""A customer buys credits on a page, and has them when they come back, with webhooks or without."""

import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from support.server_process import SAMPLE
from support.stack import House
from support.stack import house as empty_house
from support.waiting import eventually

PACKS = """
  top_up:
    ai_credits: { below: 5, add: 500, at_most: 1, every: month, price: { amount: 1000, currency: usd } }
"""
ADDRESSES = {
    "success_url": "https://shop.example/credits?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/credits",
}


class Desk(House):
    """A house whose catalog sells packs of credits."""

    def someone(self) -> str:
        account = f"acme-{uuid.uuid4().hex[:8]}"
        self.api.ok("PUT", f"/v1/accounts/{account}", json={})
        return account

    def page(self, account: str, *, key: str | None = None, **said: Any) -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        body = {"credit": "ai_credits", **ADDRESSES, **said}
        return self.api.ok("POST", f"/v1/accounts/{account}/top-ups/checkout", json=body, headers=headers)

    def at_the_page(self, session: str, outcome: str) -> None:
        self.control("checkout", {"session": session, "outcome": outcome})

    def available(self, account: str, **said: Any) -> int:
        self.api.check(account, "ai_credits", **said)
        shares = self.api.ok("GET", f"/v1/accounts/{account}/balances/ai_credits")["grants"]
        return sum(one["share"]["available"] for one in shares if one["grant"]["kind"] == "top_up")

    def top_ups(self, account: str) -> list[Any]:
        return list(self.api.ok("GET", f"/v1/accounts/{account}/top-ups")["top_ups"])


@pytest.fixture(scope="module")
def desk(postgres_url: str) -> Iterator[Desk]:
    with empty_house(postgres_url) as made:
        desk = Desk(made.api, made.provider, made.database_url)
        text = SAMPLE.read_text()
        assert "\npolicies:\n" in text
        desk.api.ok(
            "PUT",
            "/v1/catalog",
            content=text.replace("\npolicies:\n", f"\npolicies:{PACKS}", 1),
            headers={"Content-Type": "application/yaml"},
        )
        yield desk


def test_credits_bought_on_a_page_are_there_when_the_customer_comes_back_though_no_webhook_came(desk: Desk) -> None:
    desk.control("weather", {"drop": 1})
    acme = desk.someone()
    made = desk.page(acme, key="buy-1", packs=3)
    assert (made["units"], made["amount"], made["currency"]) == (1500, 3000, "usd")
    assert desk.page(acme, key="buy-1", packs=3) == made, "the same request repeated gets the same page"
    asked = {"account": acme, "feature": "ai_credits", "at_least": made["session"], "wait_s": 0}
    assert desk.api.problem(409, "POST", "/v1/check", json=asked)["code"] == "not_yet"
    assert [(one["state"], one["session"]) for one in desk.top_ups(acme)] == [("open", made["session"])]
    desk.at_the_page(made["session"], "pay")
    before = desk.api.check(acme, "ai_credits").get("remaining")
    decision = desk.api.check(acme, "ai_credits", at_least=made["session"], wait_s=20)
    assert decision["allowed"] is True
    assert decision["remaining"] == (before or 0) + 1500
    assert desk.available(acme) == 1500
    [bought] = desk.top_ups(acme)
    assert (bought["state"], bought["units"], bought["amount"]) == ("paid", 1500, 3000)
    [record] = [
        one for one in desk.api.ok("GET", f"/v1/accounts/{acme}/audit")["records"] if one["action"] == "top_up.open"
    ]
    assert record["changes"]["units"] == 1500
    # Asked again, nothing is granted again, and nobody waits for somebody else's session. A refund takes units back.
    assert desk.api.check(acme, "ai_credits", at_least=made["session"], wait_s=20)["allowed"] is True
    assert desk.available(acme) == 1500
    other = {**asked, "account": desk.someone()}
    assert desk.api.problem(409, "POST", "/v1/check", json=other)["code"] == "not_yet"
    desk.control("weather", {})
    charge: Any = desk.stripe.v1.charges.list({"customer": bought["customer"]}).data[0]
    desk.stripe.v1.refunds.create({"charge": charge.id, "amount": 1000})
    eventually(lambda: desk.available(acme) == 1000)


def test_a_command_opens_the_page_and_says_what_it_sells(desk: Desk) -> None:
    addresses = ("--success-url", "https://shop.example/ok", "--cancel-url", "https://shop.example/no")
    told = desk.paygrade("accounts", "buy-credits", desk.someone(), "ai_credits", "--packs", "2", *addresses)
    assert told.startswith("1000 ai_credits for 20.00 USD: http")


def test_a_webhook_alone_grants_what_was_bought_and_a_debit_waits_until_it_settles(desk: Desk) -> None:
    acme = desk.someone()
    quick, slow = desk.page(acme), desk.page(acme, packs=2)
    assert quick["session"] != slow["session"]
    desk.at_the_page(quick["session"], "pay")
    eventually(lambda: desk.available(acme) == 500)
    desk.at_the_page(slow["session"], "debit")
    assert {one["session"]: one["state"] for one in desk.top_ups(acme)}[slow["session"]] == "open"
    assert len({customer.id for customer in desk.stripe.v1.customers.list({"limit": 100}).data
                if customer.metadata and customer.metadata.to_dict().get("paygrade_account") == acme}) == 1  # fmt: skip
    httpx2.post(f"{desk.provider.url}/_simulator/clock", json={"advance": "5d"}, trust_env=False, timeout=60)
    eventually(lambda: desk.available(acme) == 1500)


def test_a_debit_that_fails_grants_nothing_and_a_page_that_expires_is_forgotten(desk: Desk) -> None:
    acme = desk.someone()
    failing, left = desk.page(acme), desk.page(acme)
    desk.at_the_page(failing["session"], "failing_debit")
    desk.at_the_page(left["session"], "expire")
    eventually(lambda: [one["session"] for one in desk.top_ups(acme)] == [failing["session"]])
    httpx2.post(f"{desk.provider.url}/_simulator/clock", json={"advance": "5d"}, trust_env=False, timeout=60)
    eventually(lambda: [one["state"] for one in desk.top_ups(acme)] == ["failed"])
    assert desk.available(acme) == 0


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"credit": "gems"}, 404, "unknown_feature"),
        ({"credit": "api_calls"}, 404, "unknown_price"),
        ({"packs": 0}, 400, "invalid_body"),
        ({"packs": 2**63}, 400, "invalid_body"),
        ({"success_url": "javascript:alert(1)"}, 400, "invalid_body"),
    ],
)
def test_what_can_not_be_sold_is_refused(desk: Desk, said: Any, status: int, code: str) -> None:
    body = {"credit": "ai_credits", **ADDRESSES, **said}
    assert desk.api.problem(status, "POST", "/v1/accounts/someone/top-ups/checkout", json=body)["code"] == code
