"""Where audit records are sent beside the log: a syslog, and a receiver of OpenTelemetry logs.

Laws: what was not taken is said, never dropped in silence; nothing that an erasure takes back is sent.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_network
from logging.handlers import SysLogHandler
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
import structlog

from paygrade.billing.audit_chain import AuditRecord, public
from paygrade.server.process.outbound import Guard, Sender
from paygrade.values.errors import Unavailable
from paygrade.values.periods import parse_instant

log = structlog.get_logger("paygrade.audit")

LINE_BYTES_MAX = 8000
"""Of what most syslogs take as one message."""
EVERYWHERE = Guard((ip_network("0.0.0.0/0"), ip_network("::/0")))
"""Whoever sets up the server says where its records go."""
INFO = 9
"""https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber"""


class Sink(Protocol):
    """Something that takes audit records."""

    stream: str
    """Its name: what was not taken is kept by it, whatever its address."""

    async def send(self, records: Sequence[AuditRecord]) -> None:
        """Send these, in this order. Unavailable where not all were taken; some may have been."""
        ...


class Syslog:
    """A syslog at `udp://host:port`, `tcp://host:port` or `unix:///path`: a line for each record."""

    stream = "syslog"

    def __init__(self, address: str) -> None:
        self._address = address
        self._handler: _Handler | None = None

    async def send(self, records: Sequence[AuditRecord]) -> None:
        try:
            await asyncio.to_thread(self._send, records)
        except OSError as error:
            self.close()
            raise Unavailable("audit_stream_failed", f"the syslog at `{self._address}` took nothing: {error}") from None

    def close(self) -> None:
        """Open it anew the next time."""
        if self._handler is not None:
            with suppress(OSError):
                self._handler.close()
            self._handler = None

    def _send(self, records: Sequence[AuditRecord]) -> None:
        self._handler = self._handler or _opened(self._address)
        for record in records:
            line = msgspec.json.encode(public(record))
            if len(line) > LINE_BYTES_MAX:
                log.warning("audit_line_too_long", account=record.account, number=record.number, bytes=len(line))
                continue
            self._handler.emit(logging.makeLogRecord({"msg": line.decode(), "levelname": "INFO"}))


class Otlp:
    """A receiver of logs by OTLP over HTTP, as JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp), at the whole
    address: `http(s)://host:port/v1/logs`. `headers`: what it wants to see of us."""

    stream = "otlp"

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url, self._headers = url, {"content-type": "application/json", **(headers or {})}
        self._sender = Sender(EVERYWHERE)

    async def send(self, records: Sequence[AuditRecord]) -> None:
        attempt = await self._sender.post(self._url, self._headers, otlp_request(records, datetime.now(UTC)))
        if not attempt.succeeded:
            said = attempt.error or f"status {attempt.status}: {attempt.answer}"
            raise Unavailable("audit_stream_failed", f"`{self._url}` took nothing: {said}",
                              retry_after_s=attempt.retry_after_s)  # fmt: skip
        if "rejectedLogRecords" in (attempt.answer or ""):
            # It has them, and wants none of them again: https://opentelemetry.io/docs/specs/otlp/#partial-success-1
            log.warning("audit_records_rejected", url=self._url, answer=attempt.answer)


def otlp_request(records: Sequence[AuditRecord], at: datetime) -> bytes:
    """An ExportLogsServiceRequest in JSON: 64-bit numbers are texts there, as in all JSON of Protobuf."""
    scope = {"scope": {"name": "paygrade.audit"}, "logRecords": [_log_record(record, at) for record in records]}
    resource = {"attributes": _attributes({"service.name": "paygrade"})}
    return msgspec.json.encode({"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]})


def _log_record(record: AuditRecord, at: datetime) -> dict[str, object]:
    told = public(record)
    actor: dict[str, Any] = told.get("actor") or {}  # Any: JSON
    attributes = {
        "paygrade.audit.action": record.action,
        "paygrade.audit.account": record.account or None,
        "paygrade.audit.actor.kind": actor.get("kind"),
        "paygrade.audit.actor.id": actor.get("id"),
        "paygrade.audit.hash": record.hash,
        "paygrade.audit.number": record.number,
        "client.address": told.get("address"),
        "paygrade.request_id": record.request,
    }
    return {
        "timeUnixNano": _nanoseconds(parse_instant(record.occurred_at)),
        "observedTimeUnixNano": _nanoseconds(at),
        "severityNumber": INFO,
        "severityText": "INFO",
        "eventName": "paygrade.audit",
        "body": {"stringValue": msgspec.json.encode(told).decode()},
        "attributes": _attributes(attributes),
    }


def _attributes(values: Mapping[str, object]) -> list[dict[str, object]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}}
        for key, value in values.items()
        if value is not None
    ]


def _nanoseconds(at: datetime) -> str:
    return f"{int(at.timestamp())}{at.microsecond * 1000:09d}"


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
