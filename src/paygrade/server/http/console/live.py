"""What a page is told for as long as it stays open, as server-sent events."""

from collections.abc import AsyncIterator

from litestar.response import Stream

from paygrade.server.http.context import Context
from paygrade.server.http.streams import HEADERS, RETRY_MS
from paygrade.server.state.broadcast import Follower
from paygrade.values.errors import Refused, Unavailable


def live(context: Context, follower: Follower, events: AsyncIterator[bytes]) -> Stream:
    """These events, until there are no more, by EOFError, Refused or Unavailable as well, or the page leaves. The
    follower leaves with it."""
    return Stream(_while_open(context, follower, events), media_type="text/event-stream", headers=HEADERS)


async def _while_open(context: Context, follower: Follower, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield b"retry: %d\n\n" % RETRY_MS
        async for each in events:
            yield each
    except (EOFError, Refused, Unavailable):
        return
    finally:
        context.snapshots.broadcast.leave(follower)
