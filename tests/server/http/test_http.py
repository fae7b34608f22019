"""The HTTP surface, on a real server with a real database."""

import re
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest

from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.server_process import SAMPLE, Api, serving

YAML = {"Content-Type": "application/yaml"}
DESIGNED = {
    ("post", "/v1/check"),
    ("get", "/v1/stream"),
    ("post", "/v1/snapshots"),
    ("get", "/v1/authorize"),
    ("post", "/v1/authorize"),
    ("post", "/ofrep/v1/evaluate/flags"),
    ("post", "/ofrep/v1/evaluate/flags/{key}"),
    ("get", "/ofrep/v1/stream"),
    ("get", "/v1/plans"),
    ("get", "/v1/accounts/{account}/summary"),
    ("post", "/v1/accounts/{account}/portal-sessions"),
    ("delete", "/v1/accounts/{account}/portal-sessions/{session}"),
    ("post", "/v1/accounts/{account}/tokens"),
    ("post", "/v1/tokens/rotate"),
    ("get", "/v1/updates"),
    ("get", "/v1/accounts/{account}/updates"),
    ("get", "/.well-known/jwks.json"),
    ("post", "/v1/accounts/{account}/refresh"),
    ("get", "/v1/accounts/{account}/decisions"),
    ("post", "/v1/accounts/{account}/explain"),
    ("get", "/v1/accounts/{account}/decision-log"),
    ("get", "/v1/accounts/{account}/decision-log/{decision}/replay"),
    ("get", "/v1/reports/entitlements"),
    ("get", "/v1/accounts"),
    ("put", "/v1/accounts/{account}"),
    ("get", "/v1/accounts/{account}"),
    ("delete", "/v1/accounts/{account}"),
    ("get", "/v1/accounts/{account}/entitlements"),
    ("get", "/v1/accounts/{account}/timeline"),
    ("get", "/v1/accounts/{account}/versions"),
    ("post", "/v1/accounts/{account}/rebuild"),
    ("put", "/v1/accounts/{account}/overrides/{feature}"),
    ("delete", "/v1/accounts/{account}/overrides/{feature}"),
    ("put", "/v1/accounts/{account}/blocks/{block}"),
    ("delete", "/v1/accounts/{account}/blocks/{block}"),
    ("get", "/v1/accounts/{account}/members"),
    ("put", "/v1/accounts/{account}/members"),
    ("put", "/v1/accounts/{account}/seats"),
    ("get", "/v1/accounts/{account}/contracts"),
    ("put", "/v1/accounts/{account}/contracts/{contract}"),
    ("delete", "/v1/accounts/{account}/contracts/{contract}"),
    ("put", "/v1/accounts/{account}/contracts/{contract}/invoices/{invoice}"),
    ("put", "/v1/accounts/{account}/billing/{source}"),
    ("get", "/v1/accounts/{account}/nodes"),
    ("put", "/v1/accounts/{account}/nodes"),
    ("put", "/v1/accounts/{account}/members/{member}"),
    ("delete", "/v1/accounts/{account}/members/{member}"),
    ("put", "/v1/accounts/{account}/subscriptions/{subscription}"),
    ("post", "/v1/consume"),
    ("post", "/v1/reservations"),
    ("post", "/v1/reservations/{reservation}/commit"),
    ("post", "/v1/reservations/{reservation}/release"),
    ("post", "/v1/reservations/{reservation}/extend"),
    ("post", "/v1/leases"),
    ("post", "/v1/leases/steps"),
    ("post", "/v1/accounts/{account}/grants"),
    ("delete", "/v1/accounts/{account}/grants/{feature}/{grant}"),
    ("get", "/v1/accounts/{account}/balances/{feature}"),
    ("get", "/v1/accounts/{account}/ledger/{feature}"),
    ("put", "/v1/accounts/{account}/usage/{feature}"),
    ("get", "/v1/accounts/{account}/alerts"),
    ("post", "/v1/accounts/{account}/plan-changes/quote"),
    ("get", "/v1/accounts/{account}/plan-changes/quotes/{quote}"),
    ("post", "/v1/accounts/{account}/plan-changes"),
    ("get", "/v1/accounts/{account}/plan-changes"),
    ("get", "/v1/accounts/{account}/plan-changes/{change}"),
    ("delete", "/v1/accounts/{account}/plan-changes/{change}"),
    ("post", "/v1/accounts/{account}/plan-changes/{change}/revert"),
    ("post", "/v1/events"),
    ("post", "/api/v1/events"),
    ("get", "/v1/accounts/{account}/usage"),
    ("put", "/v1/catalog"),
    ("post", "/v1/catalog/simulate"),
    ("get", "/v1/catalog"),
    ("get", "/v1/catalog/versions"),
    ("get", "/v1/catalog/versions/{version}"),
    ("get", "/v1/catalog/plans"),
    ("get", "/v1/catalog/plans/{plan}/accounts"),
    ("get", "/v1/catalog/plans/{plan}/ladder"),
    ("post", "/v1/catalog/migrations"),
    ("get", "/v1/catalog/migrations"),
    ("get", "/v1/catalog/migrations/{migration}"),
    ("get", "/v1/catalog/migrations/{migration}/accounts"),
    ("post", "/v1/catalog/migrations/{migration}/pause"),
    ("post", "/v1/catalog/migrations/{migration}/resume"),
    ("post", "/v1/catalog/migrations/{migration}/roll-back"),
    ("put", "/v1/accounts/{account}/versions/{plan}"),
    ("delete", "/v1/accounts/{account}/versions/{plan}"),
    ("post", "/webhooks/stripe"),
    ("get", "/v1/sync/status"),
    ("post", "/v1/sync/sweep"),
    ("get", "/v1/sync/sweeps/{sweep}"),
    ("get", "/v1/sync/drift"),
    ("get", "/v1/sync/events"),
    ("get", "/v1/accounts/{account}/usage/reports"),
    ("get", "/v1/usage/reports"),
    ("post", "/v1/usage/reconcile"),
    ("post", "/v1/accounts/{account}/checkout"),
    ("post", "/v1/accounts/{account}/top-ups/checkout"),
    ("post", "/v1/accounts/{account}/billing-portal"),
    ("get", "/v1/accounts/{account}/top-ups"),
    ("post", "/v1/accounts/{account}/top-ups/{top_up}/retry"),
    ("get", "/v1/keys"),
    ("post", "/v1/keys"),
    ("get", "/v1/keys/{api_key}"),
    ("post", "/v1/keys/{api_key}/rotate"),
    ("post", "/v1/keys/{api_key}/revoke"),
    ("post", "/v1/login"),
    ("post", "/v1/logout"),
    ("get", "/v1/login"),
    ("get", "/v1/login/oidc"),
    ("get", "/v1/login/oidc/callback"),
    ("get", "/v1/me"),
    ("post", "/v1/me/password"),
    ("get", "/v1/approvals"),
    ("get", "/v1/approvals/{approval}"),
    ("post", "/v1/approvals/{approval}/approve"),
    ("post", "/v1/approvals/{approval}/decline"),
    ("post", "/v1/approvals/{approval}/withdraw"),
    ("get", "/v1/people"),
    ("post", "/v1/people"),
    ("put", "/v1/people/{person}/role"),
    ("post", "/v1/people/{person}/reset"),
    ("delete", "/v1/people/{person}"),
    ("get", "/v1/audit"),
    ("get", "/v1/reports/revenue"),
    ("get", "/v1/reports/leakage"),
    ("get", "/v1/reports/credits"),
    ("get", "/v1/reports/usage"),
    ("get", "/v1/reports/mrr"),
    ("get", "/v1/audit/chains"),
    ("get", "/v1/audit/heads"),
    ("get", "/v1/accounts/{account}/audit"),
    ("get", "/v1/accounts/{account}/export"),
    ("post", "/v1/accounts/{account}/erase"),
    ("post", "/v1/webhook-endpoints"),
    ("get", "/v1/webhook-endpoints"),
    ("get", "/v1/webhook-endpoints/{endpoint}"),
    ("patch", "/v1/webhook-endpoints/{endpoint}"),
    ("delete", "/v1/webhook-endpoints/{endpoint}"),
    ("post", "/v1/webhook-endpoints/{endpoint}/rotate"),
    ("post", "/v1/webhook-endpoints/{endpoint}/test"),
    ("post", "/v1/webhook-endpoints/{endpoint}/replay"),
    ("get", "/v1/webhook-endpoints/{endpoint}/deliveries"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
}
# OpenAPI's own: https://spec.openapis.org/oas/3.1/schema/2022-10-07, as far as a generator can get it wrong.
OPERATION = {
    "type": "object",
    "required": ["operationId", "summary", "description", "tags", "responses", "security"],
    "properties": {
        "responses": {
            "type": "object",
            "minProperties": 2,
            "propertyNames": {"pattern": "^[1-5][0-9]{2}$"},
            "additionalProperties": {"type": "object", "required": ["description"]},
        },
        "parameters": {
            "type": "array",
            "items": {"type": "object", "required": ["name", "in", "schema"]},
        },
        "requestBody": {"type": "object", "required": ["content"]},
    },
}


def subscription(**more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "status": "active",
        "items": [{"id": "main", "plan": "pro", "quantity": 3}],
        "anchor_at": "2026-01-31T00:00:00Z",
        **more,
    }


def test_a_new_account_has_the_default_plan(api: Api, acme: str) -> None:
    decision = api.check(acme, "projects")
    assert (decision["allowed"], decision["reason"], decision["plan"]) == (True, "plan", "free@1")
    assert (decision["limit"], decision["remaining"]) == (2, 2)
    assert decision["as_of"].endswith("Z")


def test_an_unknown_account_is_a_decision_and_no_failure(api: Api) -> None:
    decision = api.check("nobody", "exports")
    assert (decision["allowed"], decision["reason"]) == (False, "unknown_account")


def test_an_unknown_feature_is_a_decision_and_no_failure(api: Api, acme: str) -> None:
    assert api.check(acme, "teleport")["reason"] == "unknown_feature"


def test_quantity_zero_asks_whether_it_is_had_at_all(api: Api, acme: str) -> None:
    assert api.check(acme, "seats", quantity=0)["allowed"]
    assert not api.check(acme, "seats", quantity=2)["allowed"]


@pytest.mark.parametrize("key", ["a/b", "ä ö", "100%", "..", "a+b", "a?b#c", "x" * 200, "日本", "%2F", "decisions"])
def test_an_account_key_may_be_anything_printable(api: Api, key: str) -> None:
    own = f"{key[:180]}-{uuid.uuid4().hex[:8]}"
    path = f"/v1/accounts/{quote(own, safe='')}"
    assert api.ok("PUT", path, json={})["account"] == own
    assert api.ok("GET", path)["account"] == own
    assert api.check(own, "seats")["account"] == own
    assert api.ok("GET", f"{path}/decisions")["account"] == own
    assert api.ok("PUT", f"{path}/overrides/exports", json={"value": True, "reason": "x"})["allowed"]


@pytest.mark.parametrize("key", ["x" * 201, "tab\t", "line\n", "nul\0", "\u200b"])
def test_an_account_key_that_cannot_be_printed_is_refused(api: Api, key: str) -> None:
    assert api.problem(400, "PUT", f"/v1/accounts/{quote(key)}", json={})["code"] == "invalid_key"
    told = api.problem(400, "POST", "/v1/check", json={"account": key, "feature": "seats"})
    assert told["code"] in ("invalid_key", "invalid_body")


def test_every_answer_words_a_decision_alike_and_says_whether_its_counts_are_exact(api: Api, acme: str) -> None:
    asked = {"account": acme, "feature": "api_calls", "quantity": 10**9}
    here = {"feature": "api_calls", "quantity": 10**9}
    checked = api.ok("POST", "/v1/check", json=asked)
    used = api.ok("POST", "/v1/consume", json={**asked, "id": "too_many"})["decision"]
    held = api.ok("POST", "/v1/reservations", json={**asked, "id": "held"})["decision"]
    explained = api.ok("POST", f"/v1/accounts/{acme}/explain", json=here)["decision"]
    every = api.ok("GET", f"/v1/accounts/{acme}/decisions")["decisions"]
    said = f"{acme} can't use {10**9} api_calls: 0 of 1000 are in use"
    assert [it["message"] for it in (checked, used, held, explained)] == [said] * 4
    assert [it["exact"] for it in (checked, used, held, explained)] == [False, True, True, True]
    assert (every["api_calls"]["exact"], every["retention"]["exact"]) == (False, True)
    assert every["retention"]["message"] == f"{acme} can use retention: free@1 includes it"


def test_a_path_that_is_not_utf_8_is_refused(api: Api) -> None:
    assert api.problem(400, "GET", "/v1/accounts/%ff")["code"] == "invalid_key"


def test_account_keys_are_case_sensitive(api: Api, acme: str) -> None:
    assert api.problem(404, "GET", f"/v1/accounts/{acme.upper()}")["code"] == "unknown_account"
    assert api.check(acme.upper(), "seats")["reason"] == "unknown_account"


def test_accounts_are_listed_a_page_at_a_time(api: Api) -> None:
    group = uuid.uuid4().hex
    keys = [f"page-{group}-{n}" for n in range(5)]
    for key in keys:
        api.ok("PUT", f"/v1/accounts/{key}", json={})
    found: list[str] = []
    query = {"search": f"page-{group}", "limit": "2"}
    while True:
        page = api.ok("GET", "/v1/accounts", params=query)
        found += [account["account"] for account in page["accounts"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert found == keys


def test_stating_an_account_replaces_what_was_said_before(api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}", json={"name": "Acme", "traits": {"region": "eu", "size": 3}})
    stated = api.ok("PUT", f"/v1/accounts/{acme}", json={"traits": {"size": 4}})
    assert (stated["name"], stated["traits"]) == ("", {"size": 4})


def test_only_the_provider_that_bills_here_can_be_linked(api: Api, acme: str) -> None:
    body = {"links": {"paypal": ["p"], "stripe": ["cus_1"]}}
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}", json=body)
    assert (told["code"], told["errors"][0]["pointer"]) == ("unknown_provider", "/links/paypal")
    assert api.ok("GET", f"/v1/accounts/{acme}")["links"] == {}


def test_a_deleted_account_is_unknown(api: Api, acme: str) -> None:
    assert api.delete(f"/v1/accounts/{acme}").status_code == 204
    assert api.problem(404, "GET", f"/v1/accounts/{acme}")["code"] == "unknown_account"
    assert api.check(acme, "seats")["reason"] == "unknown_account"


def test_an_override_takes_effect_at_once_and_can_be_withdrawn(api: Api, acme: str) -> None:
    path = f"/v1/accounts/{acme}/overrides/exports"
    assert not api.check(acme, "exports")["allowed"]
    assert api.ok("PUT", path, json={"value": True, "reason": "pilot"})["reason"] == "override"
    assert api.check(acme, "exports")["reason"] == "override"
    assert api.ok("DELETE", path)["reason"] == "not_in_plan"
    assert not api.check(acme, "exports")["allowed"]
    assert api.problem(404, "DELETE", path)["code"] == "unknown_override"


def test_an_override_ends_by_itself(api: Api, acme: str) -> None:
    body = {"value": True, "reason": "pilot", "expires_at": "2099-01-01T02:00:00+02:00"}
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json=body)
    assert api.check(acme, "exports", at="2098-12-31T23:59:59Z")["allowed"]
    assert not api.check(acme, "exports", at="2099-01-01T00:00:00Z")["allowed"]


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "nothing said"},
        {"value": True, "limit": 3, "reason": "two things said"},
        {"limit": -1, "reason": "less than nothing"},
        {"limit": 5, "reason": "a switch has no units"},
    ],
)
def test_an_unclear_override_is_refused(api: Api, acme: str, body: dict[str, Any]) -> None:
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}/overrides/exports", json=body)
    assert told["code"] == "invalid_override"


