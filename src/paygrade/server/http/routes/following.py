"""Following accounts: the stream of what changes, and accounts as they are now, for those who decide by themselves."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.response import Stream
from msgspec import Meta, Struct

from paygrade.catalog.offers import OnError
from paygrade.decisions.following import Beat, Hello, Remembered, Views
from paygrade.decisions.sending import views
from paygrade.server.http.bodies import invalid, read_body, read_key
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import text
from paygrade.server.state.broadcast import Follower, Resumed, event
from paygrade.values.errors import Mistake

BEAT_S = 5.0
"""How often the time is told. Whoever hears nothing for 2.5 times that has lost the stream."""
RETRY_MS = 1_000
"""How long a client should wait before it connects again, about: it spreads that by chance."""
NAMED_MAX, READ_MAX = 100, 200
"""Accounts that a stream may name, and that one call may read."""
HEADERS = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""Nothing on the way may keep events back."""

_encode = msgspec.json.Encoder().encode


class Wanted(Struct, frozen=True):
    """Accounts to be read."""

    accounts: Annotated[tuple[str, ...], Meta(max_length=READ_MAX)]


@post("/v1/snapshots", status_code=200, opt=describe("decisions", sent=Sent({"accounts": ["acme"]}, Wanted)))
async def read_snapshots(request: HttpRequest, context: InContext) -> Views:
    """Read accounts for deciding by oneself.

    Each account with its entitlements and balances, and with the dates at which they change by themselves: what an SDK
    keeps, and keeps current by `GET /v1/stream`. An unknown account is one with `known: false`. Refused `invalid_key`.
    """
    wanted = read_body(Wanted, await request.body())
    accounts = list(dict.fromkeys(read_key(key, pointer="/accounts", noun="account") for key in wanted.accounts))
    return await _read(context, accounts)


@get("/v1/stream", opt=describe("decisions", media_type="text/event-stream"))
async def stream(
    request: HttpRequest,
    context: InContext,
    accounts: Annotated[str | None, text(f"Only these, up to {NAMED_MAX}, with commas between; all if absent.")] = None,
) -> Stream:
    """Follow changes.

    Server-sent events, for as long as the connection lasts: `news` (accounts to be read anew, counts of balances, a new
    catalog), `beat` with the server's time every few seconds. With `Last-Event-ID` it goes on after that event: what
    was missed comes first, then `hello`. Where accounts are named, `views` shows each of them as it is now and whenever
    it has changed. Refused `invalid_key`, `invalid_query`. Unavailable `too_many_streams`.
    """
    named = None
    if accounts is not None and accounts != "all":
        named = accounts.split(",", NAMED_MAX)
        if len(named) > NAMED_MAX:
            mistake = Mistake("", f"`accounts` names more than {NAMED_MAX}; follow `all`")
            raise invalid("invalid_query", "the query", [mistake])
        named = [read_key(key, pointer="", noun="account") for key in dict.fromkeys(named)]
    follower, resumed = context.snapshots.broadcast.follow(named, request.headers.get("last-event-id"))
    return Stream(_events(context, follower, resumed, named), media_type="text/event-stream", headers=HEADERS)


async def _events(
    context: Context, follower: Follower, resumed: Resumed, named: list[str] | None
) -> AsyncIterator[bytes]:
    broadcast = context.snapshots.broadcast
    try:
        # Who hears `hello` has all that was missed.
        for body in follower.missed():
            yield body
        now, still = context.clock.now(), context.clock.stands_still
        catalog = (await context.snapshots.catalog(context.store)).version
        hello = Hello(now=now, stands_still=still, resumed=resumed, beat_s=BEAT_S, catalog=catalog)
        # Who goes on keeps its place, or has it from what was missed.
        at = broadcast.position() if resumed == "full" else None
        yield b"retry: %d\n" % RETRY_MS + event("hello", _encode(hello), id=at)
        if named is not None:
            yield event("views", _encode(await _read(context, named)))
        while True:
            told = await follower.next(BEAT_S)
            if told is None or not told[0]:
                yield event("beat", _encode(Beat(now=context.clock.now(), stands_still=context.clock.stands_still)))
                continue
            body, changed = told
            yield body
            if named is not None and changed:
                yield event("views", _encode(await _read(context, list(changed))))
    except EOFError:
        return
    finally:
        broadcast.leave(follower)


async def _read(context: Context, accounts: list[str]) -> Views:
    at = context.clock.now()
    found: list[Remembered] = []
    on_error: dict[str, OnError] = {}
    for begin in range(0, len(accounts), READ_MAX):
        some, on_error = await context.snapshots.read_anew(context.store, accounts[begin : begin + READ_MAX], at)
        found += some
    shapes, seen = views(found)
    return Views(now=at, stands_still=context.clock.stands_still, shapes=shapes, accounts=seen, on_error=on_error)
