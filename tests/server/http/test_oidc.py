"""Logging in with a provider: a real one, which some tests make lie."""

import base64
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from paygrade.server.operations import people
from paygrade.server.process.settings import Settings
from paygrade.server.state import oidc_provider
from support.databases import migrated_database
from support.oidc_provider import Provider, providing, query
from support.pages import parsed
from support.server_process import Api, serving

OURS = "http://127.0.0.1"


@dataclass
class House:
    """A server, its database and the provider."""

    api: Api
    database: str
    provider: Provider

    def rows(self, text: str) -> list[Any]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(text.encode()).fetchall()


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with pytest.MonkeyPatch.context() as patch, providing() as provider, migrated_database(postgres_url) as url:
        patch.setattr(people, "ATTEMPTS_A_MINUTE", 10_000)  # all come from one address here
        patch.setattr(oidc_provider, "ASK_S", 0.0)
        with serving(Settings(oidc=provider.settings(OURS, name="Example SSO")), url) as api:
            yield House(api, url, provider)


@pytest.fixture(autouse=True)
def honest(house: House) -> Iterator[None]:
    """Whatever a test has the provider say, the next one meets an honest one."""
    yield
    house.provider.changes.clear()
    house.provider.down = False


def someone(house: House, **claims: Any) -> str:
    subject = uuid4().hex
    told = {"email": f"{subject}@example.com", "name": "Dana", "groups": ["helpdesk"]}
    house.provider.add(subject, **(told | claims))
    return subject


@contextmanager
def browser(house: House) -> Iterator[Api]:
    with Api(house.api.url, key=None) as client:
        client.headers["origin"] = house.api.url
        yield client


def sent_back(house: House, client: Api, subject: str, next: str | None = None) -> str:
    """Where the provider sends a browser that has begun to log in."""
    answer = client.get("/v1/login/oidc", params={"next": next} if next is not None else {})
    assert answer.status_code == 302, answer.text
    back = house.provider.let_in(answer.headers["location"], subject)
    assert back.startswith(f"{OURS}/v1/login/oidc/callback?")
    return back.removeprefix(OURS)


def log_in(house: House, client: Api, subject: str, next: str | None = None) -> httpx2.Response:
    return client.get(sent_back(house, client, subject, next))


def test_whoever_the_provider_lets_in_has_a_session_like_any_other(house: House, acme: str) -> None:
    subject = someone(house)
    assert house.api.ok("GET", "/v1/login") == {"provider": "Example SSO", "url": "/v1/login/oidc"}
    with browser(house) as client:
        asked = query(client.get("/v1/login/oidc").headers["location"])
        told = {"response_type": "code", "client_id": "paygrade", "scope": "openid profile email"}
        assert asked.items() >= {**told, "code_challenge_method": "S256"}.items()
        answer = log_in(house, client, subject, f"/v1/accounts/{acme}")
        assert (answer.status_code, answer.headers["location"]) == (302, f"/v1/accounts/{acme}")
        begun, ended = sorted(answer.headers.get_list("set-cookie"), key=lambda cookie: "Max-Age=0" in cookie)
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(begun.split("; "))
        assert ended.startswith("paygrade_oidc=;")
        me = client.ok("GET", "/v1/me")["person"]
        assert (me["role"], me["issuer"], me["email"]) == ("support", house.provider.url, f"{subject}@example.com")
        client.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True})
        assert client.post("/v1/logout").status_code == 204
        client.problem(401, "GET", "/v1/me")
    shown = [each for each in house.api.ok("GET", "/v1/people")["people"] if each["id"] == me["id"]]
    assert [each["issuer"] for each in shown] == [house.provider.url]
    records = house.api.ok("GET", "/v1/audit", params={"limit": "100"})["records"]
    its = [each["action"] for each in records if {"kind": "person", "id": me["id"]} in each["targets"]]
    assert its == ["session.begin", "person.add"]
    overridden = house.api.ok("GET", f"/v1/accounts/{acme}/audit")["records"][0]
    assert overridden["actor"] == {"kind": "person", "id": me["id"], "name": "Dana"}


