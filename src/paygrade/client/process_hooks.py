"""What a process calls by itself: in a fork of it, and at its end; and whether it runs threads.

Hooks cannot be unregistered, so they hold on to nothing. uWSGI forks without Python's knowledge and has hooks of its
own; without `--enable-threads` it stops all threads between requests.
https://uwsgi-docs.readthedocs.io/en/latest/PythonModule.html, ThingsToKnow.html
"""

import atexit
import os
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

Hook = weakref.WeakMethod[Callable[[], None]]


def in_forks(hook: Hook) -> None:
    """Have it called in each fork, by the thread that is left there, before anybody else; once or more often."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: _call(hook))
    uwsgi = _uwsgi()
    if uwsgi is not None:
        _uwsgi_chain(uwsgi).insert(0, lambda: _call(hook))


def at_exit(hook: Hook) -> None:
    """Have it called at the end of this process, once or twice. Children of `multiprocessing` clear what was registered
    before them, and end without `atexit` before Python 3.13."""
    atexit.register(_call, hook)
    util = sys.modules.get("multiprocessing.util")
    if util is not None and sys.modules["multiprocessing.process"].parent_process() is not None:
        util.Finalize(None, _call, (hook,), exitpriority=0)


def lacks_threads() -> bool:
    """Whether this is uWSGI without threads."""
    uwsgi = _uwsgi()
    if uwsgi is None:
        return False
    enabled = uwsgi.opt.get("enable-threads", False)
    return "threads" not in uwsgi.opt and (not enabled or enabled in (b"false", b"0", b"no", b"off"))


def _uwsgi() -> Any:  # Any: a module that is there inside of uWSGI only
    return sys.modules.get("uwsgi")


def _uwsgi_chain(uwsgi: Any) -> list[Callable[[], object]]:
    """What uWSGI calls in each fork. There is room for one hook, which `uwsgidecorators` takes, if it is there."""
    with suppress(Exception):  # which it raises, just that, where there is no master process
        chain: list[Callable[[], object]] = import_module("uwsgidecorators").postfork_chain
        return chain
    before = getattr(uwsgi, "post_fork_hook", None)
    chain = [before] if before is not None else []
    uwsgi.post_fork_hook = lambda: [each() for each in chain]
    return chain


def _call(hook: Hook) -> None:
    found = hook()
    if found is not None:
        found()
