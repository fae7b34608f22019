"""What is done again and again while the SDK runs, by its own thread."""

import logging
from collections.abc import Callable

from msgspec import Struct

log = logging.getLogger("paygrade")


class Chore(Struct):
    """`what` is done every so many seconds, first when the thread begins, and maybe once more at the end. `due_s` is of
    `time.monotonic()`."""

    what: Callable[[], object]
    every_s: float
    at_end: bool = False
    due_s: float = 0.0

    def do(self, now_s: float) -> None:
        """Do it if it is time."""
        if self.due_s <= now_s:
            self.due_s = now_s + self.every_s
            try:
                self.what()
            except OSError as error:
                log.error("what is kept on disk is not: %s", error)
