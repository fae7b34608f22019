"""An event loop without a clock, sockets or threads: one `random.Random` decides what runs next.

Laws: time is a count of microseconds that only this loop moves; it moves when nothing is left to run, to the next
timer, and by a tenth of a millisecond with every step, so no two steps share an instant; whatever is ready runs
in an order drawn from the seed, because nothing may depend on the order the real loop happens to have; the work a
real loop would give to a thread happens here too, at the end of the time it was drawn to take, or bit by bit where it
waits by itself (`threads.py`).
"""

import asyncio
import heapq
import random
from asyncio import events
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from .threads import WAITS, Thread

T = TypeVar("T")

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
STEP_US = 100


class Stuck(Exception):
    """Nothing is ready and nothing will ever be, or it never ends."""


class Handle:
    """What `asyncio.Handle` is to those who wait, at a third of its cost."""

    __slots__ = ("args", "callback", "context", "over")

    def __init__(self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None) -> None:
        self.callback, self.args = callback, args
        self.context = context or copy_context()
        self.over = False

    def cancel(self) -> None:
        """A cancelled timer is thrown away when its time comes."""
        self.over = True

    def cancelled(self) -> bool:
        return self.over


class VirtualLoop(asyncio.AbstractEventLoop):
    """As much of an event loop as tasks, futures, timers and threads need."""

    def __init__(self, draw: random.Random, *, thread_s: Callable[[], float] = lambda: 0.0) -> None:
        self._draw = draw
        self._thread_s = thread_s
        self._ready: list[Handle] = []
        self._timers: list[tuple[int, int, Handle]] = []
        self._count = 0
        self._elapsed_us = 0
        self.broken: list[dict[str, Any]] = []
        """What no task wanted to hear: an exception in a callback, or in a task nobody waited for."""
        self.began_s = 0.0
        """When the thread that runs right now was begun."""
        self._threads: list[Thread] = []

    def now(self) -> datetime:
        return START + timedelta(microseconds=self._elapsed_us)

    def time(self) -> float:
        return self._elapsed_us / 1e6

    def run_until_complete(self, future: Coroutine[Any, Any, T]) -> T:  # type: ignore[override]
        events._set_running_loop(self)
        try:
            task: asyncio.Task[T] = self.create_task(future)
            while not task.done():
                self._step()
            return task.result()
        finally:
            events._set_running_loop(None)

    def finish(self) -> None:
        """Run what is ready until nothing is, without waiting for any timer; threads end where they are."""
        events._set_running_loop(self)
        try:
            for thread in self._threads:
                if not thread.over:
                    thread.killed = True
                    thread.go_on()
            while self._ready:
                self._step()
        finally:
            events._set_running_loop(None)

    def _step(self) -> None:
        if not self._ready:
            if not self._timers:
                raise Stuck("every task waits for another one")
            self._elapsed_us = max(self._elapsed_us, self._timers[0][0])
        self._elapsed_us += STEP_US
        while self._timers and self._timers[0][0] <= self._elapsed_us:
            _, _, timer = heapq.heappop(self._timers)
            if not timer.over:
                self._ready.append(timer)
        if not self._ready:
            return
        ready = self._ready
        if len(ready) > 1:
            chosen = int(self._draw.random() * len(ready))
            ready[chosen], ready[-1] = ready[-1], ready[chosen]
        handle = ready.pop()
        if not handle.over:
            try:
                handle.context.run(handle.callback, *handle.args)
            except Exception as error:  # noqa: BLE001  # as every loop does
                self.broken.append({"exception": error})

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        handle = Handle(callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:  # type: ignore[override]
        timer = Handle(callback, args, context)
        self._count += 1
        heapq.heappush(self._timers, (round(when * 1e6), self._count, timer))
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Do the work at once, when the time that a thread would have needed is over."""
        future = self.create_future()
        if WAITS.get():
            self._begin_thread(lambda: func(*args), future)
            return future
        began_s = self.time()

        def finish() -> None:
            if future.done():
                return
            self.began_s = began_s
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001  # whatever a thread raises goes to whom waits for it
                future.set_exception(error)

        self.call_later(self._thread_s(), finish)
        return future

    def _begin_thread(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        def finished(result: Any, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def killed(future: asyncio.Future[Any]) -> None:
            thread.killed = future.cancelled()

        thread = Thread(self, work, finished)
        future.add_done_callback(killed)
        self._threads = [*(other for other in self._threads if not other.over), thread]
        self.call_soon(thread.go_on)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.broken.append(context)
