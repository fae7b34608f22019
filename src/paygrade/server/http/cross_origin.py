"""What pages of other origins may ask: OFREP, whose web providers run in browsers, and whatever account tokens open.

Law: the key is in a header or an address that a page must hold itself, never in a cookie, so that any origin may be let
in (ADR 18); a browser asks so beforehand, without a key (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

import re
from collections.abc import Iterable

from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from paygrade.server.http.auth import SCOPES

OPEN_PREFIX = "/ofrep/"
_EVERY = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"ETag, Paygrade-Version, Retry-After, X-Request-Id"),
]
_PREFLIGHT = [
    *_EVERY,
    (b"access-control-allow-methods", b"GET, POST"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, if-none-match, last-event-id, paygrade-version, x-api-key",
    ),
    (b"access-control-max-age", b"7200"),
]


class CrossOrigin:
    """Says so in the answers of all that is below `OPEN_PREFIX`, and of the routes among these that tokens open."""

    def __init__(self, app: ASGIApp, handlers: Iterable[HTTPRouteHandler]) -> None:
        self._app = app
        paths = {path for handler in handlers if handler.opt.get(SCOPES) for path in handler.paths}
        parts = [re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(path)) for path in sorted(paths)]
        self._open = re.compile("|".join([f"{OPEN_PREFIX}.*", *parts]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not self._open.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
        elif _is_preflight(scope):
            await send({"type": "http.response.start", "status": 204, "headers": _PREFLIGHT})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._app(scope, receive, _with_headers(send))


def _is_preflight(scope: HTTPScope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_EVERY]
        await send(message)

    return send_with_headers