@pytest.fixture
def acme(house: House) -> str:
    key = f"acme-{uuid4().hex[:12]}"
    house.api.ok("PUT", f"/v1/accounts/{key}", json={"name": "Acme"})
    return key


def role(house: House, client: Api, subject: str) -> Any:
    answer = log_in(house, client, subject)
    return client.ok("GET", "/v1/me")["person"]["role"] if answer.status_code == 302 else answer.json()["code"]


def test_the_role_is_what_the_groups_say_at_each_log_in(house: House) -> None:
    subject = someone(house, groups=["readers", "ops", "helpdesk", "strangers"])
    with browser(house) as first, browser(house) as client:
        assert role(house, first, subject) == "admin"  # the most powerful
        house.provider.add(subject, groups="readers", name="Dana")
        assert role(house, client, subject) == "viewer"
        assert first.ok("GET", "/v1/me")["person"]["role"] == "viewer", "of every session they have"
        house.provider.add(subject, groups=["strangers"])
        assert role(house, client, subject) == "no_role"
        first.problem(401, "GET", "/v1/me")
        house.provider.add(subject)
        assert role(house, client, subject) == "no_role"
    assert house.rows(f"select count(*) from people where subject = '{subject}'") == [(1,)]


def test_a_person_is_the_providers_subject_and_takes_over_nobody(house: House) -> None:
    email = f"{uuid4().hex}@example.com"
    local = house.api.ok("POST", "/v1/people", json={"email": email, "name": "Lee", "role": "admin"})
    subject, other = someone(house, email=email, groups=["readers"]), someone(house, email=email)
    with browser(house) as client:
        log_in(house, client, subject)
        me = client.ok("GET", "/v1/me")["person"]
        assert (me["email"], me["role"]) == (email, "viewer")
        log_in(house, client, other)
        ids = {local["id"], me["id"], client.ok("GET", "/v1/me")["person"]["id"]}
        assert len(ids) == 3
        said = {"email": email, "password": local["password"]}
        assert client.ok("POST", "/v1/login", json=said)["id"] == local["id"]
        client.problem(400, "POST", "/v1/login", json={"email": me["id"], "password": "x"})
        house.provider.add(subject, email="new@example.com", groups=["readers"])
        log_in(house, client, subject)
        assert client.ok("GET", "/v1/me")["person"]["id"] == me["id"]
    for method, path, body in (("PUT", "role", {"role": "admin"}), ("POST", "reset", {})):
        told = house.api.problem(409, method, f"/v1/people/{me['id']}/{path}", json=body)
        assert told["code"] == "person_of_provider"


def test_many_first_log_ins_at_once_are_one_person(house: House) -> None:
    subject = someone(house)

    def once(_: int) -> Any:
        with browser(house) as client:
            log_in(house, client, subject)
            return client.ok("GET", "/v1/me")["person"]["id"]

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(once, range(4)))) == 1


# What others try


def refused(answer: httpx2.Response) -> Any:
    """The problem of a log-in that was refused: nobody has a session by it."""
    assert not any(cookie.startswith("paygrade_session=") for cookie in answer.headers.get_list("set-cookie"))
    return answer.json()


def test_a_browser_comes_back_only_to_the_log_in_it_began(house: House) -> None:
    victim, subject = someone(house), someone(house)
    with browser(house) as attacker, browser(house) as client:
        back = sent_back(house, attacker, subject)
        assert refused(client.get(back))["code"] == "log_in_refused"  # it has begun none
        own = sent_back(house, client, victim)
        assert refused(client.get(back))["code"] == "log_in_refused"  # it has begun another
        assert refused(client.get(own))["code"] == "log_in_refused"  # and that one is over now
        client.problem(401, "GET", "/v1/me")


