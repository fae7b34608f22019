"""One connection that listens for a whole process, however many in it want to hear.

Laws: it is there as long as somebody listens, and no longer; who comes later misses nothing from then on; when it ends,
it ends for all of them, each of whom is told why.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from paygrade.values.errors import Unavailable

Hear = TypeVar("Hear")

CANCEL_AGAIN_S = 0.5


class SharedHearing(Generic[Hear]):
    """`listen` connects, calls what it is given once nothing can be missed any more, and goes on until that connection
    ends, by Unavailable, or until it is cancelled. It calls whoever is in `hearers`."""

    # Any: what a coroutine sends and is sent.
    def __init__(self, listen: Callable[[Callable[[], None]], Coroutine[Any, Any, None]]) -> None:
        self._listen = listen
        self._joined: list[tuple[Callable[[], None], Hear]] = []
        """Who listens, and what to call once they miss nothing."""
        self._task: asyncio.Task[None] | None = None
        self._misses_nothing = False

    @property
    def hearers(self) -> list[Hear]:
        return [hear for _, hear in self._joined]

    async def join(self, *, ready: Callable[[], None], hear: Hear) -> None:
        """Hear, until the connection ends, by Unavailable, or this is cancelled. `ready` is called once nothing can be
        missed any more."""
        joined = (ready, hear)
        self._joined.append(joined)
        try:
            # Those who shared one that has ended may not have seen that yet.
            if self._task is None or self._task.done():
                self._misses_nothing = False
                self._task = asyncio.create_task(self._listen(self._ready))
            elif self._misses_nothing:
                ready()
            task = self._task
            await asyncio.wait({task})
        finally:
            self._joined.remove(joined)
            await self._end_unheard()
        if task.cancelled():
            raise Unavailable("database_unavailable", "nobody listens to the database any more")
        error = task.exception()
        if isinstance(error, Unavailable):
            # Its own for each: what one says of it is not for the others to see.
            raise Unavailable(error.code, error.detail) from error
        if error is not None:
            raise error

    def _ready(self) -> None:
        self._misses_nothing = True
        for ready, _ in list(self._joined):
            ready()

    async def _end_unheard(self) -> None:
        """End what nobody hears any more. A library may swallow a cancellation that meets it while connecting, so it is
        repeated."""
        if self._joined or self._task is None:
            return
        task, self._task = self._task, None
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
        if not task.cancelled():
            task.exception()  # is for nobody
