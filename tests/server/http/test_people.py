"""People: who logs in with what, what their session opens, and when it ends."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec, module_from_spec
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import psycopg
import pyotp
import pytest
from argon2 import Type, extract_parameters

from paygrade.server.operations import people
from paygrade.server.process import passwords
from paygrade.server.process.passwords import step_of
from paygrade.server.process.scopes import ROLES
from paygrade.server.process.settings import Settings
from support.databases import migrated_database
from support.server_process import Api, serving
from support.streams import followed


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def api(database: str) -> Iterator[Api]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "ATTEMPTS_A_MINUTE", 10_000)  # all come from one address here
        with serving(Settings(), database) as running:
            yield running


def added(api: Api, role: str = "viewer", **asked: Any) -> Any:
    email = f"{uuid4().hex}@example.com"
    return api.ok("POST", "/v1/people", json={"email": email, "name": "Dana", "role": role, **asked})


def browser(api: Api) -> Api:
    """Somebody on our own pages who is not logged in."""
    client = Api(api.url, key=None)
    client.headers["origin"] = api.url
    return client


@contextmanager
def signed_in(api: Api, person: Any) -> Iterator[Api]:
    with browser(api) as client:
        client.ok("POST", "/v1/login", json={"email": person["email"], "password": person["password"]})
        yield client


def test_a_person_logs_in_works_and_logs_out(api: Api, acme: str) -> None:
    person = added(api, "support")
    with browser(api) as client:
        answer = client.post("/v1/login", json={"email": person["email"].upper(), "password": person["password"]})
        assert (answer.status_code, answer.json()["id"]) == (200, person["id"])
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        me = client.ok("GET", "/v1/me")
        assert (me["kind"], me["person"]["role"], sorted(me["scopes"])) == (
            "person",
            "support",
            sorted(ROLES["support"]),
        )
        assert client.ok("GET", f"/v1/accounts/{acme}")["account"] == acme
        client.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True})
        told = client.problem(403, "PUT", f"/v1/accounts/{acme}", json={})
        assert (told["code"], told["scope"]) == ("insufficient_scope", "accounts:write")
        assert "your role `support`" in told["detail"]
        held = client.cookies["paygrade_session"]
        assert client.post("/v1/logout").status_code == 204
        client.cookies.set("paygrade_session", held)
        assert client.problem(401, "GET", f"/v1/accounts/{acme}")["code"] == "unauthenticated"
        assert client.problem(401, "GET", "/v1/me")["code"] == "unauthenticated"


def test_the_cookie_is_secure_where_the_page_is(api: Api) -> None:
    person = added(api)
    with browser(api) as client:
        said = {"email": person["email"], "password": person["password"]}
        answer = client.post("/v1/login", json=said, headers={"origin": api.url.replace("http:", "https:")})
        assert "Secure" in answer.headers["set-cookie"].split("; ")


def test_nothing_that_lets_in_is_kept_as_it_is(api: Api, database: str) -> None:
    person = added(api)
    with signed_in(api, person) as client, psycopg.connect(database) as connection:
        held = client.cookies["paygrade_session"]
        rows = connection.execute("select people::text from people union all select sessions::text from sessions")
        kept = "\n".join(row[0] for row in rows)
    assert "$argon2id$" in kept
    assert person["password"] not in kept
    assert held not in kept
    assert "password" not in api.get("/v1/people").text


def test_a_password_costs_what_rfc_9106_asks_for() -> None:
    spec = find_spec(passwords.__name__)
    assert spec is not None
    assert spec.loader is not None
    # As it is without what the tests make of it to be quick.
    usual = module_from_spec(spec)
    spec.loader.exec_module(usual)
    said = extract_parameters(usual._hasher.hash("correct horse battery staple"))
    assert (said.type, said.time_cost, said.memory_cost) == (Type.ID, 3, 64 * 1024)


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null", "http://127.0.0.1:1"])
def test_no_other_site_logs_anybody_in_or_changes_anything(api: Api, acme: str, origin: str | None) -> None:
    person = added(api, "admin")
    with signed_in(api, person) as client:
        del client.headers["origin"]
        headers = {"origin": origin} if origin is not None else {}
        asked = {"email": person["email"], "password": person["password"]}
        for method, path, body in (
            ("POST", "/v1/login", asked),
            ("POST", "/v1/logout", None),
            ("PUT", f"/v1/accounts/{acme}", {"name": "Evil"}),
            ("POST", "/v1/keys", {"name": "evil", "role": "admin"}),
        ):
            assert client.problem(403, method, path, json=body, headers=headers)["code"] == "cross_site", path
        assert client.ok("GET", f"/v1/accounts/{acme}")["name"] == "Acme"


def test_a_key_goes_before_a_session(api: Api, acme: str) -> None:
    with signed_in(api, added(api, "admin")) as client:
        client.headers["authorization"] = "Bearer sk_wrong"
        client.problem(401, "GET", f"/v1/accounts/{acme}")


# Wrong log-ins


def refused(api: Api, **said: Any) -> Any:
    with browser(api) as client:
        return client.problem(401, "POST", "/v1/login", json=said)


def test_who_is_wrong_hears_not_what_of_it_is(api: Api) -> None:
    person = added(api)
    wrong = refused(api, email=person["email"], password="wrong")
    nobody = refused(api, email="nobody@example.com", password="wrong")
    assert wrong["code"] == "log_in_refused"
    assert {**wrong, "instance": ""} == {**nobody, "instance": ""}


def test_after_five_failures_in_a_row_even_the_right_password_waits(api: Api, database: str) -> None:
    person = added(api)
    for _ in range(people.FREE_FAILURES):
        refused(api, email=person["email"], password="wrong")
    said = {"email": person["email"], "password": person["password"]}
    with browser(api) as client:
        answer = client.post("/v1/login", json=said)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert 25 <= int(answer.headers["retry-after"]) <= 30
        assert "ratelimit" not in answer.headers, "it is no rate"
        with psycopg.connect(database) as connection:
            connection.execute("update people set retry_at = now() where id = %s", (person["id"],))
        client.ok("POST", "/v1/login", json=said)
    refused(api, email=person["email"], password="wrong")  # it begins anew


def test_many_guesses_at_once_are_no_more_than_one_after_another(api: Api) -> None:
    person = added(api)

    def guess(number: int) -> int:
        with browser(api) as client:
            return client.post("/v1/login", json={"email": person["email"], "password": f"{number}"}).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(guess, range(12)))
    assert statuses.count(401) == people.FREE_FAILURES
    assert statuses.count(429) == 12 - people.FREE_FAILURES


def test_one_address_makes_so_many_attempts_a_minute(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "ATTEMPTS_A_MINUTE", 2)
    with serving(Settings(), database, catalog=False) as own, browser(own) as client:
        said = {"email": "nobody@example.com", "password": "x"}
        answers = [client.post("/v1/login", json=said) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    wait_s = answers[2].headers["retry-after"]
    assert answers[2].headers["ratelimit"] == f'"log-in";r=0;t={wait_s}'
    assert answers[2].headers["ratelimit-policy"] == '"log-in";q=2;w=60'


# Codes


def test_who_has_an_authenticator_needs_its_code_and_each_code_once(api: Api) -> None:
    person = added(api, totp=True)
    secret = parse_qs(urlsplit(person["totp_address"]).query)["secret"][0]
    said = {"email": person["email"], "password": person["password"]}
    assert refused(api, **said)["code"] == "code_required"
    assert refused(api, **said, code="000000x")["code"] == "log_in_refused"
    assert refused(api, **{**said, "password": "wrong"})["code"] == "log_in_refused"
    with browser(api) as client:
        code = pyotp.TOTP(secret).now()
        client.ok("POST", "/v1/login", json={**said, "code": code})
    assert refused(api, **said, code=code)["code"] == "log_in_refused"


def test_a_code_is_of_now_or_of_its_neighbours() -> None:
    # RFC 6238, appendix B, in six digits: at 59 s the code is 287082.
    secret, at = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", datetime(1970, 1, 1, 0, 0, 59, tzinfo=UTC)
    assert step_of("287082", secret, after=0, at=at) == 1
    assert step_of("287082", secret, after=1, at=at) is None
    assert step_of("287082", secret, after=0, at=at + timedelta(seconds=30)) == 1
    assert step_of("287082", secret, after=0, at=at + timedelta(seconds=61)) is None
    for odd in ("", "28708", "2870820", "é", "\0"):
        assert step_of(odd, secret, after=0, at=at) is None


# When it ends


def test_another_role_counts_from_the_next_request_on(api: Api, acme: str) -> None:
    person = added(api, "admin")
    with signed_in(api, person) as client:
        client.ok("PUT", f"/v1/accounts/{acme}", json={"name": "Acme"})
        assert api.ok("PUT", f"/v1/people/{person['id']}/role", json={"role": "viewer"})["role"] == "viewer"
        assert client.problem(403, "PUT", f"/v1/accounts/{acme}", json={})["code"] == "insufficient_scope"


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/people/{}/reset"), ("DELETE", "/v1/people/{}")])
def test_a_session_ends_with_its_person_and_its_streams_too(
    api: Api, acme: str, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    monkeypatch.setattr("paygrade.server.http.streams.BEAT_S", 0.05)
    person = added(api)
    with signed_in(api, person) as client, followed(client) as stream:
        stream.next("hello")
        api.ok(method, path.format(person["id"]), json={} if method == "POST" else None)
        assert client.problem(401, "GET", f"/v1/accounts/{acme}")["code"] == "unauthenticated"
        stream.rest()
    refused(api, email=person["email"], password=person["password"])


def test_a_session_ends_after_twelve_hours(api: Api, database: str, acme: str) -> None:
    person = added(api)
    with signed_in(api, person) as client, psycopg.connect(database, autocommit=True) as connection:
        (lasts,) = connection.execute(
            "select expires_at - created_at from sessions where person = %s", (person["id"],)
        ).fetchone() or (None,)
        assert lasts == timedelta(hours=12)
        connection.execute("update sessions set expires_at = now() where person = %s", (person["id"],))
        assert client.problem(401, "GET", f"/v1/accounts/{acme}")["code"] == "unauthenticated"


# A password of one's own

OWN = "correct horse battery staple"


def changed(client: Api, old: str, new: str) -> Any:
    return client.post("/v1/me/password", json={"old": old, "new": new})


def test_whoever_knows_their_password_changes_it_and_their_other_sessions_end(api: Api) -> None:
    person = added(api)
    with signed_in(api, person) as other, signed_in(api, person) as client:
        for old, new, code in (
            (person["password"], "short", "invalid_body"),
            (person["password"], person["password"], "same_password"),
            ("wrong", OWN, "log_in_refused"),
        ):
            assert changed(client, old, new).json()["code"] == code
        assert changed(client, person["password"], OWN).json()["id"] == person["id"]
        client.ok("GET", "/v1/me")
        other.problem(401, "GET", "/v1/me")
        told = client.problem(403, "POST", "/v1/me/password", json={}, headers={"origin": "https://evil.example"})
        assert told["code"] == "cross_site"
    refused(api, email=person["email"], password=person["password"])
    with signed_in(api, {**person, "password": OWN}) as client:
        for _ in range(people.FREE_FAILURES):
            assert changed(client, "wrong", OWN + OWN).status_code == 401
        answer = changed(client, OWN, OWN + OWN)
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert api.problem(401, "POST", "/v1/me/password", json={"old": "x", "new": OWN})["code"] == "unauthenticated"
    records = api.ok("GET", "/v1/audit", params={"limit": "100"})["records"]
    (its,) = [each for each in records if each["action"] == "person.change_password"]
    assert its["actor"]["id"] == person["id"]


def test_a_password_that_must_be_changed_opens_nothing_else(api: Api, acme: str) -> None:
    person = added(api, "admin", must_change=True)
    with signed_in(api, person) as client:
        assert client.ok("GET", "/v1/me")["scopes"] == []
        told = client.problem(403, "GET", f"/v1/accounts/{acme}")
        assert told["code"] == "password_change_required"
        assert changed(client, person["password"], OWN).json()["must_change"] is False
        client.ok("GET", f"/v1/accounts/{acme}")
        again = api.ok("POST", f"/v1/people/{person['id']}/reset", json={"must_change": True})
        assert again["must_change"] is True


# Who adds whom


def test_nobody_gives_or_resets_a_role_that_can_do_more_than_they(api: Api) -> None:
    asked = {"name": "people", "scopes": ["people:read", "people:write", *sorted(ROLES["viewer"])]}
    admin, viewer = added(api, "admin"), added(api, "viewer")
    with Api(api.url, key=api.ok("POST", "/v1/keys", json=asked)["key"]) as lesser:
        for method, path, body in (
            ("POST", "/v1/people", {"email": "x@example.com", "name": "X", "role": "admin"}),
            ("PUT", f"/v1/people/{viewer['id']}/role", {"role": "admin"}),
            ("PUT", f"/v1/people/{admin['id']}/role", {"role": "viewer"}),
            ("POST", f"/v1/people/{admin['id']}/reset", {}),
        ):
            assert lesser.problem(403, method, path, json=body)["code"] == "insufficient_scope", path
        assert lesser.ok("POST", f"/v1/people/{viewer['id']}/reset", json={})["password"]


def test_odd_people_are_refused(api: Api) -> None:
    person = added(api)
    again = {"email": person["email"], "name": "X", "role": "viewer"}
    assert api.problem(409, "POST", "/v1/people", json=again)["code"] == "email_taken"
    for odd in ({"email": "nobody"}, {"email": "a b@c"}, {"role": "root"}, {"name": ""}, {"email": "@"}):
        assert api.problem(400, "POST", "/v1/people", json={**again, **odd})["code"] == "invalid_body"
    assert api.problem(404, "DELETE", "/v1/people/person_0")["code"] == "unknown_person"
