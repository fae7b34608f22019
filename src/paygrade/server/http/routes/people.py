"""People: log in and out, who one is, and who may log in.

Laws: a browser holds its session in a cookie that no script reads and no other site sends; log-in and log-out count
from our own pages alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

from litestar import Response, delete, get, post, put
from litestar.params import FromPath
from msgspec import Struct
from msgspec.json import encode

from paygrade.server.http.auth import SESSION, caller_of, refuse_other_origin, scopes_of, session_cookie
from paygrade.server.http.bodies import read_body
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import PageSize, Reason, text
from paygrade.server.http.problems import TOLD, rate_fields, request_id
from paygrade.server.http.routes import examples
from paygrade.server.operations import people
from paygrade.server.operations.people import (
    LogIn,
    PasswordChange,
    PersonList,
    PersonRequest,
    PersonView,
    PersonWithPassword,
    Reset,
    RoleRequest,
    SignedIn,
    TooSoon,
)
from paygrade.server.process.acting import SYSTEM, Acting, set_acting
from paygrade.values.errors import Refused

_ONCE = {"cache-control": "no-store"}
DATABASE = ("clock_unavailable", "database_unavailable", "contended")


class Me(Struct, frozen=True):
    """Who asks: the kind (`key`, `person` or `account_token`), their id and name, and what they may do. `person`: them,
    if it is a person."""

    kind: str
    id: str
    name: str
    scopes: tuple[str, ...]
    person: PersonView | None = None


@post(
    "/v1/login",
    status_code=200,
    opt=describe(
        "people", people.log_in, scope=None, sent=Sent(examples.LOG_IN, LogIn), example=examples.PERSON,
        kind=PersonView, problems=("cross_site", *DATABASE),
    ),
)  # fmt: skip
async def log_in(request: HttpRequest, context: InContext) -> Response[bytes]:
    refuse_other_origin(request)
    asked, at = read_body(LogIn, await request.body()), context.clock.now()
    address = request.client.host if request.client is not None else None
    set_acting(Acting(SYSTEM.actor, address, request_id(request)))
    with limited(request, context):
        session = await people.log_in(context.store, context.passwords, asked, at)
    secure = request.headers.get("origin", "").startswith("https:")
    cookie = session_cookie(session.secret, session.ends_at - at, secure=secure)
    return Response(encode(session.person), media_type="application/json", headers={**_ONCE, "set-cookie": cookie})


@contextmanager
def limited(request: HttpRequest, context: Context) -> Iterator[None]:
    """Count an attempt of whoever asks. Refused `rate_limited`, by the address or by what is inside of the block."""
    try:
        context.attempts.take(request.client.host if request.client is not None else "")
    except TooSoon as error:
        told = rate_fields("log-in", people.ATTEMPTS_A_MINUTE, left=0, wait_s=error.wait_s, refused=True)
        raise _too_soon(request, error, told) from None
    try:
        yield
    except TooSoon as error:  # after failures, which is no rate
        raise _too_soon(request, error, [(b"retry-after", str(error.wait_s).encode())]) from None


@post(
    "/v1/logout",
    status_code=204,
    opt=describe("people", people.log_out, scope=None, kind=type(None), problems=("cross_site", *DATABASE)),
)
async def log_out(request: HttpRequest, context: InContext) -> Response[None]:
    refuse_other_origin(request)
    held = request.cookies.get(SESSION)
    if held is not None:
        await people.log_out(context.store, held)
    ended = session_cookie("", timedelta(0), secure=False)
    return Response(None, status_code=204, headers={"set-cookie": ended})


@get("/v1/me", opt=describe("people", scope=None, example=examples.ME, problems=("unauthenticated", *DATABASE)))
async def me(request: HttpRequest, context: InContext) -> Me:
    """Who am I?

    Who asks, by session, key or account token, and the scopes they have. Refused `unauthenticated`,
    `address_not_allowed`, `rate_limited`.
    """
    caller, actor, scopes = await caller_of(request, context)
    person = caller.person if isinstance(caller, SignedIn) else None
    return Me(actor.kind, actor.id, actor.name, tuple(sorted(scopes)), person)


@post(
    "/v1/me/password",
    status_code=200,
    opt=describe(
        "people", people.change_password, scope=None, sent=Sent(examples.PASSWORD_CHANGE, PasswordChange),
        example=examples.PERSON, problems=("cross_site", "unauthenticated", *DATABASE),
    ),
)  # fmt: skip
async def change_password(request: HttpRequest, context: InContext) -> PersonView:
    caller, actor, _ = await caller_of(request, context)
    if not isinstance(caller, SignedIn):
        raise Refused("unauthenticated", "a password is changed by whoever has it; log in, and send no key")
    asked, at = read_body(PasswordChange, await request.body()), context.clock.now()
    address = request.client.host if request.client is not None else None
    set_acting(Acting(actor, address, request_id(request)))
    with limited(request, context):
        return await people.change_password(
            context.store, context.passwords, asked, caller, secret=request.cookies[SESSION], at=at
        )


@get("/v1/people", opt=describe("people", people.list_people, scope="people:read", example=examples.PEOPLE))
async def list_people(
    context: InContext,
    after: Annotated[str, text("People after this id; the `next` of the page before.")] = "",
    limit: PageSize = 100,
) -> PersonList:
    return await people.list_people(context.store, after=after, limit=limit)


@post(
    "/v1/people",
    status_code=201,
    response_headers=_ONCE,
    opt=describe("people", people.add, scope="people:write", sent=Sent(examples.PERSON_REQUEST, PersonRequest),
                 example=examples.ADDED_PERSON),
)  # fmt: skip
async def add_person(request: HttpRequest, context: InContext) -> PersonWithPassword:
    asked = read_body(PersonRequest, await request.body())
    granted, at = scopes_of(request), context.clock.now()
    return await people.add(context.store, context.passwords, asked, granted=granted, at=at)


@put(
    "/v1/people/{person:str}/role",
    opt=describe("people", people.set_role, scope="people:write", sent=Sent({"role": "finance"}, RoleRequest),
                 example={**examples.PERSON, "role": "finance"}),
)  # fmt: skip
async def set_role(person: FromPath[str], request: HttpRequest, context: InContext) -> PersonView:
    asked = read_body(RoleRequest, await request.body())
    return await people.set_role(context.store, asked, id=person, granted=scopes_of(request), at=context.clock.now())


@post(
    "/v1/people/{person:str}/reset",
    status_code=200,
    response_headers=_ONCE,
    opt=describe("people", people.reset, scope="people:write", sent=Sent({"totp": True}, Reset),
                 example=examples.ADDED_PERSON),
)  # fmt: skip
async def reset_person(person: FromPath[str], request: HttpRequest, context: InContext) -> PersonWithPassword:
    asked = read_body(Reset, await request.body())
    granted, at = scopes_of(request), context.clock.now()
    return await people.reset(context.store, context.passwords, asked, id=person, granted=granted, at=at)


@delete("/v1/people/{person:str}", opt=describe("people", people.remove, scope="people:write"))
async def remove_person(person: FromPath[str], context: InContext, reason: Reason = "") -> None:
    await people.remove(context.store, id=person, reason=reason, at=context.clock.now())


def _too_soon(request: HttpRequest, error: TooSoon, told: list[tuple[bytes, bytes]]) -> Refused:
    request.scope["state"][TOLD] = told
    return Refused("rate_limited", f"there were too many attempts; try again in {error.wait_s} seconds")
