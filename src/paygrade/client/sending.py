"""Sending what is reported: in batches, each again until the server has it.

Laws: one batch is under way at a time; what has not arrived stays where it waits; whoever flushes waits no longer than
said.
"""

import logging
import threading
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any

from msgspec import Struct

from paygrade.client.errors import PaygradeError
from paygrade.client.outbox import BATCH_MAX, Waiting
from paygrade.client.transport import Unreachable

GATHER_S, SEND_S, ADOPT_EVERY_S = 0.5, 10.0, 10.0
"""How long fewer events than fill a batch are waited for; how long sending one may take; how often it is looked for
what processes left that are gone."""

log = logging.getLogger("paygrade")


class Ingested(Struct):
    """What the server answers to a batch."""

    rejected: list[Any]  # Any: which one and why


class Sender:
    """Sends what waits in `outbox` by `send`, the body of a request and how long it may take. `changed` guards `due_s`,
    when the next batch is to be sent, of `monotonic`; `closing` ends waits."""

    def __init__(
        self,
        outbox: Waiting,
        send: Callable[[bytes, float], Ingested],
        changed: threading.Condition,
        closing: threading.Event,
    ) -> None:
        self.outbox = outbox
        self.due_s = inf
        self._send_batch, self._changed, self._closing = send, changed, closing
        self._sending = threading.Lock()

    def put(self, event: bytes) -> bool:
        """Have an event sent. False: there is no room."""
        with self._changed:
            fits = self.outbox.put(event)
            is_full = len(self.outbox) >= BATCH_MAX
            if self.due_s == inf or is_full:
                self.due_s = monotonic() + (0 if is_full else GATHER_S)
                self._changed.notify_all()
        return fits

    def adopt(self) -> None:
        """Send what processes left that are gone."""
        if self.outbox.adopt():
            with self._changed:
                self.due_s = monotonic()

    def send(self, timeout_s: float = SEND_S) -> None:
        """Send one batch. Unreachable; PaygradeError."""
        with self._sending:
            try:
                self._send(timeout_s)
            except (Unreachable, PaygradeError) as error:
                log.warning("%d usage events wait to be sent: %s", len(self.outbox), error)
                self.outbox.save()
                raise

    def flush(self, timeout_s: float) -> bool:
        """Send all, in the calling thread; whether all of it was sent in time."""
        until_s = monotonic() + timeout_s
        while len(self.outbox) and (left_s := until_s - monotonic()) > 0:
            if not self._sending.acquire(timeout=left_s):
                break
            try:
                self._send(max(0.01, until_s - monotonic()))
            except Unreachable:
                self._closing.wait(min(0.05, max(0.0, until_s - monotonic())))
            except PaygradeError:
                break
            finally:
                self._sending.release()
        return not len(self.outbox)

    def _send(self, timeout_s: float) -> None:
        body, count = self.outbox.next()
        if count:
            told = self._send_batch(body, timeout_s)
            for refusal in told.rejected:
                log.error("a usage event was not taken: %s", refusal)
            self.outbox.sent(len(told.rejected))
        with self._changed:
            left = len(self.outbox)
            self.due_s = inf if not left else monotonic() + (0 if left >= BATCH_MAX else GATHER_S)
