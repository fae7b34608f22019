"""Working on what waits: claims are taken, a few at a time, and each is done by itself.

Laws: what waits is said by the tables alone, so a worker holds nothing that could be lost; who claims leaves nobody
who waits longer behind, but for those that others were quicker to take; one that fails or breaks is given back, waits
for its pause, and stops none of the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

import structlog
from msgspec import Struct

from paygrade.server.process.retries import pause_s
from paygrade.values.errors import Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.claims import Claimed, Claims
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.process.clock import Clock

log = structlog.get_logger("paygrade.workers")

Row = TypeVar("Row", bound="Claimed")

PAUSE_S, BROKEN_S = 1.0, 30.0
"""How long not to look again, when the database did not answer and when we are wrong."""
LOOKS_MAX = 3
"""How often to look again where others were quicker, before it is somebody else's turn."""


class Queue(Struct, Generic[Row], frozen=True):
    """Rows that wait to be worked on. `name` and the `shown` fields tell of one in the log; `quiet`: only of one that
    goes wrong. `lease_s`: longer than any part of the work takes that is not saved in between. `values`: those that the
    table's conditions name."""

    name: str
    rows: "Callable[[Transaction], Claims[Row]]"
    shown: tuple[str, ...]
    lease_s: float
    values: Mapping[str, object] = {}
    quiet: bool = False


Note = Callable[[str, str], None]
"""Is told of a claim: its queue, and what came of it."""


def nobody(_queue: str, _outcome: str) -> None:
    """A Note of nothing."""


Do = Callable[[Row], Awaitable[str]]
"""Works on a claim and says what came of it, in a word."""


async def take(
    store: "Store", queue: Queue[Row], *, limit: int, lease_s: float | None = None, at: datetime
) -> tuple[Row, ...]:
    """Claim rows that wait by the billing clock `at`, those that wait longest first; at most `limit`.

    Each in a transaction of its own: nobody holds one while waiting for another. Raises Unavailable, unless some were
    claimed before that."""
    lease_s = queue.lease_s if lease_s is None else lease_s
    taken: list[Row] = []
    for _ in range(LOOKS_MAX):
        try:
            async with store.transaction(looking=True) as tx:  # many look, and often: a third of the statements
                found = await queue.rows(tx).candidates(limit=limit, at=at, **queue.values)
            for candidate in found:
                async with store.transaction() as tx:
                    claimed = await queue.rows(tx).take(candidate, lease_s=lease_s, at=at, **queue.values)
                taken += [claimed] if claimed is not None else []
        except Unavailable:
            if not taken:
                raise
        if taken or not found:
            break
    return tuple(taken)


async def give_back(store: "Store", queue: Queue[Row], claimed: Row, error: Exception) -> bool:
    """Give a claim back undone, with what went wrong: it waits for a pause, longer with each failure in a row. False:
    it was claimed since, or is given back already."""
    if isinstance(error, Refused | Unavailable):
        text = f"{error.code}: {error.detail}"
    else:
        text = f"{type(error).__name__}: {error}"
    async with store.transaction() as tx:
        return await queue.rows(tx).fail(claimed, error=text, retry_s=pause_s(claimed.attempts, error))


async def attempt(store: "Store", queue: Queue[Row], do: Do[Row], claimed: Row) -> str:
    """Work on a claim; gives what came of it. One that breaks is logged and given back."""
    names = {name: getattr(claimed, name) for name in queue.shown}
    try:
        outcome = await do(claimed)
    except Exception as error:  # the top of a loop: one claim must not stop the others
        if isinstance(error, Unavailable):
            # The database went away: whoever claims it next looks how far it came.
            log.warning(f"{queue.name}_interrupted", **names, error=error.detail)
            outcome = "interrupted"
        else:
            log.exception(f"{queue.name}_broken", **names)
            outcome = "broken"
        with suppress(Unavailable):
            await give_back(store, queue, claimed, error)
        return outcome
    (log.debug if queue.quiet else log.info)(queue.name, **names, outcome=outcome)
    return outcome


async def work(
    store: "Store",
    clock: "Clock",
    queue: Queue[Row],
    do: Do[Row],
    *,
    at_once: int = 1,
    look_s: float,
    first_s: float = 0.0,
    wake: asyncio.Event | None = None,
    note: Note = nobody,
) -> None:
    """Work on what waits, `at_once` at a time, until cancelled. Looks for more after `first_s`, then every `look_s`,
    when something is done, and when it is woken. `note` is told what came of each."""
    wake = wake or asyncio.Event()
    running: set[asyncio.Task[str]] = set()

    def done(task: asyncio.Task[str]) -> None:
        running.discard(task)
        if not task.cancelled() and task.exception() is None:
            note(queue.name, task.result())
        wake.set()

    async def look() -> None:
        if len(running) < at_once:
            for claimed in await take(store, queue, limit=at_once - len(running), at=clock.now()):
                task = asyncio.create_task(attempt(store, queue, do, claimed))
                running.add(task)
                task.add_done_callback(done)

    try:
        await repeat(look, look_s=look_s, first_s=first_s, wake=wake)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def repeat(
    look: Callable[[], Awaitable[object]],
    *,
    look_s: float,
    first_s: float = 0.0,
    wake: asyncio.Event | None = None,
) -> NoReturn:
    """Look again and again, until cancelled: after `first_s`, then every `look_s`, and when it is woken."""
    wake = wake or asyncio.Event()
    if first_s:
        await _woken(wake, first_s)
    while True:
        wake.clear()
        await safely(look)
        await _woken(wake, look_s)


async def _woken(wake: asyncio.Event, at_last_s: float) -> None:
    # Not `wait_for`: until Python 3.12 it forgets that it was cancelled when it is woken at the same moment.
    with suppress(TimeoutError):
        async with asyncio.timeout(at_last_s):
            await wake.wait()


async def safely(look: Callable[[], Awaitable[object]]) -> None:
    """Look once. What goes wrong is logged, and waited for."""
    try:
        await look()
    except Unavailable as error:
        log.warning("background_look_interrupted", error=error.detail)
        await asyncio.sleep(PAUSE_S)
    except Exception:  # the top of a loop: what is broken is logged, and tried again without haste
        log.exception("background_look_broken")
        await asyncio.sleep(BROKEN_S)
