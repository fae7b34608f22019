"""API keys: who may ask, and what."""

from typing import Annotated

from litestar import get, post
from litestar.params import FromPath

from paygrade.server.http.auth import scopes_of
from paygrade.server.http.bodies import read_body
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import PageSize, choice, read_choice, text
from paygrade.server.http.routes import examples
from paygrade.server.operations import api_keys
from paygrade.server.operations.api_keys import (
    KEY_STATES,
    CreatedKey,
    KeyList,
    KeyRequest,
    KeyRevocation,
    KeyRotation,
    KeyView,
)

_ONCE = {"cache-control": "no-store"}
"""A secret stays nowhere on the way."""


@post(
    "/v1/keys",
    status_code=201,
    response_headers=_ONCE,
    opt=describe(
        "keys",
        api_keys.create,
        scope="keys:write",
        sent=Sent(examples.KEY_REQUEST, KeyRequest),
        example=examples.CREATED_KEY,
    ),
)
async def create_key(request: HttpRequest, context: InContext) -> CreatedKey:
    asked = read_body(KeyRequest, await request.body())
    granted, at = scopes_of(request), context.clock.now()
    return await api_keys.create(context.store, asked, mode=context.keys.mode, granted=granted, at=at)


@get(
    "/v1/keys",
    opt=describe("keys", api_keys.list_keys, scope="keys:read", example={"keys": [examples.KEY], "next": None}),
)
async def list_keys(
    context: InContext,
    in_state: Annotated[str | None, choice("state", KEY_STATES, "Only keys in this state.")] = None,
    after: Annotated[str, text("Keys after this id; the `next` of the page before.")] = "",
    limit: PageSize = 100,
) -> KeyList:
    state, at = read_choice(in_state, KEY_STATES, name="state"), context.clock.now()
    return await api_keys.list_keys(context.store, after=after, limit=limit, state=state, at=at)


@get("/v1/keys/{api_key:str}", opt=describe("keys", api_keys.get_key, scope="keys:read", example=examples.KEY))
async def get_key(api_key: FromPath[str], context: InContext) -> KeyView:
    return await api_keys.get_key(context.store, id=api_key, at=context.clock.now())


@post(
    "/v1/keys/{api_key:str}/rotate",
    status_code=200,
    response_headers=_ONCE,
    opt=describe(
        "keys",
        api_keys.rotate,
        scope="keys:write",
        sent=Sent({"overlap_s": 86_400}, KeyRotation),
        example=examples.ROTATED_KEY,
    ),
)
async def rotate_key(api_key: FromPath[str], request: HttpRequest, context: InContext) -> CreatedKey:
    asked = read_body(KeyRotation, await request.body())
    granted, at = scopes_of(request), context.clock.now()
    return await api_keys.rotate(context.store, asked, id=api_key, granted=granted, at=at)


@post(
    "/v1/keys/{api_key:str}/revoke",
    status_code=200,
    opt=describe(
        "keys",
        api_keys.revoke,
        scope="keys:write",
        sent=Sent({"reason": "it stood in a log"}, KeyRevocation),
        example=examples.REVOKED_KEY,
    ),
)
async def revoke_key(api_key: FromPath[str], request: HttpRequest, context: InContext) -> KeyView:
    said = read_body(KeyRevocation, await request.body() or b"{}")
    return await api_keys.revoke(context.store, id=api_key, reason=said.reason, at=context.clock.now())
