"""What pages of other origins may ask: OFREP, whose web providers run in browsers.

Law: the key is in a header that a page must hold itself, never in a cookie, so that any origin may be let in; a
browser asks so beforehand, without a key (https://fetch.spec.whatwg.org/#http-cors-protocol).
"""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

OPEN_PREFIX = "/ofrep/"
_EVERY = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"ETag, Retry-After"),
]
_PREFLIGHT = [
    *_EVERY,
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"authorization, content-type, if-none-match, x-api-key"),
    (b"access-control-max-age", b"7200"),
]


class CrossOrigin:
    """Says so in the answers of all that is below `OPEN_PREFIX`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not scope["path"].startswith(OPEN_PREFIX):
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
