"""Updates: the log of state updates, the latest first, and as it grows."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from litestar import Response
from litestar.response import Stream

from paygrade.server.http.auth import still_counts
from paygrade.server.http.bodies import invalid, read_key
from paygrade.server.http.console.live import live
from paygrade.server.http.console.rendering import page
from paygrade.server.http.console.screens import screen
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.parameters import number, text
from paygrade.server.http.streams import Listening
from paygrade.server.operations import update_log
from paygrade.server.state.broadcast import event
from paygrade.updates.log import Update
from paygrade.updates.types import TYPES
from paygrade.values.errors import Mistake
from paygrade.values.text import one_of

SHOWN, TOLD_MAX = 50, 200
"""On a page, and at once of what has come."""

_Kind = Annotated[str, text("Only updates of this type.")]
_Account = Annotated[str, text("Only updates of this account.")]


@screen("/updates", scope="updates:read")
async def show_updates(
    request: HttpRequest,
    context: InContext,
    type: _Kind = "",
    account: _Account = "",
    before: Annotated[int | None, number("Updates before this position.")] = None,
) -> Response[str]:
    found = await update_log.latest_updates(
        context.store, before=before, limit=SHOWN, types=_types(type), account=_named(account)
    )
    return page(
        request,
        "updates.html",
        updates=found.updates,
        next=found.next,
        end=found.end,
        before=before,
        type=type,
        account=account,
        types=[("", "Every type"), *((each, each) for each in TYPES)],
    )


@screen("/updates/tail", scope="updates:read")
async def follow_updates(
    request: HttpRequest,
    context: InContext,
    type: _Kind = "",
    account: _Account = "",
    after: Annotated[int, number("Updates behind this position.")] = 0,
) -> Stream:
    """What comes, as server-sent events: each is an update as JSON, with its position as id."""
    types, named = _types(type), _named(account)
    last = request.headers.get("last-event-id", "")
    begin = int(last) if last.isascii() and last.isdecimal() and len(last) <= 18 else after
    follower, _ = context.snapshots.broadcast.follow([named] if named else None, None)
    listening = Listening(follower, context.clock, until=None, counts=still_counts(request, context))
    return live(context, follower, _tail(context, listening, begin, types, named))


async def _tail(
    context: Context,
    listening: Listening,
    begin: int,
    types: frozenset[str] | None,
    account: str | None,
) -> AsyncIterator[bytes]:
    """The log is looked at whenever an account has changed, and with every beat: not all updates are about accounts,
    and one gets its place in the log a moment after what it tells of was saved."""
    while True:
        found = await update_log.list_updates(context.store, after=begin, limit=TOLD_MAX, types=types, account=account)
        for each in found.updates:
            yield event("row", msgspec.json.encode(_told(each)), id=str(each.position))
        begin = found.next
        if len(found.updates) == TOLD_MAX:
            continue
        if not found.updates:
            yield b": beat\n\n"
        await listening.next(None)


def _told(update: Update) -> dict[str, str]:
    """What a row of the page shows of it."""
    return {
        "head": update.type,
        "sub": f"position {update.position}",
        "account": update.account or "",
        "at": update.occurred_at.isoformat(),
        "data": msgspec.json.format(msgspec.json.encode(update.data), indent=2).decode(),
    }


def _types(named: str) -> frozenset[str] | None:
    if named and named not in TYPES:
        mistake = Mistake("", f"there is no type `{named[:100]}`; the types are {one_of([*TYPES])}")
        raise invalid("invalid_query", "the query", [mistake])
    return frozenset({named}) if named else None


def _named(account: str) -> str | None:
    return read_key(account, pointer="", noun="account") if account else None