def test_an_override_says_its_feature_in_the_address_only(api: Api, acme: str) -> None:
    body = {"feature": "seats", "value": True}
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}/overrides/exports", json=body)
    assert [each["pointer"] for each in told["errors"]] == ["/feature"]


def test_a_block_suspends_everything_until_it_is_lifted(api: Api, acme: str) -> None:
    path = f"/v1/accounts/{acme}/blocks/fraud"
    assert [each["key"] for each in api.ok("PUT", path, json={"reason": "chargeback"})["blocks"]] == ["fraud"]
    assert {d["reason"] for d in api.ok("GET", f"/v1/accounts/{acme}/decisions")["decisions"].values()} == {"blocked"}
    assert api.ok("DELETE", path)["blocks"] == []
    assert api.check(acme, "seats")["allowed"]


def test_a_feature_with_roles_asks_for_the_member(api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/members/ann", json={"role": "owner", "seat": True})
    assert api.check(acme, "billing_admin")["reason"] == "role_not_permitted"
    assert api.check(acme, "billing_admin", member="ann")["allowed"]
    api.ok("DELETE", f"/v1/accounts/{acme}/members/ann")
    assert not api.check(acme, "billing_admin", member="ann")["allowed"]


def test_a_member_needs_a_role(api: Api, acme: str) -> None:
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}/members/ann", json={"role": None})
    assert told["errors"][0]["pointer"] == "/role"


