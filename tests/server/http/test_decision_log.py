"""Denials of every way of asking are logged behind the answers, and asked again."""

from collections.abc import Iterator

import pytest

from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.server_process import Api, serving
from support.waiting import eventually


@pytest.fixture(scope="module")
def api(postgres_url: str) -> Iterator[Api]:
    with migrated_database(postgres_url) as url, serving(Settings(decision_log="denials"), url) as found:
        yield found


def test_a_denial_is_logged_whichever_way_it_was_asked_for(api: Api) -> None:
    api.ok("PUT", "/v1/accounts/acme", json={})
    asked = {"account": "acme", "feature": "exports", "member": "ann"}
    body = {"headers": {"X-Request-Id": "one"}}
    api.ok("POST", "/v1/check", json=asked)
    api.ok("POST", "/v1/check", json=asked, **body)
    api.ok("POST", "/v1/check", json={**asked, "at": "2026-01-01T00:00:00Z"})
    api.ok("POST", "/v1/check", json={**asked, "feature": "seats"})
    used = {"account": "acme", "feature": "api_calls", "quantity": 10**9, "id": "u1"}
    for _ in range(2):
        api.ok("POST", "/v1/consume", json=used)
    api.ok("POST", "/v1/reservations", json={**used, "id": "r1"})
    api.ok("POST", "/ofrep/v1/evaluate/flags/exports", json={"context": {"targetingKey": "acme"}})
    api.get("/v1/authorize", headers={"X-Paygrade-Account": "acme", "X-Paygrade-Feature": "exports"})

    def logged() -> list[dict[str, str]]:
        found: list[dict[str, str]] = api.ok("GET", "/v1/accounts/acme/decision-log")["decisions"]
        return found if len(found) >= 7 else []

    nodes = [{"node": "team-a", "limits": [{"feature": "api_calls", "units": 3}]}, {"node": "team-a/jane"}]
    api.ok("PUT", "/v1/accounts/acme/nodes", json=nodes)
    at_a_node = {"account": "acme", "feature": "api_calls", "quantity": 4, "node": "team-a/jane"}
    assert api.ok("POST", "/v1/check", json=at_a_node)["limited_by"] == "node team-a"

    found = eventually(logged)
    assert sorted((one["via"], one["feature"]) for one in found) == [
        ("authorize", "exports"),
        ("check", "api_calls"),
        ("check", "exports"),
        ("check", "exports"),
        ("consume", "api_calls"),
        ("ofrep", "exports"),
        ("reserve", "api_calls"),
    ]
    for one in found:
        again = api.ok("GET", f"/v1/accounts/acme/decision-log/{one['id']}/replay")
        assert again["decision"] == one
        assert again["differs_believed"] == again["differs_true"] == []
    assert 'paygrade_logged_decisions_total{outcome="saved"} 7.0' in api.get("/metrics").text
    assert api.problem(404, "GET", "/v1/accounts/acme/decision-log/none/replay")["code"] == "unknown_decision"
