"""Live lookup: who comes back from a payment page has access though no webhook came; and who knows of a version or a
billing event can wait for it."""

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from support.server_process import Api
from support.stack import House
from support.stack import house as empty_house
from support.waiting import eventually

CALM: dict[str, Any] = {}


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with empty_house(postgres_url) as made:
        yield made


@pytest.fixture
def silent(house: House) -> Iterator[House]:
    """The house while no webhook comes through. Nothing polls in it."""
    house.control("weather", {"drop": 1})
    yield house
    house.control("weather", CALM)


def customer(house: House) -> str:
    """An account that the server knows, with a customer and no subscription."""
    account = f"acme-{uuid.uuid4().hex[:8]}"
    house.shop.welcome(account, account)
    house.api.ok("PUT", f"/v1/accounts/{account}", json={"links": {"stripe": [house.shop.customers[account]]}})
    eventually(lambda: house.api.ok("GET", f"/v1/accounts/{account}")["customers"])
    return account


def refresh(house: House, account: str, wait_s: int = 20) -> Any:
    return house.api.ok("POST", f"/v1/accounts/{account}/refresh", params={"wait_s": wait_s})


def event_about(house: House, account: str) -> str:
    """The id of the latest event about the account's subscription."""
    subscription = house.shop.subscriptions[account]
    events = house.stripe.v1.events.list({"limit": 100}).data
    return next(event.id for event in events if getattr(event.data.object, "id", None) == subscription)


# Refresh


def test_what_was_bought_is_there_though_no_webhook_came(silent: House) -> None:
    account = customer(silent)
    silent.shop.subscribe(account, "pro_monthly", quantity=3)
    assert silent.api.check(account, "exports")["allowed"] is False
    view = refresh(silent, account)
    assert (view["stale"], view["error"]) == (False, None)
    assert view["entitlements"]["exports"]["granted"] is True
    decision = silent.api.check(account, "exports", at_least=view["version"])
    assert decision["allowed"] is True


def test_it_answers_as_the_entitlements_do(house: House) -> None:
    account = customer(house)
    view = refresh(house, account)
    as_of = {"as_of": view["as_of"]}
    entitlements = house.api.ok("GET", f"/v1/accounts/{account}/entitlements", params=as_of)
    assert {name: view[name] for name in entitlements} == entitlements


def test_with_the_provider_away_what_is_known_is_answered_and_marked(house: House) -> None:
    account = customer(house)
    house.shop.subscribe(account, "pro_monthly")
    house.api.eventually(account, "exports", allowed=True)
    house.control("weather", {"error": 1})
    try:
        view = refresh(house, account, wait_s=1)
    finally:
        house.control("weather", CALM)
    assert view["stale"] is True
    assert view["entitlements"]["exports"]["granted"] is True
    # Whoever asks again need not wait for the pause after a failure.
    assert refresh(house, account)["stale"] is False


def test_what_was_linked_and_not_read_yet_is_read_too(silent: House) -> None:
    account = f"acme-{uuid.uuid4().hex[:8]}"
    silent.control("weather", {"drop": 1, "error": 1})
    made = silent.api.ok("PUT", f"/v1/accounts/{account}", json={})
    assert made["customers"] == []
    silent.control("weather", {"drop": 1})
    silent.shop.welcome(account, account)
    silent.shop.subscribe(account, "pro_monthly")
    silent.api.ok("PUT", f"/v1/accounts/{account}", json={"links": {"stripe": [silent.shop.customers[account]]}})
    assert refresh(silent, account)["entitlements"]["exports"]["granted"] is True


def test_who_is_not_known_has_nobody_to_ask_about(house: House) -> None:
    assert house.api.problem(404, "POST", "/v1/accounts/nobody/refresh")["code"] == "unknown_account"
    assert house.api.problem(400, "POST", "/v1/accounts/nobody/refresh?wait_s=31")["code"] == "invalid_query"


def test_without_a_provider_there_is_nothing_to_ask(api: Api, acme: str) -> None:
    assert api.problem(503, "POST", f"/v1/accounts/{acme}/refresh")["code"] == "provider_not_configured"


# At least


def test_a_billing_event_is_waited_for(house: House) -> None:
    account = customer(house)
    house.shop.subscribe(account, "pro_monthly")
    event = event_about(house, account)
    assert house.api.check(account, "exports", at_least=event, wait_s=20)["allowed"] is True


def test_a_version_that_comes_meanwhile_is_waited_for(api: Api, acme: str) -> None:
    catalog, _, number = api.check(acme, "exports")["version"].partition(".")
    later = f"{catalog}.{int(number) + 1}"

    def give() -> None:
        time.sleep(0.1)
        with Api(api.url) as other:
            other.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "goodwill"})

    giving = threading.Thread(target=give)
    giving.start()
    decision = api.check(acme, "exports", at_least=later, wait_s=20)
    giving.join()
    assert (decision["allowed"], decision["version"]) == (True, later)


def test_what_is_there_is_not_waited_for(api: Api, acme: str) -> None:
    decision = api.check(acme, "projects")
    assert api.check(acme, "projects", at_least=decision["version"], wait_s=0)["version"] == decision["version"]
    assert api.check(acme, "projects", at_least="0.0", wait_s=0)["allowed"] is True


@pytest.mark.parametrize("at_least", ["999.0", "0.999", "evt_of_nobody"])
def test_what_does_not_come_in_time_is_a_problem(api: Api, acme: str, at_least: str) -> None:
    sent = {"account": acme, "feature": "projects", "at_least": at_least, "wait_s": 0}
    problem = api.problem(409, "POST", "/v1/check", json=sent)
    assert problem["code"] == "not_yet"
    assert at_least in problem["detail"]


@pytest.mark.parametrize(
    "odd", [{"at_least": "soon"}, {"at_least": "1"}, {"at_least": "1.2.3"}, {"wait_s": 31}, {"wait_s": -1}]
)
def test_what_is_neither_a_version_nor_an_event_is_refused(api: Api, acme: str, odd: dict[str, Any]) -> None:
    sent = {"account": acme, "feature": "projects", **odd}
    assert api.problem(400, "POST", "/v1/check", json=sent)["code"] == "invalid_body"
