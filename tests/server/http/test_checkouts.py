"""From nothing to "they paid and have it": a checkout is started, its page is completed, and access is there."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from paygrade.server.process.settings import Settings
from support.server_process import Api, serving
from support.stack import House
from support.stack import house as empty_house
from support.waiting import eventually

ADDRESSES = {
    "success_url": "https://shop.example/welcome?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/pricing",
}
CALM: dict[str, Any] = {}


class Buyers(House):
    """A house, and those who buy there."""

    def someone(self) -> str:
        """An account that nobody has heard of."""
        return f"acme-{uuid.uuid4().hex[:8]}"

    def checkout(self, account: str, plan: str = "pro", **said: Any) -> Any:
        body = {"plan": plan, "interval": "monthly", **ADDRESSES, **said}
        return self.api.ok("POST", f"/v1/accounts/{account}/checkout", json=body)

    def refused(self, account: str, status: int = 409, **said: Any) -> Any:
        body = {"plan": "pro", "interval": "monthly", **ADDRESSES, **said}
        return self.api.problem(status, "POST", f"/v1/accounts/{account}/checkout", json=body)

    def at_the_page(self, session: str, outcome: str, **said: Any) -> Any:
        wanted = {"session": session, "outcome": outcome, **said}
        answer = httpx2.post(f"{self.provider.url}/_simulator/checkout", json=wanted, trust_env=False, timeout=60)
        assert answer.is_success, answer.text
        return answer.json()

    def refresh(self, account: str) -> Any:
        return self.api.ok("POST", f"/v1/accounts/{account}/refresh", params={"wait_s": 20})

    def customers(self, account: str) -> list[Any]:
        listed = self.stripe.v1.customers.list({"limit": 100}).data
        return [one for one in listed if (one.metadata or {}).get("paygrade_account") == account]

    def sessions(self, account: str) -> list[Any]:
        listed = self.stripe.v1.checkout.sessions.list({"limit": 100}).data
        return [one for one in listed if one.client_reference_id == account]


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[Buyers]:
    with empty_house(postgres_url) as made:
        buyers = Buyers(made.api, made.provider, made.database_url)
        buyers.shop = made.shop
        yield buyers


@pytest.fixture
def silent(house: Buyers) -> Iterator[Buyers]:
    """The house while no webhook comes through. Nothing polls in it."""
    house.control("weather", {"drop": 1})
    yield house
    house.control("weather", CALM)


def test_a_newcomer_pays_and_has_it_though_no_webhook_came(silent: Buyers) -> None:
    acme = silent.someone()
    assert silent.api.check(acme, "exports")["reason"] == "unknown_account"
    made = silent.checkout(acme, quantities={"seats": 3}, trial=False)
    assert (made["plan"], made["trial_days"]) == ("pro@1", None)
    session = silent.stripe.v1.checkout.sessions.retrieve(made["session"], {"expand": ["line_items"]})
    assert (session.url, session.client_reference_id) == (made["url"], acme)
    assert [(item.price.lookup_key, item.quantity) for item in session.line_items.data] == [("pro_monthly", 3)]
    silent.at_the_page(made["session"], "pay")
    view = silent.refresh(acme)
    assert (view["stale"], view["entitlements"]["exports"]["granted"]) == (False, True)
    assert silent.api.check(acme, "seats", quantity=3)["allowed"] is True
    [customer] = silent.customers(acme)
    [subscription] = silent.stripe.v1.subscriptions.list({"customer": customer.id}).data
    assert subscription.metadata["paygrade_account"] == acme


def test_who_comes_back_waits_for_what_was_bought_in_their_session(silent: Buyers) -> None:
    acme = silent.someone()
    made = silent.checkout(acme)
    asked = {"account": acme, "feature": "exports", "at_least": made["session"], "wait_s": 0}
    assert silent.api.problem(409, "POST", "/v1/check", json=asked)["code"] == "not_yet"
    silent.at_the_page(made["session"], "pay")
    decision = silent.api.check(acme, "exports", at_least=made["session"], wait_s=20)
    assert (decision["allowed"], decision["plan"]) == (True, "pro@1")
    # Whoever names somebody else's session waits for nothing that is theirs.
    other = {**asked, "account": silent.someone()}
    assert silent.api.problem(409, "POST", "/v1/check", json=other)["code"] == "not_yet"
    again = silent.refused(acme)
    assert (again["code"], again["quote_url"]) == ("already_subscribed", f"/v1/accounts/{acme}/plan-changes/quote")
    assert silent.api.ok("POST", again["quote_url"], json={"plan": "business"})["plan_after"].startswith("business@")
