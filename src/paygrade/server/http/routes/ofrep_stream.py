"""OFREP's event stream: it tells a page when to evaluate its flags anew.

Laws: it tells nothing else; whoever connects without having heard the last event is told at once, so that nothing is
missed between an answer and the stream; a flag that changes by a date is told when the date comes; usage is told when
an answer flips or at steps of a twentieth of a limit, and no more than a few times a second: each notice is a request.

https://github.com/open-feature/protocol: service/event-streams.yaml and ADR 8.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from litestar import get
from litestar.response import Stream
from msgspec import Struct
from msgspec.json import encode

from paygrade.decisions.decide import Decision, decide
from paygrade.decisions.snapshots import entitlements_at
from paygrade.entitlements.model import Entitlement
from paygrade.server.http.auth import KEY_HEADER, allowed_member, for_pages, is_page, still_counts, token_of
from paygrade.server.http.bodies import read_key
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import text
from paygrade.server.http.streams import HEADERS, RETRY_MS, Listening, next_date
from paygrade.server.operations.accounts import access
from paygrade.server.operations.tokens import stream_token
from paygrade.server.state.broadcast import Follower, Resumed, event
from paygrade.server.state.stream_tokens import StreamToken
from paygrade.values.errors import Refused, Unavailable

ADDRESS = "/ofrep/v1/stream"
INACTIVITY_S = 120
"""After how long out of sight a page should close its stream."""
STEPS, PAUSE_S = 20, 0.25


class StreamEndpoint(Struct, frozen=True):
    """Where a stream is, below the origin of the answer it stands in."""

    requestUri: str  # the protocol's own names, here and below


class EventStream(Struct, frozen=True):
    """A stream that tells when to evaluate anew. Its address holds a token: keep it secret."""

    endpoint: StreamEndpoint
    inactivityDelaySec: int = INACTIVITY_S
    type: Literal["sse"] = "sse"


class Notice(Struct, frozen=True):
    """Evaluate anew. `etag` and `lastModified` are sent along as `flagConfigEtag` and `flagConfigLastModified`."""

    etag: str
    lastModified: int
    type: Literal["refetchEvaluation"] = "refetchEvaluation"


class _Seen(Struct, frozen=True):
    """What flags come to, as far as a change of it is told, and until when no date changes it."""

    version: str
    flags: tuple[Any, ...]  # of every type
    until: datetime


class Address(NamedTuple):
    """Where a page hears of changes, and the token in that address."""

    event_stream: EventStream
    token: StreamToken


async def stream_of(context: Context, account: str, member: str | None) -> Address | None:
    """The address for this account, and member; None while there is no key to sign its token with."""
    try:
        token = await stream_token(
            context.store, context.signing_keys, context.stream_tokens,
            account=account, member=member, at=context.clock.now(),
        )  # fmt: skip
    except Unavailable:
        return None
    return Address(EventStream(StreamEndpoint(f"{ADDRESS}?token={token.text}")), token)


@get(
    ADDRESS,
    opt={KEY_HEADER: "x-api-key", **for_pages(parameter="token")}
    | describe("openfeature", media_type="text/event-stream", problems=("targeting_key_missing",), scope="stream:read"),
)
async def follow_flags(
    request: HttpRequest,
    context: InContext,
    account: Annotated[str | None, text("Whose flags; the token's account if absent.")] = None,
    member: Annotated[str | None, text("Who asks, for features with roles or seats.")] = None,
    token: Annotated[str | None, text("An account token with the scope `stream:read`.")] = None,  # noqa: ARG001  # the guard reads it
) -> Stream:
    """Follow flags.

    Server-sent events (OFREP) that tell a page to evaluate its flags anew: `{type: "refetchEvaluation", etag,
    lastModified}`. The address, with its token, is in `eventStreams` of every evaluation of all flags. With
    `Last-Event-ID`, what was missed is told at once. Refused `invalid_key`. Unavailable `too_many_streams`.
    """
    shown = token_of(request)
    account = account or (shown.account if shown is not None else None)
    if account is None:
        raise Refused("targeting_key_missing", "name the account as `account` in the query")
    member = allowed_member(request, read_key(account, pointer="", noun="account"), member)
    follower, resumed = context.snapshots.broadcast.follow(
        [account], request.headers.get("last-event-id"), is_of_page=is_page(request)
    )
    until = shown.expires_at if shown is not None else None
    listening = Listening(follower, context.clock, until=until, counts=still_counts(request, context))
    notices = _notices(context, follower, listening, resumed, account, member)
    return Stream(notices, media_type="text/event-stream", headers=HEADERS)


async def _notices(
    context: Context, follower: Follower, listening: Listening, resumed: Resumed, account: str, member: str | None
) -> AsyncIterator[bytes]:
    broadcast, loop = context.snapshots.broadcast, asyncio.get_running_loop()
    try:
        # What was missed is one thing to be told, however much it was.
        follower.missed()
        seen, looked_at_s = await _look(context, account, member), loop.time()
        yield b"retry: %d\n\n" % RETRY_MS
        if resumed != "none":
            yield _notice(context, seen, broadcast.position())
        while True:
            told = await listening.next(seen.until)
            if told is None:
                yield b": beat\n\n"
            elif (wait_s := looked_at_s + PAUSE_S - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            follower.missed()
            # Whatever is told after this is still to be looked at.
            position = broadcast.position()
            before, seen, looked_at_s = seen, await _look(context, account, member), loop.time()
            if (seen.version, seen.flags) != (before.version, before.flags):
                yield _notice(context, seen, position)
    except (EOFError, Unavailable):
        return
    finally:
        broadcast.leave(follower)


def _notice(context: Context, seen: _Seen, position: str) -> bytes:
    notice = Notice(seen.version, int(context.clock.now().timestamp()))
    return event("message", encode(notice), id=position)


async def _look(context: Context, account: str, member: str | None) -> _Seen:
    at = context.clock.now()
    features = await access.offered(context.store, context.snapshots)
    found = await context.snapshots.load(context.store, account, at)
    decided = [decide(found, feature, 1, at, member=member) for feature in features]
    held = entitlements_at(found, at)
    flags = tuple([_what_counts(held.get(decision.feature), decision) for decision in decided])
    return _Seen(found.version, flags, min([next_date(found, at), *_returns(decided, at)]))


def _returns(decided: Iterable[Decision], at: datetime) -> list[datetime]:
    """When there is more again of what is used up now."""
    return [its.resets_at for its in decided if not its.allowed and its.resets_at is not None and its.resets_at > at]


def _what_counts(its: Entitlement | None, decision: Decision) -> tuple[Any, ...]:
    """What of a decision is told when it changes. Any: of every type."""
    # Of a window that rolls, units come back all the time.
    resets_at = decision.resets_at if its is not None and its.rolling_s is None else None
    # What credits buy is another number after each use, by what is rounded; the credit's own limit tells of more.
    limit = decision.limit if its is not None and its.credit is None else None
    used = (decision.used or 0) + (decision.reserved or 0)
    step = used * STEPS // decision.limit if decision.limit else 0
    told = decision.allowed, decision.reason, decision.value, decision.plan, limit
    return (decision.feature, *told, resets_at, step)
