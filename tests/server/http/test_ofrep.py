"""OFREP: the stock OpenFeature provider is a client of a real server, and what it cannot see is asked for by hand."""

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, get_args

import jsonschema
import pytest
from openfeature import api as openfeature
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason as FlagReason

from paygrade.decisions.flags import REASONS
from paygrade.decisions.flags import FlagReason as ProtocolReason
from paygrade.entitlements.model import Reason
from paygrade.server.process.settings import Settings
from paygrade.simulator.http import serve as simulator
from support.databases import migrated_database
from support.server_process import KEY, Api, serving
from support.waiting import eventually

FLAGS = "/ofrep/v1/evaluate/flags"
PRO = {
    "version": 1,
    "status": "active",
    "items": [{"id": "main", "plan": "pro", "quantity": 3}],
    "anchor_at": "2026-01-31T00:00:00Z",
}


def client_of(url: str, key: str = KEY) -> OpenFeatureClient:
    domain = uuid.uuid4().hex
    provider = OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {key}"})
    openfeature.set_provider(provider, domain)
    return openfeature.get_client(domain)


def told(targeting_key: str | None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(targeting_key, attributes)


@pytest.fixture(scope="module")
def client(api: Api) -> OpenFeatureClient:
    return client_of(api.url)


@pytest.fixture
def pro(api: Api, acme: str) -> str:
    """An account with the plan `pro`."""
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json=PRO)
    return acme


def body(account: str, **attributes: Any) -> dict[str, Any]:
    return {"context": {"targetingKey": account, **attributes}}


def flags(api: Api, account: str, **attributes: Any) -> dict[str, Any]:
    """All flags of an account, by key."""
    return {flag["key"]: flag for flag in api.ok("POST", FLAGS, json=body(account, **attributes))["flags"]}


def etag(api: Api, account: str) -> str:
    return str(api.post(FLAGS, json=body(account)).headers["etag"])


# The stock provider


def test_a_boolean_feature_is_a_boolean_flag(client: OpenFeatureClient, acme: str, pro: str) -> None:
    found = client.get_boolean_details("exports", False, told(pro))
    assert (found.value, found.reason, found.variant) == (True, FlagReason.TARGETING_MATCH, "on")
    assert found.flag_metadata["reasonCode"] == "plan"
    assert found.flag_metadata["message"] == f"{pro} can use exports: pro@1 includes it"


def test_what_is_not_in_the_plan_is_off(client: OpenFeatureClient, acme: str) -> None:
    found = client.get_boolean_details("exports", True, told(acme))
    assert (found.value, found.reason, found.variant, found.error_code) == (False, FlagReason.DEFAULT, "off", None)
    assert found.flag_metadata["reasonCode"] == "not_in_plan"


def test_a_configured_feature_has_its_value_in_its_type(client: OpenFeatureClient, pro: str) -> None:
    assert client.get_integer_details("retention", 1, told(pro)).value == 90
    assert client.get_string_details("support", "none", told(pro)).value == "email"
    assert client.get_integer_details("retention", 1, told(pro)).variant == "90"


def test_a_metered_feature_says_whether_one_more_is_allowed(client: OpenFeatureClient, api: Api, acme: str) -> None:
    assert client.get_boolean_value("projects", False, told(acme)) is True
    assert client.get_integer_value("projects.remaining", -1, told(acme)) == 2
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "projects", "quantity": 2, "id": "u1"})
    found = client.get_boolean_details("projects", True, told(acme))
    assert found.value is False
    assert (found.flag_metadata["limit"], found.flag_metadata["used"], found.flag_metadata["remaining"]) == (2, 2, 0)
    assert found.flag_metadata["reasonCode"] == "limit_reached"
    for name, number in (("limit", 2), ("used", 2), ("remaining", 0)):
        assert client.get_integer_value(f"projects.{name}", -1, told(acme)) == number


def test_a_quota_tells_when_it_resets(client: OpenFeatureClient, acme: str) -> None:
    found = client.get_boolean_details("api_calls", False, told(acme))
    assert datetime.fromisoformat(str(found.flag_metadata["resets_at"])).tzinfo is not None


def test_units_are_asked_for_as_attributes(client: OpenFeatureClient, acme: str) -> None:
    assert client.get_boolean_value("projects", True, told(acme, quantity=3)) is False
    assert client.get_boolean_value("projects", False, told(acme, quantity=2)) is True
    assert client.get_boolean_value("projects", True, told(acme, quantities={"projects": 3})) is False