def test_a_manual_subscription_counts_and_old_versions_do_not(api: Api, acme: str) -> None:
    path = f"/v1/accounts/{acme}/subscriptions/s1"
    api.ok("PUT", path, json=subscription(version=2))
    assert api.check(acme, "seats", quantity=3)["allowed"]
    api.ok("PUT", path, json=subscription(version=1, status="canceled"))
    assert api.check(acme, "exports")["allowed"]
    told = api.problem(409, "PUT", path, json=subscription(version=2, status="canceled"))
    assert told["code"] == "subscription_version_conflict"
    api.ok("PUT", path, json=subscription(version=3, status="canceled", ended_at="2026-02-01T00:00:00Z"))
    assert not api.check(acme, "exports")["allowed"]


def test_a_manual_subscription_may_say_what_it_will_become(api: Api, acme: str) -> None:
    path = f"/v1/accounts/{acme}/subscriptions/s1"
    later = {"from_at": "2026-06-01T00:00:00Z", "items": [{"id": "main", "plan": "free"}]}
    sooner = {**later, "from_at": "2026-05-01T00:00:00Z"}
    api.ok("PUT", path, json=subscription(version=1, next=[sooner, later]))
    for phases in ([later, sooner], [later, later], [{**later, "items": []}]):
        assert (
            api.problem(400, "PUT", path, json=subscription(version=2, next=phases))["code"] == "invalid_subscription"
        )
    told = api.problem(400, "PUT", path, json=subscription(version=2, next=[{"from_at": "June", "items": [{}]}]))
    assert [each["pointer"] for each in told["errors"]] == ["/next/0/from_at", "/next/0/items/0/id"]


