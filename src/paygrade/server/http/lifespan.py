"""The life of an application: what runs in the background, from its start to its end.

Laws: what runs in the background starts with the application and ends with it; a task that dies is started again
and said so; readiness is measured when asked, never assumed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from traceback import format_exc
from typing import Any

import structlog
from litestar import Litestar

from paygrade.server.http.context import Vitals, put_context
from paygrade.server.process.clock import Clock
from paygrade.values.errors import Refused, Unavailable

log = structlog.get_logger("paygrade.server")

RESTART_S = 1.0
CANCEL_AGAIN_S, CANCEL_TIMES = 0.5, 10

FIRST = "first catalog"

Work = Callable[[], Awaitable[None]]
"""Something that goes on in the background until it is cancelled."""


class Application:
    """What answers on behalf of one context; `running` is what runs beside it, from its start to its end."""

    def __init__(
        self, parts: Vitals, running: Callable[[], AbstractAsyncContextManager[None]], routes: Litestar
    ) -> None:
        self._parts, self._running, self._routes = parts, running, routes

    # Any: what Litestar calls a scope and messages leaves out those of the lifespan protocol.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            put_context(scope, self._parts)
            await self._routes(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        """Start and end when the server says so. One that cannot start says so, and the server ends."""
        stage = "startup"
        await receive()
        try:
            async with self._running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
                stage = "shutdown"
            await send({"type": "lifespan.shutdown.complete"})
        except Exception:
            await send({"type": f"lifespan.{stage}.failed", "message": format_exc()})
            raise


@asynccontextmanager
async def beside(tasks: dict[str, asyncio.Task[None]], works: Iterable[tuple[str, Work]]) -> AsyncIterator[None]:
    """Keep these going until the end of the block, each under its name in `tasks`."""
    for name, start in works:
        tasks[name] = asyncio.create_task(_supervised(name, start), name=name)
    try:
        yield
    finally:
        await _cancelled(tasks.values())


async def missing(
    clock: Clock,
    schema_pending: Callable[[], Awaitable[Sequence[str]]],
    tasks: dict[str, asyncio.Task[None]],
) -> tuple[str, ...]:
    """What keeps the server from serving, in words; what is wrong, and not only not there yet, is warned of."""
    waits, wrong = [], []
    try:
        clock.now()
    except Unavailable:
        # Of a clock that stays away warns whoever follows it.
        waits.append("the clock it follows has not answered yet")
    if FIRST in tasks and not tasks[FIRST].done():
        waits.append("the first catalog is not published yet")
    try:
        pending = await schema_pending()
        if pending:
            wrong.append(f"the database lacks {', '.join(pending)}; run `paygrade migrate`")
    except Unavailable as error:
        # Anyone may ask whether we are ready; what exactly is wrong with the database is for the log.
        log.warning("not_ready", code=error.code, detail=error.detail)
        waits.append(error.detail.partition(":")[0])
    except Refused as error:  # the database and this release disagree
        wrong.append(error.detail)
    wrong.extend(
        f"the background work `{name}` has stopped"
        for name, task in tasks.items()
        if task.done() and (task.cancelled() or task.exception() is not None)
    )
    if wrong:
        log.warning("not_ready", detail="; ".join(wrong))
    return (*waits, *wrong)


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    """End these tasks. A library may swallow a cancellation that meets it while connecting, so it is repeated;
    what does not end even so is left behind, since nothing that is acknowledged depends on it."""
    pending = set(tasks)
    for _ in range(CANCEL_TIMES):
        for task in pending:
            task.cancel()
        if pending:
            _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
    for task in pending:
        log.error("background_work_did_not_end", work=task.get_name())


async def _supervised(name: str, start: Work) -> None:
    """Keep one piece of background work going. One that ends by itself had nothing to do."""
    while True:
        try:
            await start()
            return
        except Exception:  # a loop's top: whatever it was, it is logged and the work goes on
            log.exception("background_work_failed", work=name)
        await asyncio.sleep(RESTART_S)