def test_the_account_may_be_an_attribute_where_the_user_is_the_key(
    client: OpenFeatureClient, api: Api, pro: str
) -> None:
    api.ok("PUT", f"/v1/accounts/{pro}/members/ann", json={"role": "admin"})
    asked = told("user_ann", account=pro, member="ann")
    assert client.get_boolean_value("billing_admin", False, asked) is True
    assert client.get_boolean_value("billing_admin", True, told("user_bo", account=pro, member="bo")) is False


def test_a_plan_change_is_seen(client: OpenFeatureClient, api: Api, acme: str) -> None:
    assert client.get_boolean_value("exports", True, told(acme)) is False
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json=PRO)
    assert client.get_boolean_value("exports", False, told(acme)) is True
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/main", json={**PRO, "version": 2, "status": "canceled"})
    assert client.get_boolean_value("exports", True, told(acme)) is False


def test_an_unknown_flag_is_the_clients_default(client: OpenFeatureClient, acme: str) -> None:
    for key in ("teleport", "exports.limit", "projects.owner", "teleport.limit"):
        found = client.get_boolean_details(key, True, told(acme))
        assert (found.value, found.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)


def test_without_an_account_there_is_no_answer(client: OpenFeatureClient) -> None:
    for context in (told(None), told(""), told(None, plan="pro")):
        found = client.get_boolean_details("exports", True, context)
        assert (found.value, found.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)


def test_an_odd_context_is_named_as_one(client: OpenFeatureClient, acme: str) -> None:
    for context in (told(acme, quantity=-1), told(acme, quantity="2"), told(acme, member=7), told("a" * 201)):
        found = client.get_boolean_details("exports", True, context)
        assert (found.value, found.error_code) == (True, ErrorCode.INVALID_CONTEXT)
        assert found.error_message


def test_with_another_key_the_client_has_its_default(api: Api, acme: str) -> None:
    found = client_of(api.url, key="sk_other").get_boolean_details("projects", False, told(acme))
    assert found.value is False
    assert found.error_code is not None


def test_a_client_goes_on_after_the_server_was_restarted(postgres_url: str) -> None:
    with migrated_database(postgres_url) as database_url:
        with serving(Settings(), database_url) as api:
            api.ok("PUT", "/v1/accounts/acme", json={})
            api.ok("PUT", "/v1/accounts/acme/subscriptions/main", json=PRO)
            client, before = client_of(api.url), etag(api, "acme")
            assert client.get_boolean_value("exports", False, told("acme")) is True
            port = int(api.url.rpartition(":")[2])
        away = client.get_boolean_details("exports", False, told("acme"))
        assert (away.value, away.error_code) == (False, ErrorCode.GENERAL)
        with serving(Settings(), database_url, port=port) as api:
            assert client.get_boolean_value("exports", False, told("acme")) is True
            again = api.post(FLAGS, json=body("acme"), headers={"If-None-Match": before})
            assert again.status_code == 304


@pytest.fixture(scope="module")
def timed(postgres_url: str) -> Iterator[tuple[Api, simulator.Running]]:
    """A server that lives by a clock that can be moved."""
    with (
        simulator.running(start=datetime.fromisoformat("2026-02-01T00:00:00Z")) as provider,
        migrated_database(postgres_url) as database_url,
        serving(Settings(clock_url=provider.url), database_url) as api,
    ):
        yield api, provider


def test_an_expiry_is_seen_on_the_instant_and_changes_the_etag(timed: tuple[Api, simulator.Running]) -> None:
    api, provider = timed
    now = datetime.fromisoformat("2026-02-01T00:00:00Z")
    client, account = client_of(api.url), "acme"
    api.ok("PUT", f"/v1/accounts/{account}", json={})
    ends_at = now + timedelta(days=3)
    override = {"value": True, "reason": "trial", "expires_at": ends_at.isoformat()}
    api.ok("PUT", f"/v1/accounts/{account}/overrides/exports", json=override)
    before = etag(api, account)
    assert client.get_boolean_value("exports", False, told(account)) is True
    move(api, provider, ends_at - timedelta(seconds=1))
    assert client.get_boolean_value("exports", False, told(account)) is True
    # The flags are the same; the address of their stream is another by now.
    before, same = etag(api, account), before.partition(".")[0]
    assert before.startswith(f"{same}.")
    assert api.post(FLAGS, json=body(account), headers={"If-None-Match": before}).status_code == 304
    move(api, provider, ends_at)
    assert client.get_boolean_value("exports", True, told(account)) is False
    after = api.post(FLAGS, json=body(account), headers={"If-None-Match": before})
    assert (after.status_code, after.headers["etag"] == before) == (200, False)