@pytest.mark.parametrize("version", [None, -1, "1", True, 1.5])
def test_a_subscription_needs_a_version(api: Api, acme: str, version: object) -> None:
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}/subscriptions/s1", json=subscription(version=version))
    assert [each["pointer"] for each in told["errors"]] == ["/version"]


def test_an_account_that_pays_is_not_deleted(api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/s1", json=subscription())
    assert api.problem(409, "DELETE", f"/v1/accounts/{acme}")["code"] == "account_has_live_subscription"


def test_the_past_is_answered_with_what_was_known_then(api: Api, acme: str) -> None:
    before = api.check(acme, "exports")["as_of"]
    api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "pilot"})
    then = api.ok("POST", f"/v1/accounts/{acme}/explain", json={"feature": "exports", "at": before})
    now = api.ok("POST", f"/v1/accounts/{acme}/explain", json={"feature": "exports"})
    assert (then["decision"]["allowed"], now["decision"]["allowed"]) == (False, True)
    assert len(then["facts"]) < len(now["facts"])
    seen = api.ok("GET", f"/v1/accounts/{acme}/entitlements", params={"as_of": before})
    assert not seen["entitlements"]["exports"]["granted"]
    assert api.ok("GET", f"/v1/accounts/{acme}/entitlements")["entitlements"]["exports"]["granted"]


