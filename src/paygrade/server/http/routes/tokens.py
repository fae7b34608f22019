"""Account tokens: what a page is given to read its own account with, and the keys that verify them."""

from typing import Any

from litestar import get, post
from litestar.params import FromPath
from msgspec import Struct

from paygrade.server.http.bodies import invalid, read_body, read_key
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.tokens import IssuedToken, PublishedKeys, TokenRequest, issue, rotate
from paygrade.server.process.account_tokens import jwk
from paygrade.values.errors import Mistake

KEY_SET_AGE_S = 300
"""How long others may keep the key set; a key is published longer than that before it signs."""


class JsonWebKeySet(Struct, frozen=True):
    """Public keys as RFC 7517 has them. Any: the members of a JSON Web Key."""

    keys: list[dict[str, Any]]


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How the key is rotated. `revoke`: every token that was issued before ends."""

    revoke: bool = False


@post(
    "/v1/accounts/{account:str}/tokens",
    status_code=200,
    response_headers={"cache-control": "no-store"},
    opt=describe(
        "tokens",
        issue,
        sent=Sent({"member": "ann", "ttl_s": 900}, TokenRequest),
        example=examples.TOKEN,
        repeating="safe",
    ),
)
async def issue_token(account: FromPath[str], request: HttpRequest, context: InContext) -> IssuedToken:
    asked = read_body(TokenRequest, await request.body())
    if not asked.scopes:
        raise invalid("invalid_body", "the body", [Mistake("/scopes", "is empty; name one, or leave it out")])
    if asked.member is not None:
        read_key(asked.member, pointer="/member", noun="member")
    at = context.clock.now()
    return await issue(context.store, context.snapshots, context.signing_keys, asked, account=account, at=at)


@post(
    "/v1/tokens/rotate",
    status_code=200,
    opt=describe("tokens", rotate, sent=Sent({"revoke": False}, Rotation), example=examples.PUBLISHED_KEYS),
)
async def rotate_signing_key(request: HttpRequest, context: InContext) -> PublishedKeys:
    wanted = read_body(Rotation, await request.body())
    return await rotate(context.store, context.signing_keys, revoke=wanted.revoke, at=context.clock.now())


@get(
    "/.well-known/jwks.json",
    response_headers={"cache-control": f"public, max-age={KEY_SET_AGE_S}", "access-control-allow-origin": "*"},
    opt=describe(
        "tokens",
        needs_key=False,
        problems=("database_unavailable", "clock_unavailable", "contended"),
        example=examples.KEY_SET,
    ),
)
async def jwks(context: InContext) -> JsonWebKeySet:
    """Get the key set.

    The public keys that account tokens are verified with, by `kid` (RFC 7517): for those who verify a token themselves.
    It has no keys before the first token was issued.
    """
    published = await context.signing_keys.published(context.store, context.clock.now())
    return JsonWebKeySet([dict(jwk(key)) for key in published])
