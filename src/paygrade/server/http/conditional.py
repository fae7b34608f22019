"""Conditional requests (RFC 9110, 13): whoever has an answer gets 304 for as long as it is the answer; whoever changes
an account can say what it was.

Laws: every JSON answer to a GET has an `ETag`, a digest of it. It is a strong one; where the answer says as of when it
is, a weak one of the rest, since it means the same a moment later. A 304 is decided on an answer that was made: it
saves sending and reading it, not making it.
"""

import hashlib
import re
from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

FLEETING = frozenset({"as_of", "clock", "now"})
"""Fields at the top of an answer that differ each time it is made."""
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
_KEPT = frozenset({b"cache-control", b"vary", b"x-request-id"})
"""Headers of an answer that a 304 has, too."""


def strong_tag(body: bytes) -> str:
    """The ETag of these bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def tag_of(body: bytes) -> str:
    """The ETag of a JSON answer."""
    said = msgspec.json.decode(body) if any(b'"%b":' % name.encode() in body for name in FLEETING) else None
    if not isinstance(said, dict) or not FLEETING & said.keys():
        return strong_tag(body)
    rest = {name: value for name, value in said.items() if name not in FLEETING}
    return f"W/{strong_tag(msgspec.json.encode(rest))}"


def names(shown: list[str], tag: str, *, weakly: bool) -> bool:
    """Whether a header that lists ETags names this one. `weakly`: as `If-None-Match` compares (RFC 9110, 8.8.3.2)."""
    listed = ",".join(shown)
    if listed.strip() == "*":
        return True
    tags = _TAG.findall(listed)
    if weakly:
        return tag.removeprefix("W/") in [each.removeprefix("W/") for each in tags]
    return not tag.startswith("W/") and tag in tags


class Conditional:
    """Adds the ETag, and answers 304 where it is known."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["method"] == "GET" and "described" in scope["route_handler"].opt:
            known = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"]
            send = _tagged(send, known)
        await self._app(scope, receive, send)


def _tagged(send: Send, known: list[str]) -> Send:
    held: list[Any] = []  # Any: ASGI's message, while its body is awaited

    async def send_tagged(message: Message) -> None:
        if message["type"] == "http.response.start":
            if _is_whole_json(message):
                held.append(message)
                return
        elif message["type"] == "http.response.body" and held:
            start, body = held.pop(), message.get("body", b"")
            if not message.get("more_body", False):
                tag = tag_of(body)
                start["headers"] = [*start["headers"], (b"etag", tag.encode())]
                if names(known, tag, weakly=True):
                    kept = [(name, value) for name, value in start["headers"] if name in _KEPT | {b"etag"}]
                    start = {**start, "status": 304, "headers": kept}
                    message = {**message, "body": b""}
            await send(start)
        await send(message)

    return send_tagged


def _is_whole_json(start: Any) -> bool:
    """Any: ASGI's message."""
    headers = {name.lower(): value for name, value in start["headers"]}
    return (
        start["status"] == 200
        and headers.get(b"content-type", b"").startswith(b"application/json")
        and b"etag" not in headers
    )
