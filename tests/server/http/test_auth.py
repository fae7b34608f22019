"""Who may ask."""

import pytest

from support.server_process import KEY, Api


@pytest.mark.parametrize("header", [None, "", KEY, f"Basic {KEY}", "Bearer", f"Bearer {KEY}x", "Bearer ÿ"])
def test_without_the_key_nothing_is_answered(api: Api, header: str | None) -> None:
    headers = {b"Authorization": header.encode("latin-1")} if header is not None else {}
    with Api(api.url, key=None) as stranger:
        answer = stranger.get("/v1/accounts", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_key_opens_whatever_the_case_of_the_scheme(api: Api) -> None:
    with Api(api.url, key=None) as client:
        assert client.get("/v1/accounts", headers={"Authorization": f"bearer {KEY}"}).is_success


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/problems/not_found"])
def test_what_machines_ask_needs_no_key(api: Api, path: str) -> None:
    with Api(api.url, key=None) as stranger:
        assert stranger.get(path).status_code == 200


def test_a_stranger_is_refused_before_the_body_is_looked_at(api: Api) -> None:
    with Api(api.url, key=None) as stranger:
        stranger.problem(401, "POST", "/v1/check", content=b"not json")
