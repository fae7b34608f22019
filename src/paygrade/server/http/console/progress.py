"""How far long work is, as server-sent events for `<pg-live>`: each number it grows to, and `done` at its end."""

from collections.abc import AsyncIterator, Awaitable, Callable

from litestar.response import Stream

from paygrade.server.http.auth import still_counts
from paygrade.server.http.console.live import live
from paygrade.server.http.context import Context, HttpRequest
from paygrade.server.state.broadcast import Follower

LOOK_S = 1.0
Look = Callable[[], Awaitable[tuple[int, bool]]]
"""How much is done, and whether that is the end. Refused where there is no such work."""


async def follow(request: HttpRequest, context: Context, look: Look) -> Stream:
    await look()
    follower, _ = context.snapshots.broadcast.follow((), None)
    return live(context, follower, _progress(follower, look, still_counts(request, context)))


async def _progress(follower: Follower, look: Look, counts: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The work is looked at every `LOOK_S`: nobody is told of its steps."""
    told = -1
    while counts():
        done, is_over = await look()
        if done != told:
            told = done
            yield b"data: %d\n\n" % told
        if is_over:
            yield b"event: done\ndata: %d\n\n" % told
            return
        yield b": beat\n\n"
        await follower.next(LOOK_S)
