"""Following accounts: the stream of what changes, and accounts as they are now, for those who decide by themselves."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.response import Stream
from msgspec import Meta, Struct

from paygrade.catalog.offers import OnError
from paygrade.decisions.following import Beat, Hello, News, Views
from paygrade.decisions.sending import views
from paygrade.decisions.snapshots import Snapshot
from paygrade.server.http import streams
from paygrade.server.http.auth import allowed_member, open_to, token_of
from paygrade.server.http.bodies import invalid, read_body, read_key
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.parameters import text
from paygrade.server.http.streams import HEADERS, RETRY_MS, Listening, next_date
from paygrade.server.state.broadcast import Follower, Resumed, event
from paygrade.values.errors import Mistake, Refused, Unavailable

NAMED_MAX, READ_MAX = 100, 200
"""Accounts that a stream may name, and that one call may read."""

_encode = msgspec.json.Encoder().encode


class Wanted(Struct, frozen=True):
    """Accounts to be read."""

    accounts: Annotated[tuple[str, ...], Meta(max_length=READ_MAX)]


@post(
    "/v1/snapshots",
    status_code=200,
    opt=open_to("decisions:read") | describe("decisions", sent=Sent({"accounts": ["acme"]}, Wanted), repeating="reads"),
)
async def read_snapshots(request: HttpRequest, context: InContext) -> Views:
    """Read accounts for deciding by oneself.

    Each account with its entitlements and balances, and with the dates at which they change by themselves: what an SDK
    keeps, and keeps current by `GET /v1/stream`. An unknown account is one with `known: false`. A token for a member
    does not open whole accounts. Refused `invalid_key`.
    """
    wanted = read_body(Wanted, await request.body())
    accounts = list(dict.fromkeys(read_key(key, pointer="/accounts", noun="account") for key in wanted.accounts))
    for account in accounts:
        allowed_member(request, account, None)
    if _is_for_a_member(request):
        raise Refused("insufficient_scope", "a token for a member does not open whole accounts; ask for decisions")
    return await _read(context, accounts)


@get("/v1/stream", opt=open_to("decisions:read") | describe("decisions", media_type="text/event-stream"))
async def stream(
    request: HttpRequest,
    context: InContext,
    accounts: Annotated[str | None, text(f"Only these, up to {NAMED_MAX}, with commas between; all if absent.")] = None,
) -> Stream:
    """Follow changes.

    Server-sent events, for as long as the connection lasts: `news` (accounts to be read anew, counts of balances, a new
    catalog), `beat` with the server's time every few seconds. With `Last-Event-ID` it goes on after that event: what
    was missed comes first, then `hello`. Accounts that are named are news when a date changes what they have, too, and
    `views` shows each of them as it is now and whenever it has changed. With an account token it follows that account,
    without `views` if the token is for a member, and ends with the token. Refused `invalid_key`, `invalid_query`.
    Unavailable `too_many_streams`.
    """
    token, named = token_of(request), None
    if accounts is not None and accounts != "all":
        named = _read_names(accounts)
    if token is not None:
        for account in named or ():
            allowed_member(request, account, None)
        named = [token.account]
    follower, resumed = context.snapshots.broadcast.follow(
        named, request.headers.get("last-event-id"), is_of_page=token is not None
    )
    listening = Listening(follower, context.clock, until=token.expires_at if token is not None else None)
    events = _events(context, follower, listening, resumed, named, with_views=not _is_for_a_member(request))
    return Stream(events, media_type="text/event-stream", headers=HEADERS)


def _read_names(accounts: str) -> list[str]:
    named = accounts.split(",", NAMED_MAX)
    if len(named) > NAMED_MAX:
        mistake = Mistake("", f"`accounts` names more than {NAMED_MAX}; follow `all`")
        raise invalid("invalid_query", "the query", [mistake])
    return [read_key(key, pointer="", noun="account") for key in dict.fromkeys(named)]


def _is_for_a_member(request: HttpRequest) -> bool:
    token = token_of(request)
    return token is not None and token.member is not None


async def _events(
    context: Context,
    follower: Follower,
    listening: Listening,
    resumed: Resumed,
    named: list[str] | None,
    *,
    with_views: bool,
) -> AsyncIterator[bytes]:
    broadcast = context.snapshots.broadcast
    try:
        # Who hears `hello` has all that was missed.
        for body in follower.missed():
            yield body
        now, still = context.clock.now(), context.clock.stands_still
        catalog = (await context.snapshots.catalog(context.store)).version
        hello = Hello(now=now, stands_still=still, resumed=resumed, beat_s=streams.BEAT_S, catalog=catalog)
        # Who goes on keeps its place, or has it from what was missed.
        at = broadcast.position() if resumed == "full" else None
        yield b"retry: %d\n" % RETRY_MS + event("hello", _encode(hello), id=at)
        # Before the accounts are read: a date that comes meanwhile is still one to be told.
        dates = await _next_dates(context, named or (), now)
        if named is not None and with_views:
            yield event("views", _encode(await _read(context, named)))
        while True:
            told = await listening.next(min(dates.values(), default=None))
            now = context.clock.now()
            due = tuple([account for account in dates if dates[account] <= now])
            if told is not None:
                yield told[0]
            if due:
                yield event("news", _encode(News(accounts=due)))
            elif told is None:
                yield event("beat", _encode(Beat(now=now, stands_still=context.clock.stands_still)))
            dates = await _next_dates(context, named or (), now)
            changed = list(dict.fromkeys([*(told[1] if told is not None else ()), *due]))
            if named is not None and changed and with_views:
                yield event("views", _encode(await _read(context, changed)))
    except (EOFError, Unavailable):
        return
    finally:
        broadcast.leave(follower)


async def _next_dates(context: Context, accounts: Sequence[str], at: datetime) -> dict[str, datetime]:
    """When a date changes next what each of these has."""
    found = await context.snapshots.load_all(context.store, accounts, at)
    return {account: next_date(snapshot, at) for account, snapshot in found.items()}


async def _read(context: Context, accounts: list[str]) -> Views:
    at = context.clock.now()
    found: list[Snapshot] = []
    on_error: dict[str, OnError] = {}
    for begin in range(0, len(accounts), READ_MAX):
        some, on_error = await context.snapshots.read_anew(context.store, accounts[begin : begin + READ_MAX], at)
        found += some
    shapes, seen = views(found)
    return Views(now=at, stands_still=context.clock.stands_still, shapes=shapes, accounts=seen, on_error=on_error)
