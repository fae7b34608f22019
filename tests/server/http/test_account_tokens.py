"""Account tokens: what they open, and what nobody is let in with."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from paygrade.postgres.store import Store
from paygrade.server.operations.tokens import AHEAD, IssuedToken, rotate, stream_token
from paygrade.server.process.account_tokens import TTL_MAX, verify
from paygrade.server.process.settings import Settings
from paygrade.server.state import broadcast
from paygrade.server.state.signing_keys import SigningKeys
from paygrade.server.state.stream_tokens import StreamToken, StreamTokens
from paygrade.simulator.http import serve as simulator
from paygrade.values.errors import Refused
from support.databases import migrated_database
from support.openapi import example_of, plain_address
from support.server_process import KEY, Api, serving
from support.streams import followed, override
from support.waiting import eventually

OWN_PAGES = {("GET", "/v1/plans"), ("GET", "/v1/accounts/{account}/summary")}
"""What a token for `summary:read` opens, and one for decisions does not."""
OPEN = {
    ("POST", "/v1/check"),
    ("GET", "/v1/accounts/{account}/decisions"),
    ("GET", "/v1/stream"),
    ("POST", "/v1/snapshots"),
    ("POST", "/ofrep/v1/evaluate/flags"),
    ("POST", "/ofrep/v1/evaluate/flags/{key}"),
    ("GET", "/ofrep/v1/stream"),
}
"""All that a token for `decisions:read` opens."""
SECOND = timedelta(seconds=1)
FLAGS = "/ofrep/v1/evaluate/flags"


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def api(database: str) -> Iterator[Api]:
    with serving(Settings(), database) as running:
        yield running


def issued(api: Api, account: str, **asked: Any) -> Any:
    return api.ok("POST", f"/v1/accounts/{account}/tokens", json=asked)


def page_of(api: Api, account: str, **asked: Any) -> Api:
    """A client that holds a token for this account."""
    return Api(api.url, key=issued(api, account, **asked)["token"])


@pytest.fixture
def page(api: Api, acme: str) -> Iterator[Api]:
    with page_of(api, acme) as client:
        yield client


@pytest.fixture
def other(api: Api, acme: str) -> str:
    """Another account."""
    api.ok("PUT", f"/v1/accounts/{acme}-other", json={})
    return f"{acme}-other"


# What it says


def test_a_token_says_whom_it_is_for_and_is_verified_by_the_key_set(api: Api, acme: str) -> None:
    told = issued(api, acme, member="ann", ttl_s=60)
    with Api(api.url, key=None) as anyone:
        key = anyone.ok("GET", "/.well-known/jwks.json")["keys"][-1]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}, "and nothing of the private key"
    public: Any = ECAlgorithm.from_jwk(key)
    claims = jwt.decode(told["token"], public, ["ES256"], audience="paygrade", issuer="paygrade")
    assert jwt.get_unverified_header(told["token"]) == {"alg": "ES256", "kid": key["kid"], "typ": "JWT"}
    assert (claims["sub"], claims["member"], claims["scopes"]) == (acme, "ann", ["decisions:read"])
    assert claims["exp"] - claims["iat"] == 60
    assert datetime.fromisoformat(told["expires_at"]).timestamp() == claims["exp"]


def test_a_token_ends_after_a_quarter_of_an_hour_unless_it_is_asked_for_otherwise(api: Api, acme: str) -> None:
    told = issued(api, acme)
    lasts = datetime.fromisoformat(told["expires_at"]) - datetime.fromisoformat(told["issued_at"])
    assert lasts == timedelta(minutes=15)
    answer = api.post(f"/v1/accounts/{acme}/tokens", json={})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"ttl_s": 59}, "invalid_body"),
        ({"ttl_s": 86_401}, "invalid_body"),
        ({"scopes": []}, "invalid_body"),
        ({"scopes": ["usage:write"]}, "invalid_body"),
        ({"scopes": ["decisions:read", "*"]}, "invalid_body"),
        ({"member": ""}, "invalid_key"),
        ({"account": "other"}, "invalid_body"),
    ],
)
def test_odd_tokens_are_refused(api: Api, acme: str, asked: Any, code: str) -> None:
    assert api.problem(400, "POST", f"/v1/accounts/{acme}/tokens", json=asked)["code"] == code


def test_no_token_is_for_an_account_that_is_not_known(api: Api) -> None:
    assert api.problem(404, "POST", "/v1/accounts/nobody/tokens", json={})["code"] == "unknown_account"


# What it opens


def test_a_page_reads_its_own_account(page: Api, acme: str) -> None:
    assert page.check(acme, "projects")["allowed"] is True
    assert page.ok("GET", f"/v1/accounts/{acme}/decisions")["account"] == acme
    assert page.ok("POST", "/v1/snapshots", json={"accounts": [acme]})["accounts"][0][0] == acme
    asked = {"context": {"targetingKey": acme}}
    assert page.ok("POST", FLAGS, json=asked)["flags"]
    assert page.ok("POST", f"{FLAGS}/projects", json=asked)["value"] is True
    assert page.get("/v1/stream").is_success
    assert page.get("/ofrep/v1/stream").is_success
    key = page.headers["authorization"].removeprefix("Bearer ")
    with Api(page.url, key=None) as stock:
        assert stock.post(FLAGS, json=asked, headers={"X-API-Key": key}).is_success


def test_a_token_opens_no_other_route_and_no_other_account(api: Api, page: Api, acme: str, other: str) -> None:
    paths = api.ok("GET", "/openapi.json")["paths"]
    before, tried = state_of(api, acme, other), 0
    for path, operations in paths.items():
        for method, told in operations.items():
            opens = (method.upper(), path) in OPEN
            is_for_pages = any("token" in way for way in told["security"])
            assert (opens or (method.upper(), path) in OWN_PAGES) == is_for_pages, (method, path)
            if not told["security"]:
                continue
            for account in (other,) if opens else (acme, other):
                answer = page.request(method.upper(), plain_address(path, account), **about(account, path, told))
                assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), (method, path)
                tried += 1
    assert tried > 120
    assert state_of(api, acme, other) == before


def about(account: str, path: str, told: Any) -> dict[str, Any]:
    """The rest of a request about this account, as its example has it."""
    query = {"account": account, "accounts": account} if path.endswith("/stream") else {}
    if "requestBody" not in told:
        return {"params": query}
    body = example_of(told)
    if isinstance(body, dict):
        named = {"account": account, "accounts": [account], "context": {"targetingKey": account}}
        body = body | {name: value for name, value in named.items() if name in body}
    media_type = next(iter(told["requestBody"]["content"]))
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": media_type}, "params": query}


def state_of(api: Api, *accounts: str) -> Any:
    """What is kept of these accounts, and of all."""
    pages = [f"/v1/accounts/{key}{page}" for key in accounts for page in ("/timeline", "/balances/api_calls")]
    return [api.ok("GET", page) for page in (*pages, "/v1/catalog", "/v1/catalog/migrations", "/v1/sync/drift")]


def test_a_token_for_a_member_asks_for_that_member_alone(api: Api, acme: str) -> None:
    api.ok("PUT", f"/v1/accounts/{acme}/members/ann", json={"role": "admin"})
    with page_of(api, acme, member="ann") as page:
        same = api.check(acme, "audit_log", member="ann")["reason"]
        assert page.check(acme, "audit_log")["reason"] == page.check(acme, "audit_log", member="ann")["reason"] == same
        asked = {"context": {"targetingKey": acme, "member": "bob"}}
        for method, path, body in (
            ("POST", "/v1/check", {"account": acme, "feature": "audit_log", "member": "bob"}),
            ("GET", f"/v1/accounts/{acme}/decisions?member=bob", None),
            ("POST", FLAGS, asked),
            ("GET", "/ofrep/v1/stream?member=bob", None),
            ("POST", "/v1/snapshots", {"accounts": [acme]}),
        ):
            assert page.problem(403, method, path, json=body)["code"] == "insufficient_scope", path
        with followed(page) as stream:
            stream.next("hello")
            override(api, acme, value=True)
            assert stream.next("news")[0] == {"accounts": [acme]}
            assert not [event for event in stream._told if event.name == "views"]


def test_a_token_for_streams_opens_nothing_but_the_stream_of_flags(api: Api, acme: str) -> None:
    with page_of(api, acme, scopes=["stream:read"]) as page:
        assert page.get("/ofrep/v1/stream").is_success
        for method, path, body in (
            ("POST", "/v1/check", {"account": acme, "feature": "exports"}),
            ("GET", f"/v1/accounts/{acme}/decisions", None),
            ("GET", "/v1/stream", None),
            ("POST", FLAGS, {"context": {"targetingKey": acme}}),
        ):
            assert page.problem(403, method, path, json=body)["code"] == "insufficient_scope", path


def test_a_page_follows_its_own_account_whatever_it_names(api: Api, page: Api, acme: str, other: str) -> None:
    for number, query in enumerate(("", "?accounts=all", f"?accounts={acme}")):
        with followed(page, query) as stream:
            stream.next("hello")
            override(api, other, value=bool(number % 2))
            override(api, acme, value=bool(number % 2))
            assert stream.next("news")[0] == {"accounts": [acme]}
    assert page.problem(403, "GET", f"/v1/stream?accounts={acme},{other}")["code"] == "insufficient_scope"


def test_pages_of_one_account_leave_room_for_others(
    api: Api, page: Api, acme: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "PAGES_MAX", 1)
    with followed(page) as stream, page_of(api, other) as another:
        stream.next("hello")
        assert page.problem(503, "GET", "/v1/stream")["code"] == "too_many_streams"
        assert another.get("/v1/stream").is_success
        assert api.get("/v1/stream").is_success


# Who is not let in


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forgeries(api: Api, acme: str, other: str) -> Iterator[tuple[str, str]]:
    """Tokens that nobody of ours has signed, and what is wrong with each."""
    good = issued(api, acme)["token"]
    head, body, signature = good.split(".")
    claims, header = jwt.decode(good, options={"verify_signature": False}), jwt.get_unverified_header(good)
    (key,) = [key for key in api.ok("GET", "/.well-known/jwks.json")["keys"] if key["kid"] == header["kid"]]
    public: Any = ECAlgorithm.from_jwk(key)
    mine, kid = ec.generate_private_key(ec.SECP256R1()), {"kid": header["kid"]}
    yield "another account", f"{head}.{b64({**claims, 'sub': other})}.{signature}"
    yield "a later end", f"{head}.{b64({**claims, 'exp': claims['exp'] + 9_999})}.{signature}"
    yield "no signature", f"{head}.{body}."
    yield "a cut signature", f"{head}.{body}.{signature[:-4]}"
    yield "no algorithm", f"{b64({**header, 'alg': 'none'})}.{body}."
    yield "no algorithm, and a signature", f"{b64({**header, 'alg': 'none'})}.{body}.{signature}"
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, json.dumps(key).encode()):
        yield "the public key as a secret", signed_by_secret(claims, kid, secret)
    yield "another's key", jwt.encode(claims, mine, "ES256", kid)
    yield "another's key of another name", jwt.encode(claims, mine, "ES256", {"kid": "mine"})
    yield "no name of a key", jwt.encode(claims, mine, "ES256")
    yield "a key of its own", jwt.encode(claims, mine, "ES256", {"jwk": ECAlgorithm.to_jwk(mine.public_key(), True)})
    yield "a name that is no text", f"{b64({'alg': 'ES256', 'kid': ['a']})}.{body}.{signature}"
    yield "nothing", ".."
    yield "no JSON", f"{b64(b'no')}.{b64(b'json')}.{signature}"


def signed_by_secret(claims: Any, kid: Any, secret: bytes) -> str:
    """PyJWT itself refuses to make it."""
    told = f"{b64({'alg': 'HS256', 'typ': 'JWT', **kid})}.{b64(claims)}"
    return f"{told}.{b64(hmac.digest(secret, told.encode(), hashlib.sha256))}"


def test_a_forged_token_opens_nothing(api: Api, acme: str, other: str) -> None:
    for what, token in forgeries(api, acme, other):
        for way in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}):
            with Api(api.url, key=None) as forger:
                asked = {"context": {"targetingKey": other if "account" in what else acme}}
                answer = forger.post(FLAGS, json=asked, headers=way)
                assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), what
                streamed = forger.get("/ofrep/v1/stream", params={"token": token})
                assert streamed.status_code == 401, what
                checked = forger.post("/v1/check", json={"account": acme, "feature": "exports"}, headers=way)
                assert checked.status_code == 401, what


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "iat", "exp", "scopes"])
def test_a_token_of_ours_for_something_else_opens_nothing(api: Api, acme: str, database: str, claim: str) -> None:
    good = issued(api, acme)["token"]
    claims, header = jwt.decode(good, options={"verify_signature": False}), jwt.get_unverified_header(good)
    private = private_key(database, header["kid"])
    with Api(api.url, key=signed(claims, private, header)) as page:
        page.check(acme, "exports")
    without = {name: value for name, value in claims.items() if name != claim}
    for wrong in (without, {**claims, claim: "other"}, {**claims, claim: [7]}, {**claims, claim: {}}):
        with Api(api.url, key=signed(wrong, private, header)) as page:
            status = page.post("/v1/check", json={"account": acme, "feature": "exports"}).status_code
            assert status == (403 if wrong.get("sub") == "other" else 401), wrong


def signed(claims: Any, private: Any, header: Any) -> str:
    """Whatever the claims are: PyJWT's own way looks at them."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), private, "ES256", header)


