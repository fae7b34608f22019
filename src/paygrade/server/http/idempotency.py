"""The header Idempotency-Key: a POST that carries it is done once, and answered alike when it is sent again (ADR 26).

Laws: without the header nothing happens here; a key belongs to who sent it; a request that changes nothing by being
asked (`repeating="reads"`) ignores it, as do all methods but POST; what is kept of an answer is sealed with the secret
that was shown.
"""

import hashlib
import re
from collections.abc import MutableMapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, cast

from litestar import Response
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct

from paygrade.server.http.auth import AS
from paygrade.server.http.context import Context, HttpRequest, context_of
from paygrade.server.http.openapi import Described
from paygrade.server.operations import idempotency
from paygrade.server.process.acting import acting
from paygrade.server.process.sealing import seal, unseal
from paygrade.values.errors import Mistake, Refused, Unavailable

if TYPE_CHECKING:
    from paygrade.postgres.idempotency import KeyedRequest

HEADER = "idempotency-key"
REPLAYED = "idempotent-replayed"
BODY_BYTES_MAX = 1 << 20
"""The largest answer that is kept."""
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_FLEETING = frozenset({"content-length"})
"""Headers of an answer that are not kept: they follow from the others."""
_STATE = "keyed_request"


class _NothingDone(Exception):
    """What the request did, if anything, is not to be saved."""


class Held(Struct):
    """A request with a key. `around`: the one transaction of all it does, where it is one; `claimed` None: nothing was
    claimed, and the answer is not kept."""

    context: Context
    around: AsyncExitStack
    claimed: "KeyedRequest | None" = None
    secret: bytes = b""


class KeyedRequests:
    """What goes around the routes: keeps the answer to a request whose key `recall` has claimed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["method"] != "POST" or not _is_keyed(scope) or AS in scope["state"]:
            await self._app(scope, receive, send)
            return
        held = Held(context_of(scope), AsyncExitStack())
        cast("MutableMapping[str, Any]", scope["state"])[_STATE] = held
        answer: list[Any] = []  # Any: messages of two kinds

        async def hold(message: Message) -> None:
            answer.append(message)

        try:
            with suppress(_NothingDone):
                async with held.around:
                    await self._app(scope, receive, hold)
                    if held.claimed is not None:
                        await _keep(held, held.claimed, answer)
        finally:
            if held.claimed is not None:
                # Of one that is answered nothing is let go; of one that may have been saved, nothing if it was.
                with suppress(Unavailable):
                    await idempotency.let_go(held.context.store, held.claimed)
        for message in answer:
            await send(message)


async def recall(request: HttpRequest) -> Response[bytes] | None:
    """What comes between the guards and the handler: the answer to a request that was answered before; None: it is
    to be done, under the key that is claimed here. Refused `invalid_key`, `idempotency_key_reused`,
    `idempotency_key_in_use`, `answer_not_kept`."""
    held: Held | None = request.scope["state"].get(_STATE)
    if held is None:
        return None
    told: Described = request.route_handler.opt["described"]
    if told.repeating == "reads":
        return None
    context, actor = held.context, acting().actor
    held.secret = _secret(request)
    known = await idempotency.begin(
        context.store,
        actor=f"{actor.kind}:{actor.id}",
        key=_read(request.headers.getall(HEADER)),
        request=await _digest(request),
        at=context.clock.now(),
    )
    if known.status is not None:
        return _replayed(known, held.secret)
    held.claimed = known
    if told.repeating == "whole":
        await held.around.enter_async_context(context.store.whole())
    return None


async def _keep(held: Held, claimed: "KeyedRequest", answer: Sequence[Any]) -> None:
    """Keep what was answered; raises _NothingDone where it was refused or failed. Any: ASGI's messages."""
    start, body = answer[0], b"".join(part.get("body", b"") for part in answer[1:])
    if start["status"] >= 300:
        raise _NothingDone
    named = [(name.decode().lower(), value.decode("latin-1")) for name, value in start["headers"]]
    await idempotency.keep(
        held.context.store,
        claimed,
        status=start["status"],
        headers={name: value for name, value in named if name not in _FLEETING},
        body=seal(body, secret=held.secret, purpose=_purpose(claimed)) if len(body) <= BODY_BYTES_MAX else None,
    )


def _replayed(known: "KeyedRequest", secret: bytes) -> Response[bytes]:
    assert known.status is not None
    body = None if known.body is None else unseal(known.body, secret=secret, purpose=_purpose(known))
    if body is None:
        why = "was too large to keep" if known.body is None else "was kept for the secret it was sent with"
        detail = f"the request with `{known.key}` was done, and its answer {why}; read what it did"
        raise Refused("answer_not_kept", detail)
    return Response(body, status_code=known.status, headers={**(known.headers or {}), REPLAYED: "true"})


def _purpose(known: "KeyedRequest") -> str:
    return f"{known.actor} {known.key} {known.request}"


def _is_keyed(scope: Scope) -> bool:
    return any(name == HEADER.encode() for name, _ in scope["headers"])


def _secret(request: HttpRequest) -> bytes:
    """What was shown to be let in: the only thing of a request that no database has."""
    shown = [value for name, value in request.scope["headers"] if name in (b"authorization", b"x-api-key", b"cookie")]
    return b"\n".join(shown)


def _read(shown: Sequence[str]) -> str:
    # The draft writes it as a string of RFC 8941, in quotes; most clients leave them out.
    key = shown[0][1:-1] if len(shown[0]) > 1 and shown[0][0] == shown[0][-1] == '"' else shown[0]
    if len(shown) > 1 or not _KEY.fullmatch(key):
        mistake = Mistake("", "send one `Idempotency-Key` of 1 to 255 visible ASCII characters")
        raise Refused("invalid_key", mistake.message, (mistake,))
    return key


async def _digest(request: HttpRequest) -> str:
    """What tells one request from another: all that decides what it does."""
    scope, said = request.scope, hashlib.sha256()
    headers = [
        b"%b:%b" % (name, value)
        for name, value in sorted(scope["headers"])
        if name in (b"content-type", b"content-encoding") or name.startswith(b"ce-")
    ]
    for part in (scope["path"].encode(), scope["query_string"], *headers, await request.body()):
        said.update(b"%d:%b" % (len(part), part))
    return said.hexdigest()
