"""Answers that must rest on a write or a billing event the caller knows of."""

import asyncio
import time
import uuid
from collections.abc import Iterator

import pytest

from paygrade import Decision, Paygrade, PaygradeError
from paygrade.client.at_least import version_with
from paygrade.decisions.following import versions_of
from support.server_process import KEY, Api
from support.stack import House
from support.stack import house as empty_house
from support.waiting import eventually


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with empty_house(postgres_url) as made:
        yield made


def customer(house: House) -> str:
    """An account that the server knows, with a customer and no subscription."""
    account = f"acme-{uuid.uuid4().hex[:8]}"
    house.shop.welcome(account, account)
    house.api.ok("PUT", f"/v1/accounts/{account}", json={"links": {"stripe": [house.shop.customers[account]]}})
    eventually(lambda: house.api.ok("GET", f"/v1/accounts/{account}")["customers"])
    return account


def bought(house: House, account: str) -> str:
    """The id of the billing event that told of what it has just bought."""
    house.shop.subscribe(account, "pro_monthly")
    subscription = house.shop.subscriptions[account]
    events = house.stripe.v1.events.list({"limit": 100}).data
    return next(str(event.id) for event in events if getattr(event.data.object, "id", None) == subscription)


def stand_by(sdk: Paygrade, account: str) -> None:
    sdk.check(account, "exports")
    eventually(lambda: sdk.status().state == "connected" and not sdk.check(account, "exports").stale)


def test_a_billing_event_is_waited_for(house: House) -> None:
    account = customer(house)
    with Paygrade(house.api.url, KEY, timeout_s=20) as sdk:
        stand_by(sdk, account)
        found = sdk.check(account, "exports", at_least=bought(house, account))
        assert (found.allowed, found.stale) == (True, False)
        # And from then on without a word.
        assert sdk.check(account, "exports").allowed


def test_a_billing_event_is_a_version_that_has_taken_it_in(house: House) -> None:
    account = customer(house)
    _, before = versions_of(house.api.check(account, "exports")["version"])
    with Paygrade(house.api.url, KEY, timeout_s=20) as sdk:
        version = version_with(sdk._connection, account, "exports", bought(house, account), timeout_s=20)
        assert version is not None
        assert version > (0, before)
        assert house.api.check(account, "exports", at_least=f"{version[0]}.{version[1]}")["allowed"]


def test_a_billing_event_is_waited_for_without_holding_the_loop(house: House) -> None:
    account = customer(house)
    with Paygrade(house.api.url, KEY, timeout_s=20) as sdk:
        stand_by(sdk, account)
        event = bought(house, account)

        async def ask() -> tuple[Decision, Decision]:
            began_s = time.monotonic()
            at_once = sdk.check(account, "exports", at_least=event)
            assert time.monotonic() - began_s < 20
            return at_once, await sdk.acheck(account, "exports", at_least=event)

        at_once, waited = asyncio.run(ask())
        assert at_once.stale
        assert (waited.allowed, waited.stale) == (True, False)


@pytest.mark.parametrize("at_least", ["evt_of_nobody", "0.999", "999.0", 999])
def test_what_does_not_come_in_time_is_answered_as_stale(api: Api, acme: str, at_least: str | int) -> None:
    with Paygrade(api.url, KEY, timeout_s=0.2, on_error={"api_calls": "deny"}) as sdk:
        eventually(lambda: not sdk.check(acme, "api_calls").stale and sdk.check(acme, "api_calls").allowed)
        found = sdk.check(acme, "api_calls", at_least=at_least)
        assert (found.allowed, found.reason, found.stale) == (False, "stale", True)
        assert asyncio.run(sdk.acheck(acme, "api_calls", at_least=at_least)).stale
        assert sdk.check(acme, "api_calls").allowed


def test_without_a_server_nobody_waits_for_what_cannot_come() -> None:
    with Paygrade("http://127.0.0.1:9", KEY, timeout_s=20) as sdk:
        began_s = time.monotonic()
        assert sdk.check("acme", "exports", at_least="evt_1").stale
        assert sdk.check("acme", "exports", at_least="7.12").stale
        assert time.monotonic() - began_s < 15


@pytest.mark.parametrize("at_least", ["soon", "", "1.2.3", -1, "evt_" + "x" * 300, "v 1"])
def test_what_is_neither_a_version_nor_a_billing_event_is_refused(api: Api, acme: str, at_least: str | int) -> None:
    with Paygrade(api.url, KEY) as sdk, pytest.raises(PaygradeError, match="is not a version"):
        sdk.check(acme, "exports", at_least=at_least)
