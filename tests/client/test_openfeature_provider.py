"""OpenFeature in process: the provider over the SDK beside the stock one that asks the same server by OFREP."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api as openfeature
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.provider import FeatureProvider
from openfeature.track import TrackingEventDetails

from paygrade import Paygrade
from paygrade.client.integrations.openfeature import PaygradeProvider
from support.server_process import KEY, Api, Restartable
from support.waiting import eventually

PRO = {
    "version": 1,
    "status": "active",
    "items": [{"id": "main", "plan": "pro", "quantity": 3}],
    "anchor_at": "2026-01-31T00:00:00Z",
}
DEFAULTS: dict[str, Any] = {"boolean": True, "string": "none", "integer": 7, "float": 0.5}


def client_of(provider: FeatureProvider) -> OpenFeatureClient:
    domain = uuid.uuid4().hex
    openfeature.set_provider(provider, domain)
    client = openfeature.get_client(domain)
    eventually(lambda: client.get_provider_status().value == "READY")
    return client


def about(targeting_key: str | None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(targeting_key, attributes)


@pytest.fixture(scope="module")
def sdk(api: Api) -> Iterator[Paygrade]:
    with Paygrade(api.url, KEY, timeout_s=10) as made:
        yield made


@pytest.fixture(scope="module")
def client(sdk: Paygrade) -> OpenFeatureClient:
    return client_of(PaygradeProvider(sdk))


@pytest.fixture(scope="module")
def remote(api: Api) -> OpenFeatureClient:
    return client_of(OFREPProvider(api.url, headers_factory=lambda: {"Authorization": f"Bearer {KEY}"}))


@pytest.fixture
def pro(api: Api, acme: str) -> str:
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json=PRO)
    return acme


def free(api: Api, account: str) -> None:
    api.ok("PUT", f"/v1/accounts/{account}", json={})


def full(api: Api, account: str) -> None:
    free(api, account)
    for feature, quantity in (("projects", 2), ("api_calls", 1000)):
        api.ok(
            "POST", "/v1/consume", json={"account": account, "feature": feature, "quantity": quantity, "id": feature}
        )


def paying(api: Api, account: str) -> None:
    free(api, account)
    api.ok("PUT", f"/v1/accounts/{account}/subscriptions/main", json=PRO)
    api.ok("PUT", f"/v1/accounts/{account}/members/ann", json={"role": "admin"})


def past_due(api: Api, account: str) -> None:
    api.ok("PUT", f"/v1/accounts/{account}", json={})
    api.ok("PUT", f"/v1/accounts/{account}/subscriptions/main", json={**PRO, "status": "past_due"})


def blocked(api: Api, account: str) -> None:
    paying(api, account)
    api.ok("PUT", f"/v1/accounts/{account}/blocks/fraud", json={})


def nobody(api: Api, account: str) -> None:
    """There is no such account."""


CONTEXTS: list[dict[str, Any]] = [
    {},
    {"member": "ann"},
    {"quantity": 3},
    {"quantity": 0, "quantities": {"projects": 2, "api_calls": 5}, "model": "large"},
]
ODD: list[dict[str, Any]] = [
    {"quantity": -1},
    {"quantity": "2"},
    {"member": 7},
    {"quantities": [1]},
    {"account": "a" * 201},
    {"account": "acme of the context", "quantity": True},
]


@pytest.mark.parametrize("made", [free, full, paying, past_due, blocked, nobody])
def test_every_flag_of_every_account_is_what_the_server_says(api: Api, client: OpenFeatureClient, made: Any) -> None:
    account, other = f"acme-{uuid.uuid4().hex[:12]}", f"other-{uuid.uuid4().hex[:12]}"
    made(api, account)
    free(api, other)
    client.get_boolean_value("exports", False, about(other))  # so that it is known what features there are
    for context in CONTEXTS:
        sent = {"context": {"targetingKey": account, **context}}
        flags = api.ok("POST", "/ofrep/v1/evaluate/flags", json=sent)["flags"]
        assert len(flags) > 20
        for flag in flags:
            kinds = {bool: "boolean", str: "string", int: "integer", type(None): "integer"}
            kind = kinds[type(flag.get("value"))]
            found = getattr(client, f"get_{kind}_details")(flag["key"], DEFAULTS[kind], about(account, **context))
            assert found.value == flag.get("value", DEFAULTS[kind])
            assert (found.reason, found.variant) == (flag["reason"], flag["variant"])
            assert found.flag_metadata == flag["metadata"]


def test_whatever_is_asked_both_providers_answer_alike(
    api: Api, client: OpenFeatureClient, remote: OpenFeatureClient, pro: str
) -> None:
    keys = ("exports", "retention", "support", "projects.limit", "projects.owner", "exports.limit", "teleport")
    asked: list[tuple[str, str, dict[str, Any]]] = [(key, kind, {}) for key in keys for kind in DEFAULTS]
    for key, kind, context in [*asked, *(("projects", "boolean", odd) for odd in ODD)]:
        here, there = (
            getattr(each, f"get_{kind}_details")(key, DEFAULTS[kind], about(pro, **context))
            for each in (client, remote)
        )
        assert (here.value, here.reason, here.error_code) == (there.value, there.reason, there.error_code), (key, kind)
        assert here.flag_metadata == there.flag_metadata


def test_without_an_account_the_default_counts(client: OpenFeatureClient) -> None:
    for context in (about(None), about(""), about(None, plan="pro")):
        found = client.get_boolean_details("exports", True, context)
        assert (found.value, found.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)


def test_an_object_is_the_whole_decision(api: Api, client: OpenFeatureClient, acme: str) -> None:
    found = client.get_object_value("projects", {}, about(acme))
    assert isinstance(found, dict)
    decided = api.check(acme, "projects")
    assert {name: value for name, value in found.items() if name in decided} == {**decided, "as_of": found["as_of"]}


def test_a_change_is_seen_and_said(api: Api, client: OpenFeatureClient, acme: str) -> None:
    told: list[EventDetails] = []
    assert client.get_boolean_value("exports", True, about(acme)) is False
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.append)
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json=PRO)
    eventually(lambda: client.get_boolean_value("exports", False, about(acme)))
    eventually(lambda: [each.metadata["account"] for each in told] == [acme])
    client.remove_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told.append)


def test_in_an_event_loop_an_account_is_waited_for_and_the_loop_is_not_held(
    client: OpenFeatureClient, api: Api, pro: str
) -> None:
    other = f"other-{pro}"
    paying(api, other)

    async def ask() -> tuple[Any, ...]:
        at_once = client.get_boolean_details("exports", False, about(pro))
        waited = await client.get_boolean_details_async("exports", False, about(other))
        return at_once.value, at_once.error_code, waited.value, waited.reason

    assert asyncio.run(ask()) == (False, ErrorCode.GENERAL, True, Reason.TARGETING_MATCH)


def test_what_is_tracked_is_counted(api: Api, client: OpenFeatureClient, sdk: Paygrade, acme: str) -> None:
    client.track("api_call", about(acme), TrackingEventDetails(attributes={"path": "/"}))
    client.track("api_call", about(None))
    assert sdk.flush()
    assert sdk.status().rejected == 0
    eventually(lambda: api.check(acme, "api_calls")["used"] == 1)


def test_it_is_stale_while_the_server_is_away_and_ready_when_it_is_back(restartable: Restartable) -> None:
    paying(restartable.api, "acme")
    with Paygrade(restartable.url, KEY, timeout_s=10) as sdk:
        client, told = client_of(PaygradeProvider(sdk)), list[str]()
        assert client.get_boolean_value("exports", False, about("acme")) is True
        for event in (ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_READY):
            client.add_handler(event, lambda _, event=event: told.append(event.value))  # type: ignore[misc]  # a default
        restartable.stop()
        eventually(lambda: client.get_provider_status().value == "STALE")
        found = client.get_boolean_details("exports", False, about("acme"))
        assert (found.value, found.flag_metadata["stale"]) == (True, True)
        unheard = client.get_boolean_details("exports", False, about("unheard"))
        assert (unheard.value, unheard.error_code) == (False, ErrorCode.GENERAL)
        restartable.start()
        eventually(lambda: client.get_provider_status().value == "READY")
        eventually(lambda: told[-2:] == ["PROVIDER_STALE", "PROVIDER_READY"])


def test_without_a_server_it_says_so_and_every_default_counts() -> None:
    with Paygrade("http://127.0.0.1:9", KEY, timeout_s=0.1) as sdk:
        domain = uuid.uuid4().hex
        openfeature.set_provider(PaygradeProvider(sdk, ready_s=0.1), domain)
        client = openfeature.get_client(domain)
        eventually(lambda: client.get_provider_status().value == "ERROR")
        found = client.get_boolean_details("exports", True, about("acme"))
        assert (found.value, found.error_code) == (True, ErrorCode.GENERAL)