def private_key(database: str, kid: str) -> Any:
    with psycopg.connect(database) as connection:
        row = connection.execute("select private_key from signing_keys where kid = %s", (kid,)).fetchone()
    assert row is not None
    return serialization.load_pem_private_key(row[0].encode(), None)


def test_a_token_ends_by_the_clock_that_is_followed_and_its_streams_with_it(postgres_url: str) -> None:
    start = datetime(2026, 1, 31, 12, tzinfo=UTC)
    with (
        simulator.running(start=start) as provider,
        migrated_database(postgres_url) as database_url,
        serving(Settings(clock_url=provider.url), database_url) as api,
        Api(provider.url, key=None) as control,
    ):
        api.ok("PUT", "/v1/accounts/acme", json={})
        told = issued(api, "acme", ttl_s=3600)
        assert told["expires_at"] == "2026-01-31T13:00:00Z"
        with Api(api.url, key=told["token"]) as page, followed(page) as stream:
            stream.next("views")
            page.check("acme", "exports")
            control.ok("POST", "/_simulator/clock", json={"to": "2026-01-31T12:59:59Z"})
            page.check("acme", "exports")
            control.ok("POST", "/_simulator/clock", json={"to": "2026-01-31T13:00:00Z"})
            assert {event.name for event in stream.rest()} <= {"beat"}
            ended = page.problem(401, "POST", "/v1/check", json={"account": "acme", "feature": "exports"})
            assert ended["detail"] == "this token ended at 2026-01-31T13:00:00Z; get another one"