def test_the_timeline_tells_every_fact_the_newest_first(api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/blocks/fraud", json={"reason": "chargeback"})
    api.ok("DELETE", f"/v1/accounts/{acme}/blocks/fraud")
    page = api.ok("GET", f"/v1/accounts/{acme}/timeline", params={"limit": 2})
    assert [fact["subject"] for fact in page["facts"]] == ["block:fraud", "block:fraud"]
    assert [fact["body"].get("lifted", False) for fact in page["facts"]] == [True, False]
    rest = api.ok("GET", f"/v1/accounts/{acme}/timeline", params={"before": page["next"]})
    assert [fact["subject"] for fact in rest["facts"]] == ["profile"]


def test_the_timeline_tells_what_was_granted_taken_back_and_stated_a_page_at_a_time(api: Api, acme: str) -> None:
    where = f"/v1/accounts/{acme}"
    grant = {"feature": "api_calls", "units": 500, "id": "welcome", "reason": "promised"}
    api.ok("POST", f"{where}/grants", json=grant)
    api.ok("PUT", f"{where}/usage/api_calls", json={"used": 20, "id": "s_1"})
    api.ok("PUT", f"{where}/usage/api_calls", json={"used": 35, "id": "s_2"})
    api.ok("DELETE", f"{where}/grants/api_calls/welcome")
    told, before = [], None
    while True:
        page = api.ok("GET", f"{where}/timeline", params={"limit": 1, **({"before": before} if before else {})})
        told += [one["summary"] for one in (*page["facts"], *page["units"])]
        before = page["next"]
        if before is None:
            break
    assert told[:4] == [
        "took back 500 of `api_calls` from the grant `welcome`",
        "stated usage of `api_calls`: 20 → 35",
        "stated usage of `api_calls`: 0 → 20",
        "granted 500 of `api_calls` as `welcome` (promised)",
    ]
    whole = api.ok("GET", f"{where}/timeline")
    assert len(told) == len(set(told)) == len(whole["facts"]) + len(whole["units"])
    assert whole["next"] is None
    for odd in ("7", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z fact x", "x units y"):
        assert api.problem(400, "GET", f"{where}/timeline", params={"before": odd})["code"] == "invalid_query"


def test_sync_status_answers_without_a_provider(api: Api) -> None:
    told = api.ok("GET", "/v1/sync/status")
    assert (told["dirty"], told["failing"]) == (0, [])
    assert told["repair"] == {
        "subscriptions": 0,
        "sweep": None,
        "poll": None,
        "drift": {"open": 0, "found_within_a_day": 0},
    }
    assert api.problem(503, "POST", "/v1/sync/sweep")["code"] == "provider_not_configured"
    assert api.problem(404, "GET", "/v1/sync/sweeps/1")["code"] == "unknown_sweep"
    assert api.ok("GET", "/v1/sync/drift") == {"drift": [], "next": None}


def test_metrics_count_what_was_asked_and_name_no_account(api: Api, acme: str) -> None:
    api.check(acme, "seats")
    text = api.get("/metrics").text
    assert re.search(r'paygrade_decisions_total\{allowed="true",reason="plan"\} [1-9]', text)
    assert 'route="/v1/check",status="200"' in text
    assert acme not in text


def test_metrics_count_each_request_once_by_either_way(api: Api, acme: str) -> None:
    def counted() -> list[float]:
        text = api.get("/metrics").text
        names = (
            r'paygrade_http_requests_total\{method="POST",route="/v1/check",status="200"\}',
            r'paygrade_http_request_seconds_count\{route="/v1/check"\}',
            r'paygrade_http_request_seconds_bucket\{le="\+Inf",route="/v1/check"\}',
            r'paygrade_http_requests_total\{method="POST",route="/v1/consume",status="200"\}',
        )
        found = [re.search(rf"{name} (\S+)", text) for name in names]
        return [float(each[1]) if each else 0 for each in found]

    before = counted()
    for _ in range(3):
        api.check(acme, "seats")
    # An id of the sender's own goes the long way.
    api.ok("POST", "/v1/check", json={"account": acme, "feature": "seats"}, headers={"X-Request-Id": "mine"})
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "seats", "id": "u1"})
    assert [after - earlier for after, earlier in zip(counted(), before, strict=True)] == [4, 4, 4, 1]


