"""The edge: what happens to every request before routing and after the answer.

Laws: every answer carries `X-Request-Id` and `Paygrade-Version`; a path keeps the segments its sender wrote (a slash in
an account's key is sent as `%2F` and stays inside its segment); what is counted and logged never holds a body or a key.
"""

import asyncio
import re
import time
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, cast
from urllib.parse import unquote
from uuid import uuid4

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from msgspec.json import encode
from opentelemetry.trace import StatusCode

from paygrade.server.http.problems import MEDIA_TYPE, STOPPING, TOLD, problem
from paygrade.server.http.protocol import ShortWay
from paygrade.server.http.version import HEADER, version_of
from paygrade.server.process import tracing
from paygrade.server.process.client_address import Network, client_address
from paygrade.server.process.metrics import Metrics
from paygrade.values.errors import Refused

log = structlog.get_logger("paygrade.http")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_SECRET = re.compile(r"^(/+portal/+)[^/]+")
_VERSION = HEADER.encode()
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


class Edge:
    """Wraps the whole application. `short_way` and `stop` are for the protocol that serves it, if that knows of them:
    `stop` ends what would go on for ever, before requests under way are waited for. `proxies` are those whose word
    counts about where a request comes from."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        short_way: ShortWay,
        *,
        stop: Callable[[], None],
        proxies: Sequence[Network] = (),
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._proxies = proxies
        self.short_way = short_way
        self.stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        # The server decodes `path`, which would turn an encoded slash into a separator; `raw_path` has what was sent.
        scope["path"] = scope.get("raw_path", scope["path"].encode()).split(b"?")[0].decode("ascii", "replace")
        if self._proxies and (peer := scope.get("client")) is not None:
            scope["client"] = (client_address(peer[0], scope["headers"], self._proxies) or peer[0], peer[1])
        request_id = _request_id(scope)
        state = cast("MutableMapping[str, Any]", scope.setdefault("state", {}))
        state["request_id"] = request_id
        started = time.perf_counter_ns()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                its_own = [(b"x-request-id", request_id.encode()), (_VERSION, version_of(scope).encode())]
                message["headers"] = [*message.get("headers", []), *state.get(TOLD, ()), *its_own]
            await send(message)

        try:
            if tracing.is_on() and scope["path"] not in _QUIET:
                await self._traced(scope, receive, send_with_id, lambda: status)
            else:
                await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            # The server stops, and has waited for this request as long as it would.
            if status:
                raise
            await _send_stopping(send_with_id, request_id)
        finally:
            note_request(self._metrics, scope["method"], scope["path"], str(scope.get("path_template") or "unmatched"),
                         status=status, request_id=request_id, ns=time.perf_counter_ns() - started)  # fmt: skip

    async def _traced(self, scope: HTTPScope, receive: Receive, send: Send, status: Callable[[], int]) -> None:
        """The same in a span, below the one that the request names."""
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with tracing.span(scope["method"], "request", sent=sent, request_id=request_id_of(scope)) as span:
            await self._app(scope, receive, send)
            route = str(scope.get("path_template") or "unmatched")
            span.update_name(f"{scope['method']} {route}")
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("http.route", route)
            span.set_attribute("http.response.status_code", status())
            if status() >= 500:
                span.set_status(StatusCode.ERROR)


def request_id_of(scope: Scope) -> str:
    """What `X-Request-Id` says in the answer."""
    return str(scope["state"]["request_id"])


async def _send_stopping(send: Send, request_id: str) -> None:
    body = encode(problem("not_ready", STOPPING, instance=request_id))
    length = (b"content-length", str(len(body)).encode())
    headers = [(b"content-type", MEDIA_TYPE.encode()), length, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def note_request(
    metrics: Metrics, method: str, path: str, route: str, *, status: int, request_id: str, ns: int
) -> None:
    """Count and log a request that took so many nanoseconds."""
    metrics.requests.of(method, route, status).note(ns)
    if path not in _QUIET:
        log.info(
            "request", method=method, path=shown_path(path), status=status, ms=round(ns / 1e6, 1), request_id=request_id
        )


def shown_path(path: str) -> str:
    """A path as it may be written down: without the secret of a link to customers' pages."""
    return _SECRET.sub(r"\1…", path, count=1)


class DecodePath:
    """Decodes path parameters, after routing has split the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A new dict: Litestar caches the one it gives for each path.
        scope["path_params"] = {name: _decoded(value) for name, value in scope.get("path_params", {}).items()}
        await self._app(scope, receive, send)


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise Refused("invalid_key", f"`{value}` in the path is not percent-encoded UTF-8") from None


class NameMethods:
    """Lets an answer to OPTIONS name every method of its path (RFC 9110, 10.2.1): Litestar's own knows those of the
    handler that was registered first."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_methods(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 204:
                others = [(name, value) for name, value in message["headers"] if name.lower() != b"allow"]
                message["headers"] = [*others, (b"allow", ", ".join(sorted(_methods(scope))).encode())]
            await send(message)

        await self._app(scope, receive, send_with_methods if scope.get("method") == "OPTIONS" else send)


def _methods(scope: Scope) -> set[str]:
    template = scope.get("path_template")
    return {
        method for route in scope["litestar_app"].routes if route.path_format == template for method in route.methods
    }


def _request_id(scope: Scope) -> str:
    sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return sent if _REQUEST_ID.fullmatch(sent) else uuid4().hex
