"""What is known from a snapshot file until the server was heard, and keeping that file.

Laws: what comes from a file is unsure, and as old as it says; what the server says takes its place at once; after a
file's end nothing of it answers; what is wrong with a file keeps nobody from starting.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import inf
from pathlib import Path
from time import time
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.client import snapshot_file
from paygrade.client.clock import ServerClock
from paygrade.client.memory import Memory
from paygrade.client.snapshot_file import Head, Key, Unusable
from paygrade.decisions.following import Views
from paygrade.decisions.sending import views

KEPT_FOR = timedelta(days=7)
"""For how long a file answers that the SDK keeps itself."""
SOME = 200
"""How many accounts are on a line."""
BEHIND_S = 60.0
"""How far two machines' clocks may be apart without a word."""

log = logging.getLogger("paygrade")


class SnapshotFile(Struct, frozen=True):
    """How things stand with the snapshot file. `none`: there is none, or none was asked for; `refused`: it can't be
    used, and `detail` says why."""

    state: Literal["none", "valid", "ended", "refused"] = "none"
    made_at: datetime | None = None
    ends_at: datetime | None = None
    detail: str = ""


class ColdStart:
    """The accounts of the file at `path`, in `memory` until the server has said how they are. `clock` goes on from when
    the file was made, if this machine's says that it is earlier."""

    def __init__(self, path: Path, key: Key, memory: Memory, clock: ServerClock) -> None:
        self._path, self._key, self._memory, self._clock = path, key, memory, clock
        self.file = SnapshotFile()
        self._made_s = inf
        """When the file was made, in seconds of the wall clock: since then its accounts are unsure."""
        try:
            self._take(*snapshot_file.read(path, key))
        except FileNotFoundError:
            return  # there will be one
        except (Unusable, msgspec.MsgspecError, StopIteration) as error:
            self.file = SnapshotFile("refused", detail=str(error))
            log.error("`%s` is not used, accounts are unknown until the server is heard: %s", path, error)

    def _take(self, head: Head, lines: Iterable[Views]) -> None:
        lines = list(lines)  # all of it can be read, or nothing of it counts
        now_s, self._made_s = time(), head.made_at.timestamp()
        if now_s < self._made_s - BEHIND_S:
            log.warning(
                "this machine's clock is %.0f s behind the time `%s` was made at", self._made_s - now_s, self._path
            )
        self._clock.floor = head.made_at
        for line in lines:
            self._memory.restore(line, self._made_s)
        self.file = SnapshotFile("valid", head.made_at, head.ends_at)

    def is_over(self, now_s: float) -> bool:
        """Whether the file has ended, and there may be something left of it to `end`."""
        file = self.file
        return file.state == "valid" and file.ends_at is not None and self._clock.now(now_s) >= file.ends_at

    def end(self) -> None:
        """Forget what is still from the file."""
        self.file = replace(self.file, state="ended")
        if count := self._memory.forget_restored(self._made_s):
            log.error("`%s` has ended, and %d accounts with it: they are unknown now", self._path, count)

    def is_all_that_is_known(self, account: str) -> bool:
        """Whether nothing but the file says how this account is."""
        return self._memory.unsure.get(account) == self._made_s

    def keep(self) -> None:
        """Write what is known into the file, unless some of it may be old. OSError."""
        memory, now_s = self._memory, time()
        accounts = list(memory.accounts.values())
        if not accounts or memory.unsure or not self._clock.low <= now_s < self._clock.high:
            return
        at = self._clock.now(now_s)
        head = Head(at, at + KEPT_FOR, len(accounts))
        sent = (views(accounts[begin : begin + SOME]) for begin in range(0, len(accounts), SOME))
        lines = (Views(now=at, shapes=shapes, accounts=some, on_error=memory.on_error) for shapes, some in sent)
        snapshot_file.write(self._path, snapshot_file.encode(head, lines, self._key))
        self.file = SnapshotFile("valid", head.made_at, head.ends_at)
