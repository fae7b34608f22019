"""The hot path: check and consume without a framework, for requests that have nothing wrong with them.

Law: it answers as the routes do, or not at all: whatever is unusual (a body that does not fit, another instant, a key
that is not ours, an account not remembered) goes on to the routes, which know what to say.
"""

from hmac import compare_digest
from itertools import count
from time import perf_counter_ns
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from litestar.types import ASGIApp, Receive, Send

from paygrade.decisions.decide import decide
from paygrade.server.http.bodies import KEY_LENGTH_MAX
from paygrade.server.http.context import Context
from paygrade.server.http.routes.decisions import Question
from paygrade.server.http.routes.usage import use
from paygrade.server.http.whole_answers import Answer
from paygrade.server.http.whole_answers import Pieces as Written
from paygrade.server.operations.usage.requests import Consume
from paygrade.values.errors import Refused, Unavailable

log = structlog.get_logger("paygrade.http")

HEADERS = (b"content-type", b"application/json")
_HEAD = b"content-type: application/json\r\ncontent-length: "


class _Question(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


_questions = msgspec.json.Decoder(_Question)
_uses = msgspec.json.Decoder(Consume)
_encode = msgspec.json.Encoder().encode

# Any in this file: an ASGI scope or message; Litestar's types for them are unions that no test of a key narrows.


class HotPath:
    """Wraps the application; `parts` are those its routes use."""

    def __init__(self, app: ASGIApp, parts: Context, admin_key: str) -> None:
        self._app, self._parts = app, parts
        self._now, self._peek, self._note = parts.clock.now, parts.snapshots.peek, parts.metrics.note_decision
        self._shown = f"Bearer {admin_key}".encode()
        self._prefix, self._numbers = uuid4().hex[:16], count(1)
        self._checked, self._consumed = (
            parts.metrics.requests.of("POST", route, 200) for route in ("/v1/check", "/v1/consume")
        )

    AT_ONCE = frozenset({b"/v1/check", b"/v1/consume"})
    """What `WholeAnswers` may ask of `at_once`."""

    def at_once(self, path: bytes, authorization: bytes, raw: bytes) -> Answer:
        """The head and the body of the answer, without the status; of a use, once it is saved."""
        started = perf_counter_ns()
        if not compare_digest(authorization, self._shown):
            return None
        if path == b"/v1/consume":
            return self._used_at_once(raw, started)
        body = self._decided(raw)
        if body is None:
            return None
        self._checked.note(perf_counter_ns() - started)
        return self._whole(body)

    async def _used_at_once(self, raw: bytes, started: int) -> Written | None:
        body = await self._used(raw)
        if body is None:
            return None
        self._consumed.note(perf_counter_ns() - started)
        return self._whole(body)

    def _whole(self, body: bytes) -> Written:
        return _HEAD, b"%d\r\nx-request-id: %b\r\n\r\n" % (len(body), self._id()), body

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST" and self._known(scope):
            if scope["path"] == "/v1/check":
                await self._check(scope, receive, send)
                return
            if scope["path"] == "/v1/consume":
                await self._consume(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _known(self, scope: Any) -> bool:
        shown = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                shown = value
            elif name == b"x-request-id":
                return False
        return compare_digest(shown, self._shown)

    async def _check(self, scope: Any, receive: Receive, send: Send) -> None:
        started = perf_counter_ns()
        raw = await _read(receive)
        body = self._decided(raw)
        if body is None:
            await self._app(scope, _again(raw, receive), send)
            return
        await self._answer(send, body)
        self._checked.note(perf_counter_ns() - started)

    def _decided(self, raw: bytes) -> bytes | None:
        """The decision that was asked for; None where the question is unusual, or nothing is remembered."""
        try:
            question = _questions.decode(raw)
            at = self._now()
            snapshot = self._peek(question.account, at)
        except (msgspec.MsgspecError, UnicodeDecodeError, Unavailable):
            return None
        if snapshot is None or question.at is not None or not _usual(raw, question.account):
            return None
        decision = decide(
            snapshot,
            question.feature,
            question.quantity,
            at,
            member=question.member,
            properties=question.properties,
        )
        self._note(decision)
        return _encode(decision)

    async def _consume(self, scope: Any, receive: Receive, send: Send) -> None:
        started = perf_counter_ns()
        raw = await _read(receive)
        body = await self._used(raw)
        if body is None:
            await self._app(scope, _again(raw, receive), send)
            return
        await self._answer(send, body)
        self._consumed.note(perf_counter_ns() - started)

    async def _used(self, raw: bytes) -> bytes | None:
        """What came of a use, once it is saved; None: the route has the words for it. Asking there once more is
        harmless: an id counts once."""
        try:
            said = _uses.decode(raw)
            return _encode(await use(self._parts, said)) if _usual(raw, said.account, said.id) else None
        except (msgspec.MsgspecError, UnicodeDecodeError, Refused, Unavailable):
            return None
        except Exception:  # whatever it was, the route meets it again, and knows how to answer it
            log.exception("use_broken")
            return None

    def _id(self) -> bytes:
        return f"{self._prefix}{next(self._numbers):016x}".encode()

    async def _answer(self, send: Send, body: bytes) -> None:
        headers = [HEADERS, (b"content-length", b"%d" % len(body)), (b"x-request-id", self._id())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _usual(raw: bytes, *keys: str) -> bool:
    """Whether these are keys we can keep, and there is no NUL in any text: JSON can only write it so."""
    return all(0 < len(key) <= KEY_LENGTH_MAX and key.isprintable() for key in keys) and b"\\u0000" not in raw


async def _read(receive: Receive) -> bytes:
    message: Any = await receive()
    if not message.get("more_body"):
        return message.get("body", b"")  # type: ignore[no-any-return]
    parts = [message["body"]]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _again(raw: bytes, receive: Receive) -> Receive:
    """The body once more, for whoever comes next."""
    given = False

    async def receive_again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": raw, "more_body": False}

    return receive_again