def test_no_log_in_is_used_twice(house: House) -> None:
    with browser(house) as client:
        back = sent_back(house, client, someone(house))
        held = client.cookies["paygrade_oidc"]
        assert client.get(back).status_code == 302
        client.cookies.set("paygrade_oidc", held)
        assert client.get(back).json()["code"] == "log_in_refused"  # its code is used
        # One that takes a code twice makes no difference: its token is for the log-in that was used.
        told: list[Any] = []

        def same(answer: Any) -> Any:
            told.append(answer)
            return told[0]

        house.provider.changes["/oauth2/token"] = same
        client.cookies.clear()
        back = sent_back(house, client, someone(house))
        held = client.cookies["paygrade_oidc"]
        assert client.get(back).status_code == 302
        client.cookies.set("paygrade_oidc", held)
        assert "used before" in refused(client.get(back))["detail"]
        assert len(told) == 2


ELSEWHERE = ("//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/a b", "/\n/x",
             "/" + "x" * 3000, "javascript:alert(1)", "/\t/evil.example")  # fmt: skip


def test_a_log_in_leads_nowhere_else(house: House) -> None:
    with browser(house) as client:
        for next in ELSEWHERE:
            told = client.problem(400, "GET", "/v1/login/oidc", params={"next": next})
            assert told["code"] == "invalid_query", next
        # Nor where the cookie says so, which a browser may be given by a neighbour.
        back = sent_back(house, client, someone(house))
        held = client.cookies["paygrade_oidc"]
        text = base64.urlsafe_b64decode(held + "=" * (-len(held) % 4)).decode()
        evil = text.replace('"/v1/me"', '"//evil.example"').encode()
        client.cookies.clear()
        client.cookies.set("paygrade_oidc", base64.urlsafe_b64encode(evil).rstrip(b"=").decode())
        assert refused(client.get(back))["code"] == "log_in_refused"


OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def published(house: House) -> Any:
    return httpx2.get(f"{house.provider.url}/jwks", trust_env=False, verify=False).json()["keys"][0]


def unsigned(house: House, claims: Any) -> str:
    return jwt.encode(claims, None, "none")  # type: ignore[arg-type]  # that is what none means


def by_another_key(house: House, claims: Any) -> str:
    return jwt.encode(claims, OTHER_KEY, "RS256", {"kid": published(house)["kid"]})


def by_the_public_key(house: House, claims: Any) -> str:
    """As an HMAC whose secret everybody knows (RFC 8725, 2.1)."""
    pem = jwt.PyJWK(published(house)).key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    texts = ('{"alg":"HS256","typ":"JWT"}', json.dumps(claims))
    parts = [base64.urlsafe_b64encode(text.encode()).rstrip(b"=") for text in texts]
    signed = base64.urlsafe_b64encode(hmac.digest(pem, b".".join(parts), "sha256")).rstrip(b"=")
    return b".".join([*parts, signed]).decode()


def by_the_client_secret(house: House, claims: Any) -> str:
    return jwt.encode(claims, "hush" * 10, "HS256")


@pytest.mark.parametrize("forge", [unsigned, by_another_key, by_the_public_key, by_the_client_secret])
def test_a_token_counts_only_if_the_provider_signed_it(house: House, forge: Any) -> None:
    def lie(answer: Any) -> Any:
        claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
        return {**answer, "id_token": forge(house, claims)}

    house.provider.changes["/oauth2/token"] = lie
    with browser(house) as client:
        told = refused(log_in(house, client, someone(house)))
        assert told["code"] == "log_in_refused"
        assert "ID token" in told["detail"]