def move(api: Api, provider: simulator.Running, to: datetime) -> None:
    with Api(provider.url, key=None) as control:
        control.ok("POST", "/_simulator/clock", json={"to": to.isoformat()})
    eventually(lambda: datetime.fromisoformat(api.ok("GET", "/v1/sync/status")["clock"]) >= to)


# All flags at once


def test_every_feature_is_a_flag_and_every_count_of_one_too(api: Api, pro: str) -> None:
    found = flags(api, pro)
    assert found["exports"]["value"] is True
    assert found["audit_log"]["value"] is False
    assert (found["retention"]["value"], found["support"]["value"]) == (90, "email")
    assert (found["seats.limit"]["value"], found["seats.used"]["value"], found["seats.remaining"]["value"]) == (3, 0, 3)
    assert "exports.limit" not in found
    assert all(flag["variant"] and flag["metadata"]["reasonCode"] for flag in found.values())
    assert {flag["reason"] for flag in found.values()} <= set(get_args(ProtocolReason))


def test_what_it_says_is_as_documented(api: Api, pro: str) -> None:
    document = api.ok("GET", "/openapi.json")
    for path, sent in ((FLAGS, FLAGS), (f"{FLAGS}/{{key}}", f"{FLAGS}/exports")):
        schema = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(api.ok("POST", sent, json=body(pro)), {**schema, "components": document["components"]})


def test_one_and_all_answer_alike(api: Api, pro: str) -> None:
    for key, flag in flags(api, pro).items():
        assert api.ok("POST", f"{FLAGS}/{key}", json=body(pro)) == flag


def test_a_flag_is_what_check_decides(api: Api, pro: str) -> None:
    for key, flag in flags(api, pro).items():
        if "." in key:
            continue
        decision = api.check(pro, key)
        assert flag["metadata"]["allowed"] == decision["allowed"]
        assert flag["metadata"]["message"] == decision["message"]
        assert flag["metadata"]["reasonCode"] == decision["reason"]


def test_metadata_is_flat(api: Api, pro: str) -> None:
    for flag in flags(api, pro).values():
        assert all(isinstance(value, bool | int | str) for value in flag["metadata"].values())