def test_a_catalog_is_planned_and_pushed_only_as_planned(postgres_url: str, tmp_path: Path) -> None:
    first = SAMPLE.read_bytes()
    second = first.replace(b"retention: 90", b"retention: 180")
    with migrated_database(postgres_url) as url, serving(Settings(), url, catalog=False) as api:
        assert api.problem(404, "GET", "/v1/catalog")["code"] == "no_catalog"
        assert api.ok("PUT", "/v1/catalog", content=first, headers=YAML)["published"]
        assert not api.ok("PUT", "/v1/catalog", content=first, headers=YAML)["published"]
        planned = api.ok("PUT", "/v1/catalog?dry_run", content=second, headers=YAML)
        assert [change["pointer"] for change in planned["changes"]] != []
        assert len(api.ok("GET", "/v1/catalog/versions")["versions"]) == 1
        document = api.ok("GET", "/v1/catalog")["document"]
        third = {**document, "features": {**document["features"], "sso": {"kind": "boolean"}}}
        assert api.ok("PUT", "/v1/catalog", json=third)["version"] == 2
        told = api.problem(409, "PUT", "/v1/catalog", params={"plan": planned["plan_id"]}, content=second, headers=YAML)
        assert told["code"] == "catalog_plan_outdated"
        again = api.ok("PUT", "/v1/catalog?dry_run=true", content=second, headers=YAML)
        pushed = api.ok("PUT", "/v1/catalog", params={"plan": again["plan_id"]}, content=second, headers=YAML)
        assert (pushed["published"], pushed["version"]) == (True, 3)
        assert [each["version"] for each in api.ok("GET", "/v1/catalog/versions")["versions"]] == [3, 2, 1]