# The keys


def test_of_many_processes_one_makes_the_key(postgres_url: str) -> None:
    with migrated_database(postgres_url) as url:

        async def race() -> list[IssuedToken]:
            async with AsyncExitStack() as stores:
                opened = [await stores.enter_async_context(Store(url)) for _ in range(6)]
                return await asyncio.gather(*[token_by(store) for store in opened])

        made = asyncio.run(race())
        with psycopg.connect(url) as connection:
            rows = connection.execute("select kid, private_key from signing_keys").fetchall()
        assert {jwt.get_unverified_header(its.token)["kid"] for its in made} == {kid for kid, _ in rows}
        assert len(rows) == 1
        assert not any("PRIVATE" in repr(its) for its in made)


async def token_by(store: Store) -> IssuedToken:
    """A token that a process issues which has never read a key."""
    at = datetime.now(UTC)
    keys = SigningKeys()
    token = await stream_token(store, keys, StreamTokens(), account="acme", member=None, at=at)
    key = await keys.named(store, token.kid)
    said = verify(token.text, key, at)
    return IssuedToken(token=token.text, **{name: getattr(said, name) for name in said.__struct_fields__})


def test_the_next_key_is_published_before_it_signs_and_the_one_before_verifies_until_its_last_token_ends(
    database_url: str,
) -> None:
    async def told() -> None:
        async with Store(database_url) as store:
            mine, others, at = SigningKeys(), SigningKeys(), datetime(2026, 1, 31, tzinfo=UTC)

            async def token(keys: SigningKeys, when: datetime) -> StreamToken:
                return await stream_token(store, keys, StreamTokens(), account="acme", member=None, at=when)

            first = await token(mine, at)
            await token(others, at)
            (old, new) = (await rotate(store, mine, revoke=False, at=at)).keys
            assert (old.kid, new.signs_from) == (first.kid, at + AHEAD)
            assert old.verifies_until == new.signs_from + TTL_MAX
            # A second time before that changes nothing, whoever asks.
            assert (await rotate(store, others, revoke=False, at=at)).keys == (old, new)
            assert (await token(mine, at + AHEAD - SECOND)).kid == old.kid
            assert (await token(others, at + AHEAD)).kid == new.kid
            last = await token(mine, at + AHEAD - SECOND)
            for when in (at, last.expires_at - SECOND):
                verify(last.text, await others.named(store, last.kid), when)
            assert [key.kid for key in await mine.published(store, old.verifies_until - SECOND)] == [old.kid, new.kid]
            assert [key.kid for key in await mine.published(store, old.verifies_until)] == [new.kid]
            # Nobody holds what has ended.
            (kept, newest) = (await rotate(store, mine, revoke=False, at=old.verifies_until)).keys
            assert (kept.kid, newest.signs_from) == (new.kid, old.verifies_until + AHEAD)
            (only,) = (await rotate(store, mine, revoke=True, at=old.verifies_until)).keys
            assert only.kid not in (old.kid, new.kid, newest.kid)
            with pytest.raises(Refused):
                verify(last.text, await mine.named(store, last.kid), at)

    asyncio.run(told())


