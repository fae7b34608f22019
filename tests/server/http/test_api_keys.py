"""API keys: what each opens, from where, how often and until when; and what nobody is let in with."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from typing import Any

import psycopg
import pytest

from paygrade.server.operations import api_keys as operations
from paygrade.server.process.acting import Actor
from paygrade.server.process.api_keys import is_well_formed, make_secret
from paygrade.server.process.settings import Settings
from paygrade.server.state import api_keys
from paygrade.simulator.http import serve as simulator
from support.databases import migrated_database
from support.server_process import KEY, Api, serving
from support.streams import followed
from support.waiting import eventually

SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def api(database: str) -> Iterator[Api]:
    with serving(Settings(), database) as running:
        yield running


def created(api: Api, *scopes: str, **asked: Any) -> Any:
    said = {"scopes": list(scopes)} if scopes else {}
    return api.ok("POST", "/v1/keys", json={"name": "a test's", **said, **asked})


@contextmanager
def holding(api: Api, *scopes: str, **asked: Any) -> Iterator[Api]:
    """A client with a key that opens this."""
    with Api(api.url, key=created(api, *scopes, **asked)["key"]) as client:
        yield client


def row_of(database: str, id: str) -> Any:
    with psycopg.connect(database) as connection:
        return connection.execute("select api_keys::text from api_keys where id = %s", (id,)).fetchone()


# What a key is


def test_a_key_says_what_it_is_and_is_shown_once(api: Api, database: str) -> None:
    answer = api.post("/v1/keys", json={"name": "backend", "scopes": ["decisions:read"], "mode": "live"})
    made = answer.json()
    assert re.fullmatch(r"sk_live_[0-9A-Za-z]{36}", made["key"])
    assert answer.headers["cache-control"] == "no-store"
    assert is_well_formed(made["key"])
    shown = api.ok("GET", f"/v1/keys/{made['id']}")
    assert "key" not in shown
    assert shown["secrets"][0]["hint"] == f"sk_live_…{made['key'][-4:]}"
    assert (shown["state"], shown["created_by"], shown["last_used_at"]) == ("active", "admin", None)
    for kept in (str(row_of(database, made["id"])), api.get("/v1/keys").text, api.get(f"/v1/keys/{made['id']}").text):
        assert made["id"] in kept
        assert made["key"] not in kept
        assert made["key"][8:-4] not in kept


def test_a_key_that_was_not_copied_whole_is_no_key(api: Api) -> None:
    key = created(api, "accounts:read")["key"]
    assert is_well_formed(key)
    for odd in (key[:-1], key[1:], key + "x", key.replace("sk_", "pk_"), key[:20] + "é" + key[21:], key.upper()):
        assert not is_well_formed(odd)
        with Api(api.url, key=None) as stranger:
            raw = {b"Authorization": f"Bearer {odd}".encode("latin-1")}
            assert stranger.get("/v1/accounts", headers=raw).json()["code"] == "unauthenticated"


def test_a_key_ends_after_a_year_unless_it_is_asked_for_otherwise(api: Api) -> None:
    made = created(api, "accounts:read")
    lasts = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert lasts == timedelta(days=365)
    assert created(api, "accounts:read", never_expires=True)["expires_at"] is None
    assert created(api, "accounts:read", expires_at="2999-01-01T00:00:00Z")["expires_at"] == "2999-01-01T00:00:00Z"


ODD: list[tuple[dict[str, Any], str]] = [
    ({}, "invalid_body"),
    ({"scopes": ["accounts:*"]}, "invalid_body"),
    ({"scopes": ["accounts:read"], "role": "viewer"}, "invalid_body"),
    ({"role": "root"}, "invalid_body"),
    ({"scopes": ["accounts:read"], "name": ""}, "invalid_body"),
    ({"scopes": ["accounts:read"], "name": "a\nb"}, "invalid_body"),
    ({"scopes": ["accounts:read"], "name": "x" * 201}, "invalid_body"),
    ({"scopes": ["accounts:read"], "ip_ranges": ["10.0.0.1/8"]}, "invalid_body"),
    ({"scopes": ["accounts:read"], "ip_ranges": ["here"]}, "invalid_body"),
    ({"scopes": ["accounts:read"], "ip_ranges": ["10.0.0.0/8"] * 51}, "invalid_body"),
    ({"scopes": ["accounts:read"], "rate_limit": 0}, "invalid_body"),
    ({"scopes": ["accounts:read"], "rate_limit": 10**7}, "invalid_body"),
    ({"scopes": ["accounts:read"], "mode": "staging"}, "invalid_body"),
    ({"scopes": ["accounts:read"], "never_expires": True, "expires_at": "2999-01-01T00:00:00Z"}, "invalid_body"),
    ({"scopes": ["accounts:read"], "expires_at": "2020-01-01T00:00:00Z"}, "already_expired"),
    ({"publishable": True, "scopes": ["accounts:read"]}, "invalid_body"),
    ({"publishable": True, "role": "viewer"}, "invalid_body"),
    ({"scopes": ["accounts:read"], "id": "mine"}, "invalid_body"),
]


@pytest.mark.parametrize(("asked", "code"), ODD, ids=str)
def test_odd_keys_are_refused(api: Api, asked: dict[str, Any], code: str) -> None:
    assert api.problem(400, "POST", "/v1/keys", json={"name": "odd", **asked})["code"] == code


def test_no_more_keys_count_than_every_process_remembers(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    created(api, "accounts:read")
    monkeypatch.setattr(operations, "KEYS_MAX", 1)
    told = api.problem(409, "POST", "/v1/keys", json={"name": "one more", "role": "viewer"})
    assert told["code"] == "too_many_api_keys"


def test_keys_are_listed_page_by_page_in_the_order_they_were_made(api: Api) -> None:
    made = [created(api, "accounts:read")["id"] for _ in range(3)]
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = api.ok("GET", "/v1/keys", params={"after": after, "limit": 2})
        seen, after = seen + [each["id"] for each in page["keys"]], page["next"]
    assert [id for id in seen if id in made] == made
    assert len(set(seen)) == len(seen)
    api.ok("POST", f"/v1/keys/{made[0]}/revoke")
    for state in ("active", "expired", "revoked"):
        listed = api.ok("GET", "/v1/keys", params={"state": state, "limit": 500})["keys"]
        assert {each["state"] for each in listed} <= {state}
        assert (made[0] in [each["id"] for each in listed]) == (state == "revoked")
        assert ({made[1], made[2]} <= {each["id"] for each in listed}) == (state == "active")
    assert api.problem(400, "GET", "/v1/keys?state=lost")["code"] == "invalid_query"
    assert api.problem(404, "GET", "/v1/keys/key_0")["code"] == "unknown_api_key"


# What it opens


def test_a_key_opens_what_its_scopes_say_and_the_problem_names_what_it_lacks(api: Api, acme: str) -> None:
    with holding(api, "decisions:read", "usage:write") as key:
        assert key.check(acme, "projects")["allowed"]
        assert key.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "id": "a"})["consumed"]
        answer = key.get(f"/v1/accounts/{acme}")
        assert answer.status_code == 403
        told = answer.json()
        assert (told["code"], told["scope"]) == ("insufficient_scope", "accounts:read")
        assert told["detail"] == "this key lacks the scope `accounts:read`; use a key that has it"
        assert 'scope="accounts:read"' in answer.headers["www-authenticate"]


def test_nobody_hands_out_more_than_they_have(api: Api) -> None:
    with holding(api, "keys:write", "keys:read", "accounts:read") as maker:
        lesser = maker.ok("POST", "/v1/keys", json={"name": "lesser", "scopes": ["accounts:read"]})
        assert lesser["created_by"].startswith("key_")
        for more in ({"role": "admin"}, {"scopes": ["accounts:write"]}, {"role": "viewer"}, {"publishable": True}):
            told = maker.problem(403, "POST", "/v1/keys", json={"name": "more", **more})
            assert told["code"] == "insufficient_scope"
        # A new secret of a mightier key would be one.
        mighty = created(api, role="admin")
        assert maker.problem(403, "POST", f"/v1/keys/{mighty['id']}/rotate", json={})["code"] == "insufficient_scope"
        assert api.ok("GET", f"/v1/keys/{mighty['id']}")["secrets"] == mighty["secrets"]
        assert maker.ok("POST", f"/v1/keys/{lesser['id']}/rotate", json={})["key"]


# Pages


def test_a_publishable_key_reads_decisions_and_nothing_else(api: Api, acme: str) -> None:
    with holding(api, publishable=True, mode="test") as page:
        assert page.headers["authorization"].startswith("Bearer pk_test_")
        assert page.check(acme, "projects")["allowed"]
        assert page.ok("GET", f"/v1/accounts/{acme}/decisions")["account"] == acme
        assert page.ok("POST", "/ofrep/v1/evaluate/flags", json={"context": {"targetingKey": acme}})["flags"]
        origin = page.post(
            "/v1/check", json={"account": acme, "feature": "projects"}, headers={"Origin": "https://a.b"}
        )
        assert origin.headers["access-control-allow-origin"] == "*"
        assert "RateLimit" in origin.headers["access-control-expose-headers"]
        for method, path, body in (
            ("POST", "/v1/snapshots", {"accounts": [acme]}),
            ("GET", "/v1/stream", None),
            ("GET", "/v1/stream?accounts=all", None),
            ("GET", "/v1/accounts", None),
            ("GET", f"/v1/accounts/{acme}/entitlements", None),
            ("POST", f"/v1/accounts/{acme}/explain", {"feature": "projects"}),
            ("POST", "/v1/consume", {"account": acme, "feature": "api_calls", "id": "page"}),
        ):
            assert page.problem(403, method, path, json=body)["code"] == "insufficient_scope", path
        with followed(page, f"?accounts={acme}") as stream:
            stream.next("hello")
            api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True})
            assert stream.next("news")[0] == {"accounts": [acme]}
            assert not [event for event in stream._told if event.name == "views"], "which show an account's members"


# From where, how often


def test_a_key_counts_from_its_ranges_alone_on_both_ways(api: Api, acme: str) -> None:
    asked = {"account": acme, "feature": "projects"}
    with holding(api, "decisions:read", ip_ranges=["203.0.113.0/24", "2001:db8::/32"]) as elsewhere:
        for _ in range(2):
            told = elsewhere.problem(403, "POST", "/v1/check", json=asked)
            assert told["code"] == "address_not_allowed"
            assert "`127.0.0.1`" in told["detail"]
    with holding(api, "decisions:read", ip_ranges=["203.0.113.7", "127.0.0.0/8"]) as here:
        assert here.check(acme, "projects")["allowed"]


@pytest.mark.parametrize(
    ("address", "is_in"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("2001:db8::1", True), ("11.0.0.1", False), ("::1", False),
     ("::ffff:11.0.0.1", False), (None, False), ("unix", False)],
)  # fmt: skip
def test_an_address_is_in_a_range_however_it_is_written(address: str | None, is_in: bool) -> None:
    key = api_keys.KnownKey(
        id="key_1", actor=Actor("key", "key_1"), digest=b"", scopes=frozenset(),
        networks=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")),
    )  # fmt: skip
    assert key.allows(address) is is_in


def test_a_key_makes_so_many_requests_a_minute_and_says_how_many_are_left(api: Api, acme: str) -> None:
    with holding(api, "decisions:read", rate_limit=3) as key:
        asked = {"account": acme, "feature": "projects"}
        answers = [key.post("/v1/check", json=asked) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0"]
        assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=60'
        # What it lacks counts, too: whoever tries all doors is slowed down.
        refused = key.get("/v1/accounts")
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 21
        assert key.problem(429, "POST", "/v1/check", json=asked)["code"] == "rate_limited"
        with holding(api, "decisions:read", rate_limit=3) as other:
            assert other.check(acme, "projects")["allowed"], "each key has its own"


def test_a_bucket_fills_again_as_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    bucket = api_keys.Bucket(60)
    assert [bucket.take()[0] for _ in range(61)] == [True] * 60 + [False]
    now_s[0] += 2.5
    assert [bucket.take()[0] for _ in range(3)] == [True, True, False]
    now_s[0] += 3600
    assert [bucket.take()[0] for _ in range(61)] == [True] * 60 + [False]


# Until when


def test_a_revoked_key_opens_nothing_from_then_on_and_its_streams_end(
    api: Api, database: str, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paygrade.server.http.streams.BEAT_S", 0.05)
    made = created(api, "decisions:read")
    with Api(api.url, key=made["key"]) as key, followed(key) as stream:
        stream.next("hello")
        assert key.check(acme, "projects")["allowed"]
        assert api.ok("POST", f"/v1/keys/{made['id']}/revoke")["state"] == "revoked"
        told = key.problem(401, "POST", "/v1/check", json={"account": acme, "feature": "projects"})
        assert told["code"] == "unauthenticated"
        stream.rest()
    again = api.ok("POST", f"/v1/keys/{made['id']}/revoke")
    assert again["revoked_at"] == api.ok("GET", f"/v1/keys/{made['id']}")["revoked_at"]
    assert api.problem(409, "POST", f"/v1/keys/{made['id']}/rotate", json={})["code"] == "api_key_over"


def test_another_process_hears_of_keys_at_once(
    api: Api, database: str, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody looks by themselves.
    monkeypatch.setattr(api_keys, "FRESH_S", 3600.0)
    with serving(Settings(), database, catalog=False) as another:
        made = created(another, "decisions:read")
        with Api(api.url, key=made["key"]) as key:
            assert key.check(acme, "projects")["allowed"]
            another.ok("POST", f"/v1/keys/{made['id']}/revoke")
            eventually(lambda: key.get(f"/v1/accounts/{acme}/decisions").status_code == 401)


def test_a_revoked_key_ends_soon_where_the_database_tells_nothing(
    database: str, acme: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys.ApiKeys, "hear", lambda *_: None)
    monkeypatch.setattr(api_keys, "FRESH_S", 0.1)
    with serving(Settings(), database, catalog=False) as deaf:
        made = created(api, "decisions:read")
        with Api(deaf.url, key=made["key"]) as key:
            assert key.check(acme, "projects")["allowed"]
            api.ok("POST", f"/v1/keys/{made['id']}/revoke")
            eventually(lambda: key.get(f"/v1/accounts/{acme}/decisions").status_code == 401)


def test_keys_go_on_counting_while_the_database_is_away(restartable: Any, postgres_url: str) -> None:
    """Those that nobody has used yet, too; one that is not known is not called wrong."""
    api: Api = restartable.api
    api.ok("PUT", "/v1/accounts/acme", json={})
    keys = [created(api, "decisions:read") for _ in range(2)]
    with Api(api.url, key=keys[0]["key"]) as key:
        assert key.check("acme", "projects")["allowed"]
    # Everything that this server has open ends, and nothing new is let in.
    name = psycopg.conninfo.conninfo_to_dict(restartable._database_url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'alter database "{name}" allow_connections false')
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        try:
            for made in keys:
                with Api(api.url, key=made["key"]) as key:
                    eventually(partial(checks, key))
            with Api(api.url, key=make_secret(publishable=False, mode="test")) as key:
                assert key.get("/v1/accounts").status_code == 503
            with Api(api.url, key="sk_test_nothing") as key:
                assert key.get("/v1/accounts").status_code == 401
        finally:
            admin.execute(f'alter database "{name}" allow_connections true')


def checks(key: Api) -> bool:
    return key.post("/v1/check", json={"account": "acme", "feature": "projects"}).is_success


def test_both_secrets_count_while_a_key_is_rotated(api: Api, acme: str) -> None:
    made = created(api, "decisions:read")
    turned = api.ok("POST", f"/v1/keys/{made['id']}/rotate", json={})
    assert (turned["id"], turned["scopes"]) == (made["id"], made["scopes"])
    assert [each["ends_at"] is None for each in turned["secrets"]] == [False, True]
    # The answer may be lost, and asked for again: what is in use goes on.
    third = api.ok("POST", f"/v1/keys/{made['id']}/rotate", json={"overlap_s": 3600})
    for secret in (made["key"], turned["key"], third["key"]):
        with Api(api.url, key=secret) as key:
            assert key.check(acme, "projects")["allowed"]
    api.ok("POST", f"/v1/keys/{made['id']}/rotate", json={"overlap_s": 0})
    for secret in (made["key"], turned["key"], third["key"]):
        with Api(api.url, key=secret) as key:
            key.problem(401, "POST", "/v1/check", json={"account": acme, "feature": "projects"})


def test_a_key_ends_by_the_clock_that_is_followed_on_both_ways(postgres_url: str) -> None:
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    with (
        simulator.running(start=start) as provider,
        migrated_database(postgres_url) as database_url,
        serving(Settings(clock_url=provider.url), database_url) as api,
        Api(provider.url, key=None) as control,
    ):
        api.ok("PUT", "/v1/accounts/acme", json={})
        made = created(api, "decisions:read", expires_at="2026-01-31T13:00:00Z")
        old = created(api, "decisions:read")
        api.ok("POST", f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 3600})
        for secret in (made["key"], old["key"]):
            control.ok("POST", "/_simulator/clock", json={"to": "2026-01-31T12:59:59Z"})
            with Api(api.url, key=secret) as key:
                assert key.check("acme", "projects")["allowed"]
        control.ok("POST", "/_simulator/clock", json={"to": "2026-01-31T13:00:00Z"})
        for secret in (made["key"], old["key"]):
            with Api(api.url, key=secret) as key:
                told = key.problem(401, "POST", "/v1/check", json={"account": "acme", "feature": "projects"})
                assert told["detail"].startswith("this key ended at 2026-01-31T13:00:00Z")
        assert api.ok("GET", f"/v1/keys/{made['id']}")["state"] == "expired"


def test_when_a_key_was_used_last_is_written_down_once_a_minute(
    database: str, acme: str, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "FRESH_S", 0.05)
    with serving(Settings(), database, catalog=False) as quick, holding(quick, "decisions:read") as key:
        id = api.ok("GET", "/v1/keys", params={"limit": 500})["keys"][-1]["id"]
        before = datetime.now(UTC)
        key.check(acme, "projects")
        noted = eventually(lambda: api.ok("GET", f"/v1/keys/{id}")["last_used_at"])
        assert before - SECOND <= datetime.fromisoformat(noted) <= datetime.now(UTC) + SECOND
        version = row_version(database, id)
        for _ in range(20):
            key.check(acme, "projects")
        eventually(lambda: looked_again(quick))
        assert row_version(database, id) == version


def looked_again(api: Api) -> bool:
    """Enough for the few looks that a second use would have been written down in."""
    return all(api.get("/healthz").is_success for _ in range(100))


def row_version(database: str, id: str) -> Any:
    with psycopg.connect(database) as connection:
        return connection.execute("select xmin::text from api_keys where id = %s", (id,)).fetchone()


# Test and live


def test_a_key_of_the_other_mode_opens_nothing(postgres_url: str) -> None:
    """A copy of the production's database, say, behind a server that is connected to Stripe's test mode."""
    with migrated_database(postgres_url) as url:
        with serving(Settings(), url) as either:
            assert created(either, role="viewer")["mode"] == "test"
            live, test = created(either, role="viewer", mode="live"), created(either, role="viewer", mode="test")
        settings = Settings(stripe_api_key="sk_test_1", stripe_api_base="http://127.0.0.1:1", sweep_every=None)
        with serving(settings, url) as tests:
            assert created(tests, role="viewer")["mode"] == "test"
            told = tests.problem(409, "POST", "/v1/keys", json={"name": "x", "role": "viewer", "mode": "live"})
            assert told["code"] == "other_mode"
            with Api(tests.url, key=live["key"]) as key:
                asked = {"account": "acme", "feature": "projects"}
                for method, path, body in (("GET", "/v1/accounts", None), ("POST", "/v1/check", asked)):
                    told = key.problem(401, method, path, json=body)
                    assert "this is a live key" in told["detail"]
            with Api(tests.url, key=test["key"]) as key:
                assert key.ok("GET", "/v1/accounts")["accounts"] == []


def test_keys_are_in_no_log(api: Api, acme: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = created(api, "accounts:read")
    with Api(api.url, key=made["key"]) as key:
        key.ok("GET", f"/v1/accounts/{acme}")
        key.problem(403, "POST", "/v1/check", json={"account": acme, "feature": "projects"})
    logged = capsys.readouterr()
    assert "key_created" in logged.out + logged.err
    for hidden in (made["key"], made["key"][8:], KEY):
        assert hidden not in logged.out + logged.err
