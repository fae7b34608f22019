"""What a process calls by itself: in a fork of it, and at its end. Hooks cannot be unregistered, so they hold on to
nothing."""

import atexit
import os
import weakref
from collections.abc import Callable

Hook = weakref.WeakMethod[Callable[[], None]]


def in_forks(hook: Hook) -> None:
    """Have it called in each fork, by the thread that is left there."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _call(hook))


def at_exit(hook: Hook) -> None:
    atexit.register(_call, hook)


def _call(hook: Hook) -> None:
    found = hook()
    if found is not None:
        found()
