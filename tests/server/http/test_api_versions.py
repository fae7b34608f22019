"""Versions of the API: whoever pins one keeps what it has, however much is added.

`versions/<date>.txt` holds the wire of each, a line for each thing a client may rest on; an older one only what is
otherwise there. `UPDATE_WIRE=1` adds to the newest one what is new; nothing is ever taken out.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from paygrade.server.http.version import CURRENT, HEADER, VERSIONS
from support.server_process import Api
from support.wire import broken, lines

FOLDER = Path(__file__).parent / "versions"
(PREVIOUS,) = VERSIONS[:-1]
OTHERWISE = ("GET /v1/catalog/versions ",)
"""What was otherwise in the previous version."""


def document(api: Api, version: str) -> Any:
    return api.ok("GET", "/openapi.json", headers={HEADER: version})


def held(version: str) -> set[str]:
    return set((FOLDER / f"{version}.txt").read_text(encoding="utf-8").splitlines())


def test_nothing_of_the_newest_version_is_gone_or_otherwise(api: Api) -> None:
    now = lines(document(api, CURRENT))
    if os.environ.get("UPDATE_WIRE"):
        assert not broken(held(CURRENT), now)
        (FOLDER / f"{CURRENT}.txt").write_text("\n".join(sorted(held(CURRENT) | now)) + "\n", encoding="utf-8")
    assert broken(held(CURRENT), now) == [], "this breaks who uses the API: make it a new version (ADR 26)"


def test_nothing_of_the_previous_version_is_gone_or_otherwise(api: Api) -> None:
    then = {line for line in held(CURRENT) if not line.startswith(OTHERWISE)} | held(PREVIOUS)
    told = document(api, PREVIOUS)
    assert told["info"]["x-api-version"] == PREVIOUS
    # What only newer answers are made of need not be known to it.
    gone = [line for line in broken(then, lines(told)) if not line.startswith("CatalogVersions ")]
    assert gone == []


def test_each_version_s_wire_is_watched_for_what_goes_and_what_becomes_needed(api: Api) -> None:
    before = lines(document(api, CURRENT))
    assert broken(before, before | {"GET /v1/new ~ answers 200", "needs GET /v1/new ~ query a"}) == []
    assert broken(before, before - {"AccountView ~ name string"}) == ["AccountView ~ name string"]
    fewer = {'Told ~ kind one of ["a", "b"]', 'Told ~ kinds [one of ["a", "b"]]'}
    assert broken(fewer, {"Told ~ kind enum", 'Told ~ kinds [one of ["a", "b", "c"]]'}) == []
    assert broken(fewer, {'Told ~ kind one of ["a", "c"]', "Told ~ kinds [string]"}) == sorted(fewer)
    needed = "needs POST /v1/consume ~ body application/json member"
    assert broken(before, before | {needed}) == [needed]


def test_a_list_that_has_pages_now_was_whole_before(api: Api) -> None:
    now = api.get("/v1/catalog/versions")
    assert now.headers[HEADER] == CURRENT
    assert now.json()["next"] is None
    then = api.get("/v1/catalog/versions", headers={HEADER: PREVIOUS})
    assert then.headers[HEADER] == PREVIOUS
    assert then.json() == now.json()["versions"] != []
    assert int(then.headers["content-length"]) == len(then.content)


def test_every_answer_says_its_version_the_hottest_and_failures_too(api: Api, acme: str) -> None:
    for version in VERSIONS:
        pinned = {HEADER: version}
        assert api.get(f"/v1/accounts/{acme}", headers=pinned).headers[HEADER] == version
        assert api.get("/v1/accounts/nobody", headers=pinned).headers[HEADER] == version
        asked = {"account": acme, "feature": "exports"}
        assert api.post("/v1/check", json=asked, headers=pinned).headers[HEADER] == version
    for _ in range(2):
        assert api.post("/v1/check", json={"account": acme, "feature": "exports"}).headers[HEADER] == CURRENT
    assert api.get("/nowhere").headers[HEADER] == CURRENT


@pytest.mark.parametrize("odd", ["2026-11-29", "latest", "", "1", "ä", f"{CURRENT},{PREVIOUS}"])
def test_a_version_there_is_not_is_refused_with_those_there_are(api: Api, odd: str) -> None:
    headers = [(HEADER, odd.encode("latin-1"))]
    told = api.problem(400, "GET", "/v1/accounts", headers=headers)
    assert told["code"] == "unknown_api_version"
    assert all(version in told["detail"] for version in VERSIONS)


def test_two_versions_at_once_are_none(api: Api) -> None:
    headers = [(HEADER, CURRENT), (HEADER, PREVIOUS)]
    assert api.problem(400, "GET", "/v1/accounts", headers=headers)["code"] == "unknown_api_version"
