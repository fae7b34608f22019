"""ETags: an answer that is known already is not sent again, and an account that has changed is not written over."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paygrade.server.http.conditional import names, strong_tag, tag_of
from support.openapi import plain_address
from support.server_process import Api

STATUS = "/v1/sync/status"


def test_every_document_that_is_asked_for_again_is_not_sent_again(api: Api, acme: str) -> None:
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 1, "id": "c1"})
    tried = set()
    for path, methods in api.ok("GET", "/openapi.json")["paths"].items():
        answers = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        if "application/json" not in answers or path in ("/v1/stream", "/ofrep/v1/stream"):
            continue
        first = api.get(plain_address(path, acme))
        if first.status_code != 200 or not first.headers["content-type"].startswith("application/json"):
            continue
        again = api.get(plain_address(path, acme), headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b""), path
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        tried.add(path)
    assert {"/v1/accounts/{account}", "/v1/catalog", "/v1/accounts", "/openapi.json"} <= tried
    assert {"/v1/accounts/{account}/decisions", "/v1/accounts/{account}/entitlements"} <= tried
    assert {"/v1/accounts/{account}/balances/{feature}", "/v1/accounts/{account}/usage"} & tried


def test_what_has_changed_is_sent_with_another_tag(api: Api, acme: str) -> None:
    for path in (f"/v1/accounts/{acme}", f"/v1/accounts/{acme}/decisions", f"/v1/accounts/{acme}/entitlements"):
        before = api.get(path)
        api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": path})
        after = api.get(path, headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert after.headers["etag"] != before.headers["etag"]
        api.ok("DELETE", f"/v1/accounts/{acme}/overrides/exports")


def test_an_account_is_not_written_over_that_has_changed_since(api: Api, acme: str) -> None:
    path = f"/v1/accounts/{acme}"
    tag = api.get(path).headers["etag"]
    assert not tag.startswith("W/")
    api.ok("PUT", path, json={"name": "One"}, headers={"If-Match": tag})
    told = api.problem(412, "PUT", path, json={"name": "Two"}, headers={"If-Match": tag})
    assert told["code"] == "precondition_failed"
    assert api.ok("GET", path)["name"] == "One"
    api.ok("PUT", path, json={"name": "Two"}, headers={"If-Match": "*"})
    api.ok("PUT", path, json={"name": "Three"})
    nobody = f"/v1/accounts/nobody-{uuid.uuid4().hex[:8]}"
    for wanted in ("*", tag):
        api.problem(412, "PUT", nobody, json={}, headers={"If-Match": wanted})
    assert api.get(nobody).status_code == 404


@pytest.mark.parametrize("odd", ["", "x", '"', 'W/"', "W/", '"a" "b"', '"ä"', "a" * 5000, ",,,", '"*"'])
def test_an_odd_tag_is_none_that_is_known(api: Api, acme: str, odd: str) -> None:
    shown = odd.encode("latin-1")
    assert api.get(f"/v1/accounts/{acme}", headers={b"If-None-Match": shown}).status_code == 200
    assert api.put(f"/v1/accounts/{acme}", json={}, headers={b"If-Match": shown}).status_code == 412


def test_a_tag_is_weak_where_an_answer_says_when_it_was_made() -> None:
    def body(said: Any) -> bytes:
        import msgspec

        return msgspec.json.encode(said)

    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    one, two = (tag_of(body({"as_of": at + timedelta(hours=n), "left": 1})) for n in range(2))
    assert one == two
    assert one.startswith("W/")
    assert tag_of(body({"as_of": at, "left": 2})) != one
    assert tag_of(body({"left": 1})) == strong_tag(body({"left": 1}))
    assert tag_of(body([{"as_of": at}])).startswith('"')
    assert names([one], two, weakly=True)
    assert not names([one], two, weakly=False)
