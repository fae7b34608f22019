"""Account tokens: what they open, and what nobody is let in with."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from support.server_process import Api

OPEN = {
    ("POST", "/v1/check"),
    ("GET", "/v1/accounts/{account}/decisions"),
    ("GET", "/v1/stream"),
    ("POST", "/v1/snapshots"),
    ("POST", "/ofrep/v1/evaluate/flags"),
    ("POST", "/ofrep/v1/evaluate/flags/{key}"),
}
"""All that a token for `decisions:read` opens."""


def issued(api: Api, account: str, **asked: Any) -> Any:
    return api.ok("POST", f"/v1/accounts/{account}/tokens", json=asked)


@pytest.fixture
def page(api: Api, acme: str) -> Iterator[Api]:
    """A client that holds a token for `acme`."""
    with Api(api.url, key=issued(api, acme)["token"]) as client:
        yield client


def test_a_token_says_whom_it_is_for_and_is_verified_by_the_key_set(api: Api, acme: str) -> None:
    told = issued(api, acme, member="ann", ttl_s=60)
    with Api(api.url, key=None) as anyone:
        (key,) = anyone.ok("GET", "/.well-known/jwks.json")["keys"]
    assert {"kty", "crv", "x", "y", "kid", "use", "alg"} == set(key)
    public: Any = ECAlgorithm.from_jwk(key)
    claims = jwt.decode(told["token"], public, ["ES256"], audience="paygrade", issuer="paygrade")
    assert jwt.get_unverified_header(told["token"])["kid"] == key["kid"]
    assert (claims["sub"], claims["member"], claims["scopes"]) == (acme, "ann", ["decisions:read"])
    assert claims["exp"] - claims["iat"] == 60
    assert datetime.fromisoformat(told["expires_at"]).timestamp() == claims["exp"]


def test_a_page_reads_its_own_account(page: Api, acme: str) -> None:
    assert page.check(acme, "projects")["allowed"] is True
    assert page.ok("GET", f"/v1/accounts/{acme}/decisions")["account"] == acme
    assert page.ok("POST", "/v1/snapshots", json={"accounts": [acme]})["accounts"][0]["snapshot"]["account"] == acme
    asked = {"context": {"targetingKey": acme}}
    assert page.ok("POST", "/ofrep/v1/evaluate/flags", json=asked)["flags"]
    assert page.ok("POST", "/ofrep/v1/evaluate/flags/projects", json=asked)["value"] is True
    assert page.get("/v1/stream").is_success
