"""Versions of the API: each is a date, and whoever pins one keeps its wire, however much is added to later ones.

Laws: handlers speak the newest version alone; what an older one answers is made of that, by what the route declares
(`Older`), one step for each version between them. Every answer says which version it is in. What was once in a
version's wire stays: a file of the tests has it, line by line.
"""

from collections.abc import Callable, MutableMapping
from typing import Any, cast

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct

from paygrade.values.errors import Refused
from paygrade.values.text import describe, one_of

HEADER = "paygrade-version"
VERSIONS = ("2026-10-31", "2026-11-30")
"""All that can be pinned, the oldest first."""
CURRENT = VERSIONS[-1]
VERSION_LINE = f"{HEADER}: {CURRENT}\r\n".encode()
"""What an answer says where there is no framework."""
OLDER = "older"
"""The `opt` of a route handler that answered otherwise before."""
_STATE = "api_version"


class Older(Struct, frozen=True):
    """How a route answered in the versions before `until`: with `kind`, which `answer` makes of what it answers since.
    Any: a type expression, and decoded JSON."""

    until: str
    kind: Any
    answer: Callable[[Any], Any]


def answered_before(until: str, kind: Any, answer: Callable[[Any], Any]) -> dict[str, Any]:
    """The `opt` of a route that answered otherwise before that version. Any: as `Older` has it, and of every kind."""
    return {OLDER: (Older(until, kind, answer),)}


def older_of(opt: dict[str, Any], version: str) -> tuple[Older, ...]:
    """The steps from the newest version back to this one, for a route with this `opt`. Any: of every kind."""
    steps: tuple[Older, ...] = opt.get(OLDER, ())
    return tuple(sorted((step for step in steps if version < step.until), key=lambda step: step.until, reverse=True))


def version_of(scope: Scope) -> str:
    """The version that a request is answered in."""
    version: str = scope.get("state", {}).get(_STATE, CURRENT)
    return version


class Versioned:
    """Reads the header, and turns answers into what an older version says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            version = _read([value for name, value in scope["headers"] if name == HEADER.encode()])
            cast("MutableMapping[str, Any]", scope["state"])[_STATE] = version
            steps = older_of(scope["route_handler"].opt, version)
            send = _as_older(send, steps) if steps else send
        await self._app(scope, receive, send)


def _read(shown: list[bytes]) -> str:
    if not shown:
        return CURRENT
    version = shown[0].decode("latin-1")
    if len(shown) > 1 or version not in VERSIONS:
        said = describe(version) if len(shown) == 1 else "more than one version"
        raise Refused("unknown_api_version", f"`Paygrade-Version` must be {one_of(VERSIONS)}, not {said}")
    return version


def _as_older(send: Send, steps: tuple[Older, ...]) -> Send:
    started: list[Any] = []  # Any: ASGI's messages
    parts: list[bytes] = []

    async def send_older(message: Message) -> None:
        if message["type"] == "http.response.start":
            started.append(message)
            return
        if message["type"] != "http.response.body":
            await send(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        start, body = started[0], b"".join(parts)
        if start["status"] == 200:
            said = msgspec.json.decode(body)
            for step in steps:
                said = step.answer(said)
            body = msgspec.json.encode(said)
            kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            start["headers"] = [*kept, (b"content-length", str(len(body)).encode())]
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return send_older