def test_a_key_of_another_process_is_known_as_soon_as_a_token_names_it(api: Api, database: str, acme: str) -> None:
    issued(api, acme)
    with serving(Settings(), database, catalog=False) as another:
        another.ok("POST", "/v1/tokens/rotate", json={"revoke": True})
        with Api(api.url, key=issued(another, acme)["token"]) as page:
            eventually(lambda: page.get(f"/v1/accounts/{acme}/decisions").is_success)


def test_keys_and_tokens_are_in_no_log_and_no_answer(
    api: Api, acme: str, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = issued(api, acme, scopes=["stream:read"])
    with Api(api.url, key=None) as anyone:
        assert anyone.get("/ofrep/v1/stream", params={"token": told["token"]}).is_success
        for wrong in (told["token"] + "x", "a.b.c"):
            anyone.problem(401, "GET", f"/ofrep/v1/stream?token={wrong}")
        anyone.problem(401, "GET", f"/v1/stream?token={told['token']}")
        secret = private_key(database, jwt.get_unverified_header(told["token"])["kid"])
        private = b64(secret.private_numbers().private_value.to_bytes(32, "big"))
        assert private not in anyone.get("/.well-known/jwks.json").text
    logged = capsys.readouterr()
    assert "/ofrep/v1/stream" in logged.out + logged.err
    for hidden in (told["token"], told["token"].split(".")[2], private, "PRIVATE"):
        assert hidden not in logged.out + logged.err


def test_only_a_token_for_streams_alone_may_stand_in_an_address(api: Api, acme: str) -> None:
    with Api(api.url, key=None) as anyone:
        for scopes in (["decisions:read"], ["decisions:read", "stream:read"]):
            token = issued(api, acme, scopes=scopes)["token"]
            told = anyone.problem(403, "GET", f"/ofrep/v1/stream?token={token}")
            assert told["code"] == "insufficient_scope"
        # Nor is the admin key ever read there.
        anyone.problem(401, "GET", f"/ofrep/v1/stream?account={acme}&token={KEY}")


# Pages of other origins


def test_pages_of_any_origin_may_ask_what_tokens_open_and_nothing_else(api: Api, page: Api, acme: str) -> None:
    origin = {"Origin": "https://shop.example"}
    paths = api.ok("GET", "/openapi.json")["paths"]
    for path, operations in paths.items():
        wish = {**origin, "Access-Control-Request-Method": "POST"}
        answer = page.request("OPTIONS", plain_address(path, acme), headers=wish)
        opens = any((method.upper(), path) in OPEN | OWN_PAGES for method in operations)
        assert (answer.headers.get("access-control-allow-origin") == "*") == opens, path
        assert "access-control-allow-credentials" not in answer.headers
    # The short way has no words for pages: what they ask for goes to the routes, whoever they are.
    for asking in (api, page):
        answer = asking.post("/v1/check", json={"account": acme, "feature": "exports"}, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "*"
    allowed = page.request("OPTIONS", "/v1/stream", headers=wish).headers["access-control-allow-headers"]
    assert {"authorization", "last-event-id"} <= set(allowed.split(", "))
