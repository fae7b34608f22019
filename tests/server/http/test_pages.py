"""Every list has pages: each row is on one of them, and a place that is none is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paygrade.server.operations.paging import cut, read_place
from paygrade.values.errors import Refused
from paygrade.values.text import PAGE_MAX
from support.server_process import Api

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
WHOLE = {
    "/v1/catalog/plans",
    "/v1/accounts/{account}/members",
    "/v1/accounts/{account}/decisions",
    "/v1/accounts/{account}/usage",
    "/v1/accounts/{account}/entitlements",
}
"""What has lists in it that belong to one document: what one account has, and what one catalog sells."""


def walk(api: Api, path: str, rows: str, place: str, **query: Any) -> list[Any]:
    """All rows of a list, three at a time."""
    found: list[Any] = []
    following: Any = None
    for _ in range(50):
        page = api.ok("GET", path, params={**query, "limit": 3, **({place: following} if following else {})})
        found += page[rows]
        following = page["next"]
        assert len(page[rows]) == 3 or following is None
        if following is None:
            return found
    raise AssertionError("it has no end")


BY_ACCOUNTS = {f"/v1/reports/{name}" for name in ("entitlements", "leakage", "mrr", "revenue", "usage")}
"""Whose pages hold so many accounts, each with many rows."""


def test_every_list_has_a_bounded_page_and_a_place_to_go_on_from(api: Api) -> None:
    document = api.ok("GET", "/openapi.json")
    tried = set()
    for path, methods in document["paths"].items():
        schema = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
        name = (schema or {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        fields = document["components"]["schemas"].get(name, {}).get("properties", {})
        if not any(field.get("type") == "array" for field in fields.values()) or "next" not in fields:
            assert (schema or {}).get("schema", {}).get("type") != "array", f"{path} has no pages"
            continue
        tried.add(path)
        asked = {each["name"]: each["schema"] for each in methods["get"]["parameters"] if each["in"] == "query"}
        assert asked["limit"]["maximum"] == (100 if path in BY_ACCOUNTS else PAGE_MAX), path
        assert {"before", "after"} & set(asked), path
    assert len(tried) >= 12


def test_each_alert_is_on_one_page(api: Api, acme: str) -> None:
    for feature, quantity in (("api_calls", 1000), ("projects", 2)):
        asked = {"account": acme, "feature": feature, "quantity": quantity, "id": feature}
        assert api.ok("POST", "/v1/consume", json=asked)["consumed"]
    one_by_one = []
    following: dict[str, str] = {}
    while True:
        page = api.ok("GET", f"/v1/accounts/{acme}/alerts", params={"limit": 1, **following})
        one_by_one += page["alerts"]
        if page["next"] is None:
            break
        following = {"after": page["next"]}
    assert one_by_one == api.ok("GET", f"/v1/accounts/{acme}/alerts")["alerts"]
    assert len(one_by_one) > 1
    of_one = walk(api, f"/v1/accounts/{acme}/alerts", "alerts", "after", feature="projects")
    assert of_one == [alert for alert in one_by_one if alert["pool"] == "projects"] != []


def test_a_list_that_is_asked_for_one_state_has_no_other_and_names_those_there_are(api: Api, acme: str) -> None:
    for path in ("plan-changes", "top-ups"):
        api.ok("GET", f"/v1/accounts/{acme}/{path}", params={"state": "failed"})
        said = api.problem(400, "GET", f"/v1/accounts/{acme}/{path}", params={"state": "odd"})
        assert "`asked`" in said["detail"]


def test_each_version_of_the_catalog_is_on_one_page(api: Api) -> None:
    document = api.ok("GET", "/v1/catalog")["document"]
    for number in range(4):
        document["plans"]["free"]["entitlements"]["projects"] = number + 3
        api.ok("PUT", "/v1/catalog", json=document)
    versions = [each["version"] for each in walk(api, "/v1/catalog/versions", "versions", "before")]
    assert versions == list(range(max(versions), 0, -1))


@pytest.mark.parametrize("path", ["plan-changes", "top-ups", "usage/reports", "alerts"])
@pytest.mark.parametrize(
    "odd", ["x", "bm9uZQ", "W10", "WyIyMDI2IiwgIngiXQ", "====", "ä", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsIlx1MDAwMCJd"]
)
def test_a_place_that_is_none_is_refused(api: Api, acme: str, path: str, odd: str) -> None:
    name = "after" if path == "alerts" else "before"
    told = api.problem(400, "GET", f"/v1/accounts/{acme}/{path}", params={name: odd})
    assert told["code"] == "invalid_query"
    assert name in told["detail"]


def test_pages_of_any_size_come_to_the_whole_list() -> None:
    rows = [(START - timedelta(hours=n // 3), f"id {n % 3}") for n in range(20)]
    rows.sort(reverse=True)
    for limit in range(1, 22):
        found: list[tuple[datetime, str]] = []
        text: str | None = None
        while True:
            place = read_place(text, tuple[datetime, str], name="before")
            rest = [row for row in rows if place is None or row < place]
            page, text = cut(rest[: limit + 1], limit, lambda row: row)
            found += page
            if text is None:
                break
        assert found == rows


def test_a_nul_in_a_place_is_refused() -> None:
    _, text = cut([("a\0", "b"), ("c", "d")], 1, lambda row: row)
    with pytest.raises(Refused, match="`after` must be the `next`"):
        read_place(text, tuple[str, str], name="after")
