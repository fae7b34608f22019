"""Every failure is a problem with a stable code."""

import re
from pathlib import Path

import pytest

from paygrade.server.http.problems import KINDS
from support.server_process import Api

SOURCES = Path(__file__).parents[3] / "src" / "paygrade"
# What is raised here never meets a caller over HTTP, but ends a command or waits in a subject's row.
NOT_OVER_HTTP = re.compile(
    r"(embedded|migration|pooler|provider|settings|server|simulator|database_newer|file_exists|unusable_snapshot_file|"
    r"account_changed|answer_too_long|audit_stream_failed|audit_unreadable|confirmation|mcp|name_not_resolved|nats|not_in_catalog|"
    r"consumer_unfit|dead_letter|stream_not_created|unknown_stream)"
)


def raised_codes() -> set[str]:
    texts = [path.read_text() for path in SOURCES.rglob("*.py") if "simulator" not in path.parts]
    return {code for text in texts for code in re.findall(r'(?:Refused|Unavailable)\(\s*"(\w+)"', text)}


def test_every_code_that_can_be_raised_has_a_status() -> None:
    unknown = {code for code in raised_codes() - set(KINDS) if not NOT_OVER_HTTP.match(code.removeprefix("invalid_"))}
    assert unknown == set()


def test_a_problem_explains_its_own_type(api: Api) -> None:
    told = api.problem(404, "GET", "/v1/accounts/nobody")
    assert told["code"] == "unknown_account"
    assert api.ok("GET", told["type"])["code"] == "unknown_account"


def test_an_unknown_address_is_a_problem(api: Api) -> None:
    assert api.problem(404, "GET", "/v2/check")["code"] == "not_found"
    assert api.problem(404, "GET", "/problems/no_such")["code"] == "not_found"


def test_a_wrong_method_is_a_problem_that_names_the_right_ones(api: Api) -> None:
    assert api.problem(405, "DELETE", "/v1/check")["code"] == "method_not_allowed"
    assert "POST" in api.delete("/v1/check").headers["allow"]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b'{"a": 1e999}', b'{"account": "\xed\xa0\x80"}', b"[" * 100_000]
)
def test_malformed_json_is_a_problem(api: Api, content: bytes) -> None:
    assert api.problem(400, "POST", "/v1/check", content=content)["code"] == "malformed_json"


@pytest.mark.parametrize("content", [b"[]", b"null", b'"text"', b"3"])
def test_a_body_that_is_no_object_is_a_problem(api: Api, content: bytes) -> None:
    assert api.problem(400, "POST", "/v1/check", content=content)["code"] == "invalid_body"


def test_all_mistakes_of_a_body_are_named_at_once_with_pointers(api: Api) -> None:
    body = {"acount": "acme", "feature": 3, "quantity": -1, "at": "2026-01-01T00:00:00"}
    told = api.problem(400, "POST", "/v1/check", json=body)
    named = {each["pointer"]: each["message"] for each in told["errors"]}
    assert set(named) == {"/account", "/acount", "/feature", "/quantity", "/at"}
    assert "did you mean `account`?" in named["/acount"]
    assert "offset" in named["/at"]


def test_mistakes_deep_in_a_body_have_their_pointer(api: Api, acme: str) -> None:
    body = {"version": 1, "status": "active", "anchor_at": "2026-01-01T00:00:00Z",
            "items": [{"id": "a"}, {"id": "b", "plan": "pro", "qty": 2, "quantity": "2"}]}  # fmt: skip
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}/subscriptions/s", json=body)
    assert {each["pointer"] for each in told["errors"]} == {"/items/1/qty", "/items/1/quantity"}


@pytest.mark.parametrize("quantity", [-1, 1.5, "1", True, None, 2**53, 10**400])
def test_a_quantity_is_a_whole_number_from_zero(api: Api, quantity: object) -> None:
    told = api.problem(400, "POST", "/v1/check", json={"account": "a", "feature": "b", "quantity": quantity})
    assert [each["pointer"] for each in told["errors"]] == ["/quantity"]


def test_a_nul_in_a_text_is_a_mistake_and_no_failure(api: Api, acme: str) -> None:
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}", json={"name": "a\0b", "traits": {"x\0": 1, "y": "\0"}})
    assert {each["pointer"] for each in told["errors"]} == {"/name", "/traits/x\0", "/traits/y"}


def test_a_large_body_is_refused(api: Api) -> None:
    assert api.problem(413, "POST", "/v1/check", content=b" " * (5 << 20))["code"] == "body_too_large"


def test_a_bad_query_names_its_parameter(api: Api) -> None:
    told = api.problem(400, "GET", "/v1/accounts?limit=0")
    assert told["code"] == "invalid_query"
    assert "`limit`" in told["detail"]
    told = api.problem(400, "GET", "/v1/accounts/x/entitlements?as_of=2026-01-01T00:00:00+01:00")
    assert "%2B" in told["detail"]


def test_a_request_id_sent_along_comes_back(api: Api) -> None:
    answer = api.get("/v1/accounts/nobody", headers={"X-Request-Id": "trace-7"})
    assert (answer.headers["x-request-id"], answer.json()["instance"]) == ("trace-7", "trace-7")


def test_a_request_id_that_is_none_is_replaced(api: Api) -> None:
    answer = api.get("/healthz", headers={"X-Request-Id": "spoofed line\tlog"})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