@pytest.fixture
def trusted_key(house: House) -> None:
    """The provider publishes a key with which the test can sign as well."""
    key = jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_KEY.public_key(), as_dict=True)
    house.provider.changes["/jwks"] = lambda told: {"keys": [*told["keys"], {**key, "kid": "ours", "use": "sig"}]}


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"aud": "somebody"}, "another client"),
        ({"aud": ["paygrade", "somebody"]}, "another client"),
        ({"aud": ["paygrade", "somebody"], "azp": "somebody"}, "another client"),
        ({"azp": "somebody"}, "another client"),
        ({"exp": 1}, "expired"),
        ({"iat": 9e9}, "future"),
        ({"nbf": 9e9}, "future"),
        ({"nonce": "other"}, "another log-in"),
        ({"nonce": None}, "lacks something"),
        ({"at_hash": "AAAA"}, "another access token"),
        ({"sub": ""}, "nobody"),
        ({"sub": "a\0b"}, "nobody"),
        ({"sub": "\ud800"}, "nobody"),
        ({"sub": None}, "lacks something"),
        ({}, None),
        ({"aud": ["paygrade", "somebody"], "azp": "paygrade"}, None),
    ],
)
def test_a_signed_token_counts_only_for_this_log_in(
    house: House, trusted_key: None, claims: dict[str, Any], why: str | None
) -> None:
    def lie(answer: Any) -> Any:
        def change(told: Any) -> Any:
            return {name: value for name, value in (told | claims).items() if value is not None}

        return {**answer, "id_token": house.provider.sign(answer["id_token"], change, key=OTHER_KEY,
                                                          algorithm="RS256", headers={"kid": "ours"})}  # fmt: skip

    house.provider.changes["/oauth2/token"] = lie
    with browser(house) as client:
        answer = log_in(house, client, someone(house))
        if why is None:
            assert answer.status_code == 302
        else:
            told = refused(answer)
            assert told["code"] == "log_in_refused"
            assert why in told["detail"]


def test_an_expired_token_of_the_provider_itself_is_refused(postgres_url: str, house: House) -> None:
    with providing(token_lasts=timedelta(seconds=-120)) as late, migrated_database(postgres_url) as url:
        late.add("dana", groups=["ops"], email="dana@example.com")
        with serving(Settings(oidc=late.settings(OURS)), url, catalog=False) as api:
            own = House(api, url, late)
            with browser(own) as client:
                assert "has expired" in refused(log_in(own, client, "dana"))["detail"]


def test_another_provider_answers_for_nobody(house: House) -> None:
    with browser(house) as client:
        back = sent_back(house, client, someone(house))
        told = refused(client.get(f"{back}&iss=https%3A%2F%2Fevil.example"))
        assert "another log-in provider" in told["detail"]
        back = sent_back(house, client, someone(house))
        assert client.get(f"{back}&iss={house.provider.url}").status_code == 302


def test_userinfo_says_what_the_token_leaves_out_of_the_same_person(house: House, trusted_key: None) -> None:
    def bare(answer: Any) -> Any:
        def change(told: Any) -> Any:
            return {name: value for name, value in told.items() if name not in ("groups", "email", "name")}

        return {**answer, "id_token": house.provider.sign(answer["id_token"], change, key=OTHER_KEY,
                                                          algorithm="RS256", headers={"kid": "ours"})}  # fmt: skip

    house.provider.changes["/oauth2/token"] = bare
    with browser(house) as client:
        assert role(house, client, someone(house)) == "support"
        assert client.ok("GET", "/v1/me")["name"] == "Dana"
        house.provider.changes["/userinfo"] = lambda told: {**told, "sub": "somebody", "groups": ["ops"]}
        assert "somebody else" in refused(log_in(house, client, someone(house)))["detail"]


def test_the_provider_may_refuse_and_says_so(house: House) -> None:
    with browser(house) as client:
        begun = client.get("/v1/login/oidc").headers["location"]
        answer = httpx2.post(begun, data={"action": "deny", "sub": "x"}, trust_env=False, verify=False)
        back = f"/v1/login/oidc/callback?error=access_denied&state={query(begun)['state']}"
        assert "error=access_denied" in answer.headers["location"]
        assert "`access_denied`" in refused(client.get(back))["detail"]
        state = query(client.get("/v1/login/oidc").headers["location"])["state"]
        told = refused(client.get("/v1/login/oidc/callback", params={"error": "<script>", "state": state}))
        assert "script" not in told["detail"]


