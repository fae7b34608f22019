"""Servers that follow the clock: each holds a request until it moves, and its next request says it has seen that.

Law. Once `tell` returns, every follower has seen the newest move, or has been silent for `ACKNOWLEDGE_S` and is
forgotten until it asks again. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

HOLD_S = 20.0  # a request is answered after so long though nothing moved, so that a lost connection shows
ACKNOWLEDGE_S = 5.0  # much longer than a busy machine takes; who is silent for longer is stopped or gone

Gone = Callable[[], Awaitable[object]]
"""Returns once the one who asked has closed the connection."""


class Followers:
    def __init__(self, *, acknowledge_s: float = ACKNOWLEDGE_S) -> None:
        # The clock's: counts its moves. Begins anywhere, so that no other simulator's version is taken for ours.
        self.version = 1 + secrets.randbelow(2**40)
        self._acknowledge_s = acknowledge_s
        self._seen: dict[str, int] = {}  # by follower: the version it has seen
        self._news = asyncio.Event()  # set once by whatever happens next, and then replaced
        self._closing = False

    async def follow(self, name: str, *, after: int, gone: Gone) -> None:
        """Return once the clock's version is not `after`, at once if it is another already; 0 never is one."""
        self._seen[name] = after
        self._happen()
        leaving = asyncio.ensure_future(gone())
        try:
            async with asyncio.timeout(HOLD_S):
                while self.version == after and not leaving.done() and not self._closing:
                    news = asyncio.ensure_future(self._news.wait())
                    await asyncio.wait({leaving, news}, return_when=asyncio.FIRST_COMPLETED)
                    news.cancel()
        except TimeoutError:
            return
        finally:
            if leaving.done():
                self._seen.pop(name, None)
                self._happen()
            leaving.cancel()

    async def tell(self) -> None:
        """Tell that the clock moved, and return when every follower has seen it."""
        self.version += 1
        version = self.version
        self._happen()
        try:
            async with asyncio.timeout(self._acknowledge_s):
                while self._behind(version):
                    await self._news.wait()
        except TimeoutError:
            for name in self._behind(version):
                del self._seen[name]

    def close(self) -> None:
        """Answer whoever waits, and let nobody wait from now on: the server is about to stop."""
        self._closing = True
        self._happen()

    def _behind(self, version: int) -> list[str]:
        return [name for name, seen in self._seen.items() if seen < version]

    def _happen(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