def test_a_value_that_is_not_had_is_left_to_the_client(api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/blocks/fraud", json={})
    found = flags(api, acme)
    assert "value" not in found["retention"]
    assert (found["retention"]["variant"], found["retention"]["reason"]) == ("default", "DISABLED")
    assert "value" not in found["projects.limit"]
    assert found["projects"]["value"] is False


def test_an_unknown_account_has_nothing_and_is_no_failure(api: Api) -> None:
    found = flags(api, "nobody")
    assert {flag["metadata"]["reasonCode"] for flag in found.values()} == {"unknown_account"}
    assert {flag.get("value") for flag in found.values()} == {False, None}


def test_what_is_known_already_is_not_sent_again(api: Api, pro: str) -> None:
    first = api.post(FLAGS, json=body(pro))
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = api.post(FLAGS, json=body(pro), headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert api.post(FLAGS, json=body(pro), headers={"If-None-Match": '"other"'}).json() == first.json()


def test_whatever_changes_an_answer_changes_the_etag(api: Api, pro: str) -> None:
    seen = [etag(api, pro), etag(api, pro)]
    assert len(set(seen)) == 1
    api.ok("POST", "/v1/consume", json={"account": pro, "feature": "projects", "id": "u1"})
    seen.append(etag(api, pro))
    api.ok("PUT", f"/v1/accounts/{pro}/overrides/audit_log", json={"value": True, "reason": "goodwill"})
    seen.append(etag(api, pro))
    api.ok("PUT", f"/v1/accounts/{pro}/subscriptions/main", json={**PRO, "version": 2, "status": "canceled"})
    seen.append(etag(api, pro))
    assert len(set(seen)) == 4


def test_whoever_else_is_asked_for_is_never_told_that_nothing_has_changed(api: Api, pro: str) -> None:
    """The whole context decides, and not who is named in it alone: an ETag of one member says nothing of another."""
    api.ok("PUT", f"/v1/accounts/{pro}/members/ann", json={"role": "admin"})
    contexts = [body(pro), body(pro, member="ann"), body(pro, member="bo"), body(pro, quantity=10**9)]
    found = [api.post(FLAGS, json=context) for context in contexts]
    for one in found:
        for context, other in zip(contexts, found, strict=True):
            again = api.post(FLAGS, json=context, headers={"If-None-Match": one.headers["etag"]})
            is_same = one.json()["flags"] == other.json()["flags"]
            assert again.status_code == (304 if is_same else 200)
            assert is_same or again.json()["flags"] == other.json()["flags"]
    assert len({one.headers["etag"] for one in found}) >= 3


def test_accounts_do_not_share_an_etag(api: Api, pro: str) -> None:
    assert etag(api, "nobody") != etag(api, "somebody")


# The protocol's own words


def test_every_reason_is_one_of_the_protocols() -> None:
    assert set(REASONS) == set(get_args(Reason))


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"no json", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b"{}", "TARGETING_KEY_MISSING"),
        (b'{"context":{}}', "TARGETING_KEY_MISSING"),
        (b'{"context":null}', "TARGETING_KEY_MISSING"),
        (b'{"context":{"targetingKey":""}}', "TARGETING_KEY_MISSING"),
        (b'{"context":[]}', "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":7}}', "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"a\\u0000"}}', "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":"a","quantities":[1]}}', "INVALID_CONTEXT"),
    ],
)
@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/exports"])
def test_what_is_wrong_is_said_in_both_languages(api: Api, path: str, sent: bytes, code: str) -> None:
    problem = api.problem(400, "POST", path, content=sent)
    assert (problem["errorCode"], problem["errorDetails"]) == (code, problem["detail"])
    assert problem.get("key") == ("exports" if path.endswith("exports") else None)


def test_a_flag_that_is_not_there_is_a_404_with_its_key(api: Api, acme: str) -> None:
    problem = api.problem(404, "POST", f"{FLAGS}/teleport", json=body(acme))
    assert (problem["errorCode"], problem["key"], problem["code"]) == ("FLAG_NOT_FOUND", "teleport", "unknown_feature")


def test_a_stranger_is_refused_in_the_protocols_shape(api: Api) -> None:
    with Api(api.url, key=None) as stranger:
        problem = stranger.problem(401, "POST", f"{FLAGS}/exports", json=body("acme"))
        assert (problem["errorCode"], problem["key"]) == ("GENERAL", "exports")
        assert stranger.problem(401, "POST", FLAGS, json=body("acme"))["errorDetails"]


def test_the_key_may_come_in_the_protocols_own_header(api: Api, acme: str) -> None:
    with Api(api.url, key=None) as client:
        assert client.post(FLAGS, json=body(acme), headers={"X-API-Key": KEY}).is_success
        assert client.post(FLAGS, json=body(acme), headers={"X-API-Key": "sk_other"}).status_code == 401
        twice = [("X-API-Key", KEY), ("X-API-Key", KEY)]
        assert client.post(FLAGS, json=body(acme), headers=twice).status_code == 401
        assert client.get("/v1/accounts", headers={"X-API-Key": KEY}).status_code == 401


def test_pages_of_other_origins_may_ask(api: Api, acme: str) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    with Api(api.url, key=None) as browser:
        for path in (FLAGS, f"{FLAGS}/exports"):
            preflight = browser.request("OPTIONS", path, headers=asked)
            assert preflight.status_code == 204
            allowed = preflight.headers["access-control-allow-headers"].split(", ")
            assert {"authorization", "content-type", "if-none-match", "x-api-key"} <= set(allowed)
            assert preflight.headers["access-control-allow-origin"] == "*"
        refused = browser.post(FLAGS, json=body(acme))
        assert refused.headers["access-control-allow-origin"] == "*"
    answer = api.post(FLAGS, json=body(acme))
    exposed = "ETag, Paygrade-Version, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"
    assert answer.headers["access-control-expose-headers"] == exposed
    assert "access-control-allow-origin" not in api.get("/v1/accounts").headers
