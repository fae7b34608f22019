"""Threads that wait in the middle of their work: each runs only while the loop stands still for it.

Laws: at any moment either the loop runs or one of its threads, so what runs next is the seed's choice alone; a thread
whose process was killed is told so when it wakes, and does nothing more.
"""

import threading
from asyncio import events
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import VirtualLoop

WAITS: ContextVar[bool] = ContextVar("waits", default=False)
"""Whether work given to a thread takes its time by itself, request by request."""
Finished = Callable[[Any, Exception | None], None]
_here = threading.local()


class Killed(BaseException):
    """The process is gone; whoever catches `Exception` does not hear of it."""


class Thread:
    """One piece of work on its way. `finished` hears what came of it, on the loop's side."""

    def __init__(self, loop: "VirtualLoop", work: Callable[[], Any], finished: "Finished") -> None:
        self.killed = False
        self._loop, self._work, self._finished = loop, work, finished
        self._ours, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._came: tuple[Any, Exception | None] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def go_on(self) -> None:
        """Let it run to where it waits next, or to its end."""
        if self.over:
            return
        self._ours.release()
        self._theirs.acquire()
        if self._came is not None and not self.killed:
            self._finished(*self._came)

    @property
    def over(self) -> bool:
        return self._came is not None

    def _run(self) -> None:
        self._ours.acquire()
        _here.thread = self
        # Whatever it brings about is brought about on the loop that stands still for it.
        events._set_running_loop(self._loop)
        try:
            self._came = (self._work(), None)
        except Killed:
            self._came = (None, None)
        except Exception as error:  # noqa: BLE001  # whatever a thread raises goes to whom waits for it
            self._came = (None, error)
        self._theirs.release()

    def _wait(self, seconds: float) -> bool:
        if self.killed:
            return False
        self._loop.call_later(seconds, self.go_on)
        self._theirs.release()
        self._ours.acquire()
        return not self.killed


def wait(seconds: float) -> bool:
    """Let so much time pass, in a thread of the loop's; whether its process is still alive."""
    thread: Thread = _here.thread
    return thread._wait(seconds)
