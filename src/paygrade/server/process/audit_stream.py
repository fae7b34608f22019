"""The audit stream: a line of each audit record for a syslog, once it is saved.

Laws: nobody waits for a syslog; what it does not take is dropped, and the log says so: the table is the truth, and an
export of it has everything. Nothing that an erasure takes back is sent.
"""

import logging
import socket
import threading
from contextlib import suppress
from logging.handlers import SysLogHandler
from queue import Empty, Full, Queue
from urllib.parse import urlsplit

import msgspec
import structlog

from paygrade.billing.audit_chain import AuditRecord, public

log = structlog.get_logger("paygrade.audit")

LINES_MAX = 10_000
"""So many wait; more are dropped."""
AGAIN_S = 1.0
LINE_BYTES_MAX = 8000
"""Of what most syslogs take as one message."""


class AuditStream:
    """One syslog, at `udp://host:port`, `tcp://host:port` or `unix:///path`, until the process ends or it is closed."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._lines: Queue[bytes] = Queue(LINES_MAX)
        self._closed = threading.Event()
        self.dropped = 0
        threading.Thread(target=self._run, name="audit stream", daemon=True).start()

    def send(self, record: AuditRecord) -> None:
        """Send this soon."""
        line = msgspec.json.encode(public(record))
        try:
            if len(line) > LINE_BYTES_MAX:
                raise Full
            self._lines.put_nowait(line)
        except Full:
            self.dropped += 1
            if self.dropped == 1 or self.dropped % LINES_MAX == 0:
                log.warning("audit_stream_dropped", lines=self.dropped, address=self._address)

    def close(self) -> None:
        """Send no more."""
        self._closed.set()

    def _run(self) -> None:
        handler: _Handler | None = None
        is_away = False
        while not self._closed.is_set():
            try:
                line = self._lines.get(timeout=AGAIN_S)
            except Empty:
                continue
            while not self._closed.is_set():
                try:
                    handler = handler or _opened(self._address)
                    handler.emit(logging.makeLogRecord({"msg": line.decode(), "levelname": "INFO"}))
                    is_away = False
                    break
                except OSError as error:
                    if not is_away:
                        log.warning("audit_stream_failed", address=self._address, error=str(error))
                        is_away = True
                    if handler is not None:
                        with suppress(OSError):
                            handler.close()
                        handler = None
                    self._closed.wait(AGAIN_S)


class _Handler(SysLogHandler):
    """One that says when it could not send."""

    append_nul = False
    ident = "paygrade: "

    def handleError(self, _: logging.LogRecord) -> None:
        # Called where an exception is being handled.
        raise


def _opened(address: str) -> _Handler:
    parts = urlsplit(address)
    facility = SysLogHandler.LOG_AUTHPRIV
    if parts.scheme == "unix":
        return _Handler(parts.path, facility=facility)
    assert parts.hostname is not None
    assert parts.port is not None
    stream = parts.scheme == "tcp"
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    handler = _Handler((parts.hostname, parts.port), facility=facility, socktype=kind)
    if stream:
        # One line, one message: RFC 6587, section 3.4.2.
        handler.setFormatter(logging.Formatter("%(message)s\n"))
    return handler
