"""What one request may ask, and what is said to it, has a bound."""

import gzip
import json
from typing import Any

import pytest

from paygrade.values.errors import MISTAKES_MAX
from support.server_process import Api

PHASES = [{"from_at": "2026-02-01T00:00:00Z", "items": []}]


def subscription(**more: Any) -> dict[str, Any]:
    return {"version": 1, "status": "active", "items": [{"id": "i", "plan": "pro"}],
            "anchor_at": "2026-01-01T00:00:00Z", **more}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/check"), ("POST", "/v1/consume"), ("PUT", "/v1/accounts/{acme}")]
)
def test_of_many_mistakes_the_first_are_named(api: Api, acme: str, method: str, path: str) -> None:
    body = {f"field_{number}": 1 for number in range(80_000)}
    told = api.problem(400, method, path.format(acme=acme), json=body)
    assert len(told["errors"]) == MISTAKES_MAX
    assert f"at least {MISTAKES_MAX - 1} more" in told["detail"]
    assert len(json.dumps(told)) < 50_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"links": {"stripe": [f"cus_{number}" for number in range(101)]}}),
        ("", {"traits": {f"trait_{number}": 1 for number in range(101)}}),
        ("", {"links": {f"provider_{number}": [] for number in range(101)}}),
        ("/subscriptions/s", subscription(items=[{"id": f"i{number}", "plan": "pro"} for number in range(5_000)])),
        ("/subscriptions/s", subscription(next=PHASES * 101)),
    ],
)
def test_what_holds_too_much_is_refused_in_one_line(api: Api, acme: str, path: str, body: dict[str, Any]) -> None:
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}{path}", json=body)
    assert ["send at most 100" in mistake["message"] for mistake in told["errors"]] == [True]


def test_a_body_of_very_many_values_is_not_even_read(api: Api, acme: str) -> None:
    items = [{"id": f"i{number}", "plan": "pro"} for number in range(50_000)]
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}/subscriptions/s", json=subscription(items=items))
    assert "send less at once" in told["detail"]


def test_a_long_name_is_not_sent_back(api: Api) -> None:
    told = api.problem(400, "POST", "/v1/check", json={"x" * 1_000_000: 1})
    assert len(json.dumps(told)) < 2000


@pytest.mark.parametrize("body", [{"name": "x" * 2001}, {"traits": {"x" * 2001: 1}}, {"traits": {"a": "x" * 2001}}])
def test_a_long_text_is_the_mistake_of_whoever_sends_it(api: Api, acme: str, body: dict[str, Any]) -> None:
    told = api.problem(400, "PUT", f"/v1/accounts/{acme}", json=body)
    assert "longer than 2000 characters" in told["errors"][0]["message"]


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**63, 2**64, 10**30])
def test_an_integer_that_json_readers_would_change_is_a_mistake(api: Api, acme: str, number: int) -> None:
    api.problem(400, "PUT", f"/v1/accounts/{acme}", json={"traits": {"a": number}})
    api.problem(400, "PUT", f"/v1/accounts/{acme}/overrides/seats", json={"limit": number})


@pytest.mark.parametrize("link", ["sub_1", "cus_", "cus_1/..", "cus_\u00e4", "", "cus_" + "x" * 20_000, "cus_1\n", 3])
def test_a_link_looks_like_a_customer_of_the_provider(api: Api, acme: str, link: object) -> None:
    api.problem(400, "PUT", f"/v1/accounts/{acme}", json={"links": {"stripe": [link]}})


@pytest.mark.parametrize("instant", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "3000-01-01T00:00:00Z",
                                     "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59"])  # fmt: skip
def test_an_instant_lies_in_years_that_have_windows_around_them(api: Api, acme: str, instant: str) -> None:
    api.problem(400, "POST", "/v1/check", json={"account": acme, "feature": "api_calls", "at": instant})
    api.problem(400, "GET", f"/v1/accounts/{acme}/entitlements", params={"as_of": instant})
    api.problem(400, "PUT", f"/v1/accounts/{acme}/overrides/seats", json={"limit": 1, "expires_at": instant})


def test_a_file_of_several_gzip_members_is_read_to_its_end(api: Api, acme: str) -> None:
    event = json.dumps([{"id": "packed", "account": acme, "feature": "api_calls"}]).encode()
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    packed = gzip.compress(event[:10]) + gzip.compress(event[10:])
    assert api.ok("POST", "/v1/events", content=packed, headers=headers)["accepted"] == 1
    for behind in (b"more", gzip.compress(b"more")[:-3]):
        told = api.problem(400, "POST", "/v1/events", content=packed + behind, headers=headers)
        assert told["code"] == "malformed_json"


def test_a_file_of_very_many_gzip_members_is_not_unpacked(api: Api) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    told = api.problem(400, "POST", "/v1/events", content=gzip.compress(b"") * 150_000, headers=headers)
    assert "gzip members" in told["detail"]