def test_every_mistake_of_a_catalog_is_named_with_its_line(api: Api) -> None:
    content = b"version: 1\nfeatures:\n  exports: { kind: booleam }\nplans:\n  pro: { colour: red }\n"
    told = api.problem(400, "PUT", "/v1/catalog", content=content, headers=YAML)
    assert told["code"] == "catalog_invalid"
    assert {3, 5} <= {each["line"] for each in told["errors"]}


def test_a_catalog_in_another_language_is_refused(api: Api) -> None:
    told = api.problem(415, "PUT", "/v1/catalog", content=b"<plans/>", headers={"Content-Type": "text/xml"})
    assert told["code"] == "unsupported_media_type"


def test_the_document_lists_every_designed_route(api: Api) -> None:
    paths = api.ok("GET", "/openapi.json")["paths"]
    listed = {(method, path) for path, operations in paths.items() for method in operations}
    assert listed >= DESIGNED
    assert listed - DESIGNED == {("get", "/problems/{code}")}


def test_the_document_is_openapi_3_1(api: Api) -> None:
    document = api.ok("GET", "/openapi.json")
    assert document["openapi"] == "3.1.0"
    operations = [operation for each in document["paths"].values() for operation in each.values()]
    for operation in operations:
        jsonschema.validate(operation, OPERATION)
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for path, each in document["paths"].items():
        for operation in each.values():
            named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(re.findall(r'"\$ref":\s?"#/components/schemas/(\w+)"', api.get("/openapi.json").text))
    assert references <= set(document["components"]["schemas"])


