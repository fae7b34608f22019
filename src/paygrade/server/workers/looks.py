"""One look for everything that waits: it says which of many workers have something to do, and wakes those.

Law: being woken only saves waiting. Every worker looks for itself as well, rarely, so nothing rests on this look.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.server.workers.claims import Do, Note, Queue, Row, nobody, repeat, work

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction
    from paygrade.server.process.clock import Clock

LOOK_S, AGAIN_S, RARELY_S = 0.1, 0.25, 5.0
"""How often to look for all; how soon to wake somebody again, who may have found that another server has what waits;
and how often each looks unasked."""
APART_S = 0.4
"""How long after one another they begin to: all at once, each would have a connection to the database opened for it."""


class _Worker(Struct):
    """Who wants to be woken, by what. `woken`: when last, in seconds of a clock that never goes back."""

    waits: "Callable[[Transaction], str]"
    values: Mapping[str, object]
    wake: asyncio.Event
    woken: float = 0.0


class Looks:
    """The look of one process, for all its workers."""

    def __init__(self, store: "Store", clock: "Clock") -> None:
        self._store, self._clock = store, clock
        self._workers: dict[str, _Worker] = {}

    async def work(
        self,
        queue: Queue[Row],
        do: Do[Row],
        *,
        at_once: int = 1,
        wake: asyncio.Event | None = None,
        note: Note = nobody,
    ) -> None:
        """Work on what waits in a queue, `at_once` at a time, until cancelled; `wake` is set when it may have more."""
        wake = wake or asyncio.Event()
        first_s = self._join(queue.name, _Worker(lambda tx: queue.rows(tx).waits(), queue.values, wake))
        await work(
            self._store, self._clock, queue, do,
            at_once=at_once, look_s=RARELY_S, first_s=first_s, wake=wake, note=note,
        )  # fmt: skip

    async def repeat(
        self,
        name: str,
        waits: "Callable[[Transaction], str]",
        look: Callable[[], Awaitable[object]],
        *,
        wake: asyncio.Event | None = None,
    ) -> None:
        """Do it whenever there is something to be done, as this SQL says, until cancelled."""
        wake = wake or asyncio.Event()
        first_s = self._join(name, _Worker(waits, {}, wake))
        await repeat(look, look_s=RARELY_S, first_s=first_s, wake=wake)

    async def go_on(self) -> None:
        """Look, until cancelled."""
        await repeat(self._look, look_s=LOOK_S)

    def _join(self, name: str, worker: _Worker) -> float:
        """How long it waits until it looks unasked. Whoever has something to do is woken before."""
        self._workers[name] = worker
        return min((len(self._workers) - 1) * APART_S, RARELY_S)

    async def _look(self) -> None:
        workers = dict(self._workers)
        if not workers:
            return
        # Its plan is made once, not each time: to make it takes several times as long as what follows it.
        async with self._store.transaction(single=True) as tx:
            conditions = {name: (each.waits(tx), each.values) for name, each in workers.items()}
            found = await tx.waits.look(conditions, at=self._clock.now())
        now = time.monotonic()
        for name in found:
            if now - workers[name].woken >= AGAIN_S:
                workers[name].woken = now
                workers[name].wake.set()