def test_a_browser_reads_what_went_wrong_on_a_page_and_a_program_in_a_problem(house: House) -> None:
    wants = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    with browser(house) as client:
        back = sent_back(house, client, someone(house))
        shown = client.get(f"{back}&error=access_denied", headers=wants)
        assert (shown.status_code, shown.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert "default-src 'none'" in shown.headers["content-security-policy"]
        assert "paygrade_oidc=;" in shown.headers["set-cookie"], "that log-in is over"
        page = parsed(shown.text)
        assert "let nobody in" in page.one("main").text
        assert page.one("a", class_="first")["href"] == "/console/login"
        assert "<script>x" not in client.get(f"{back}&error=<script>x", headers=wants).text
        for accept in ("application/json", "*/*", "application/problem+json, text/html;q=0.5"):
            told = client.get("/v1/login/oidc/callback", headers={"accept": accept})
            assert (told.headers["content-type"], told.headers["vary"]) == ("application/problem+json", "accept")
        assert "is no path of this server" in client.get("/v1/login/oidc?next=//evil", headers=wants).text
        back = sent_back(house, client, someone(house))
        house.provider.down = True
        away = client.get(back, headers=wants)
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")
        assert parsed(away.text).one("h1").text == "The log-in provider can't be reached"


# The provider's own troubles


def test_keys_may_change_at_any_time(house: House) -> None:
    with browser(house) as client:
        assert log_in(house, client, someone(house)).status_code == 302
        house.provider.renew()
        assert log_in(house, client, someone(house)).status_code == 302


@pytest.mark.parametrize(
    ("end", "lie"),
    [
        ("/oauth2/token", lambda told: b"<html>"),
        ("/oauth2/token", lambda told: b"x" * 600_000),
        ("/oauth2/token", lambda told: b"[" * 100_000),
        ("/jwks", lambda told: {"keys": "none"}),
    ],
)
def test_what_the_provider_answers_oddly_is_its_own_trouble(house: House, end: str, lie: Any) -> None:
    house.provider.renew()  # so that its keys are asked for
    house.provider.changes[end] = lie
    with browser(house) as client:
        told = refused(log_in(house, client, someone(house)))
        assert (told["status"], told["code"]) == (503, "oidc_unavailable")


def test_a_provider_that_is_down_keeps_nobody_else_out(house: House, postgres_url: str) -> None:
    local = {"email": f"{uuid4().hex}@example.com", "name": "Lee", "role": "viewer"}
    password = house.api.ok("POST", "/v1/people", json=local)["password"]
    with browser(house) as client:
        back = sent_back(house, client, someone(house))
        house.provider.down = True
        assert refused(client.get(back))["code"] == "oidc_unavailable"
        client.ok("POST", "/v1/login", json={"email": local["email"], "password": password})
    with providing() as gone, migrated_database(postgres_url) as url:
        gone.down = True
        with serving(Settings(oidc=gone.settings(OURS)), url, catalog=False) as api:
            begun = time.monotonic()
            with ThreadPoolExecutor(4) as threads:
                answers = list(threads.map(lambda _: api.get("/v1/login/oidc"), range(4)))
            assert {answer.json()["code"] for answer in answers} == {"oidc_unavailable"}
            assert gone.asked == ["/.well-known/openid-configuration"], "one asked for all"
            assert time.monotonic() - begun < 30


def test_behind_tls_no_neighbour_sets_the_cookie(house: House, postgres_url: str) -> None:
    with migrated_database(postgres_url) as url:
        settings = Settings(oidc=house.provider.settings("https://paygrade.example.com"))
        with serving(settings, url, catalog=False) as api:
            cookie = api.get("/v1/login/oidc").headers["set-cookie"]
    assert cookie.startswith("__Host-paygrade_oidc=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