def test_the_document_s_examples_fit_its_schemas(api: Api) -> None:
    document = api.ok("GET", "/openapi.json")
    checked = 0
    for each in document["paths"].values():
        for operation in each.values():
            holders = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (content for holder in holders for content in holder.get("content", {}).values()):
                examples = [content["example"]] if "example" in content else []
                examples += [example["value"] for example in content.get("examples", {}).values()]
                schema = {**content["schema"], "components": document["components"]}
                for example in examples:
                    jsonschema.validate(example, schema)
                    checked += 1
    assert checked > 100


def test_every_example_body_is_taken_and_answered_with_what_the_document_names(api: Api, acme: str) -> None:
    document = closed(api.ok("GET", "/openapi.json"))
    told = document["paths"]
    names = {"account": acme, "feature": "api_calls", "block": "b", "member": "m", "subscription": "s", "plan": "pro"}
    names |= {"contract": "c", "invoice": "i", "source": "recurly"}
    api.ok("PUT", f"/v1/accounts/{acme}/subscriptions/first", json=subscription())
    # A block holds everything back, and of two subscriptions a change must name one: they come late, an erasure last.
    late = ("/erase", "/blocks/", "/contracts/", "/billing/")
    for path, operations in sorted(told.items(), key=lambda pair: [word in pair[0] for word in late]):
        if path.endswith(("/checkout", "/billing-portal")):
            continue  # where there is a provider: test_checkouts.py
        for method in ("put", "post"):
            if path.startswith("/v1/accounts/") and "requestBody" in operations.get(method, {}):
                example = operations[method]["requestBody"]["content"]["application/json"]["example"]
                if "quote_id" in example:
                    made = api.ok(
                        "POST",
                        f"/v1/accounts/{acme}/plan-changes/quote",
                        json={"plan": "business", "interval": "yearly"},
                    )
                    example = {"quote_id": made["id"]}
                if "confirm" in example:
                    example = {**example, "confirm": acme}
                answer = api.ok(method.upper(), path.format(**names), json=example)
                check_answer(document, operations[method], answer)
    for path, operations in told.items():
        # What is asked by headers is looked at where they are sent, in the tests of the gateway.
        if any(each["in"] == "header" for each in operations.get("get", {}).get("parameters", [])):
            continue
        if path == "/v1/stream" or path.startswith("/v1/login/oidc"):
            continue  # no JSON; events, and where browsers are sent, are looked at in tests of their own
        if "get" in operations and path.startswith("/v1/") and set(re.findall(r"{(\w+)}", path)) <= set(names):
            check_answer(document, operations["get"], api.ok("GET", path.format(**names)))
    (change, *_) = api.ok("GET", f"/v1/accounts/{acme}/plan-changes")["changes"]
    found = api.ok("GET", f"/v1/accounts/{acme}/plan-changes/{change['id']}")
    check_answer(document, told["/v1/accounts/{account}/plan-changes/{change}"]["get"], found)


def closed(part: Any) -> Any:
    """A document of which every object has the properties that are named, and no others."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        **({"additionalProperties": False} if "properties" in part else {}),
        **{k: closed(v) for k, v in part.items()},
    }


def check_answer(document: Any, operation: Any, answer: Any) -> None:
    # What has to wait for a second person is answered otherwise, in tests of its own.
    content, *_ = [its["content"] for status, its in operation["responses"].items() if status < "300"]
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    jsonschema.validate(answer, schema)
