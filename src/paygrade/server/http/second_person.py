"""Requests that need a second person: one is tried and waits, and is done when somebody else approves it (ADR 29).

Theory of operation. Between guards and handler, a request of a kind that needs a second person is sent through the
routes again inside of a transaction that is undone: that is its preview, with every check there is. If it would
succeed, it is kept as it was sent, and answered with 202. Approving sends it through the routes once more, as whoever
asked, inside of the transaction that says that it is approved.

Laws: what is refused is refused at once, in its own words; what waits has changed nothing; a request is done once.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar import Response
from litestar.types import Message
from msgspec import Struct
from msgspec.json import encode

from paygrade.server.http.auth import AS, Caller, caller_before, scopes_of
from paygrade.server.http.bodies import read_flag
from paygrade.server.http.context import Context, HttpRequest, context_of, put_context
from paygrade.server.http.idempotency import recall
from paygrade.server.http.openapi import Described
from paygrade.server.http.parameters import queries
from paygrade.server.operations import approvals
from paygrade.server.process.acting import acting, set_acting
from paygrade.server.state.api_keys import KnownKey
from paygrade.values.errors import Refused

BODY_BYTES_MAX = 64 * 1024
_KEPT = frozenset({"content-type", "content-encoding", "idempotency-key", "paygrade-version"})
"""Headers that a request is done with later."""


class Sent(Struct, frozen=True):
    """A request to send through the routes. `path` is as it was sent, percent-encoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Answered(Struct, frozen=True):
    """What came of it."""

    status: int
    headers: dict[str, str]
    body: bytes


class NotDone(Exception):
    """What was done is to be undone; this is why."""

    def __init__(self, answered: Answered) -> None:
        super().__init__(answered.status)
        self.answered = answered


async def before_handler(request: HttpRequest) -> Response[bytes] | None:
    """What comes between the guards and the handlers."""
    answer = await recall(request)
    return answer if answer is not None else await _hold(request, context_of(request.scope))


async def _hold(request: HttpRequest, context: Context) -> Response[bytes] | None:
    """Have it wait, if it needs a second person; None: it is to be done."""
    told: Described | None = request.route_handler.opt.get("described")  # None: Litestar's own answer to OPTIONS
    if told is None or told.second_person not in context.second_person:
        return None
    if AS in request.scope["state"] or _only_asks(request):
        return None
    assert told.second_person is not None
    assert told.scope is not None
    at, account, sent = context.clock.now(), str(request.path_params["account"]), await _sent(request)
    version, catalog_version = await approvals.ground(context.store, account)
    preview = await _tried(request, context, sent)
    if preview.status >= 300:
        return _response(preview)
    who, who_acts = acting(), acting().actor
    asked = approvals.Asked(
        account=account,
        kind=told.second_person,
        scope=told.scope,
        digest=_digest(sent, who_acts.id),
        method=sent.method,
        path=sent.path,
        query=sent.query,
        headers=sent.headers,
        body=sent.body,
        preview=msgspec.json.decode(preview.body) if preview.body else None,
        asked_by={"kind": who_acts.kind, "id": who_acts.id, "name": who_acts.name},
        account_version=version,
        catalog_version=catalog_version,
    )
    set_acting(who)
    held = await approvals.ask(context.store, asked, at)
    return Response(
        encode(held), status_code=202, media_type="application/json", headers={"location": f"/v1/approvals/{held.id}"}
    )


async def _tried(request: HttpRequest, context: Context, sent: Sent) -> Answered:
    """What the request would be answered with. Everything is undone."""
    who = acting()
    try:
        async with context.store.whole():
            raise NotDone(await _through(request, sent, caller_before(request)))
    except NotDone as tried:
        return tried.answered
    finally:
        set_acting(who)


async def approve(request: HttpRequest, context: Context, *, id: str, reason: str, at: datetime) -> Response[bytes]:
    """Do what waits. What is refused by now is undone, and refused in its own words."""
    who = acting()
    try:
        async with context.store.whole():
            held, opened = await approvals.take(context.store, id=id, granted=scopes_of(request), at=at)
            asker = approvals.asker_of(held)
            sent = Sent(held.method, held.path, held.query, held.headers, held.body)
            caller = KnownKey(id=asker.id, actor=asker, digest=b"", scopes=opened)
            answered = await _through(request, sent, caller)
            if answered.status >= 300:
                raise NotDone(answered)
            set_acting(who)
            done = await approvals.approved(context.store, held, reason=reason, at=at)
    except NotDone as refused:
        return _response(refused.answered)
    finally:
        set_acting(who)
    answer = msgspec.json.decode(answered.body) if answered.body else None
    body = encode(approvals.Approved(done, answer))
    return Response(body, status_code=200, media_type="application/json")


async def _through(request: HttpRequest, sent: Sent, caller: Caller) -> Answered:
    """Send a request through the routes, as somebody who is known already."""
    return await pass_on(request, sent, {AS: caller})


async def pass_on(request: HttpRequest, sent: Sent, state: Mapping[str, Any]) -> Answered:
    """Send a request through the routes, with what is in the `state` of its scope. Any: of every kind."""
    scope: Any = {  # Any: ASGI's
        "type": "http",
        "asgi": request.scope["asgi"],
        "http_version": "1.1",
        "scheme": request.scope["scheme"],
        "server": request.scope.get("server"),
        "client": request.scope.get("client"),
        "root_path": "",
        "method": sent.method,
        "path": sent.path,
        "raw_path": sent.path.encode(),
        "query_string": _at_once(sent.query).encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.headers.items()],
        "state": {"request_id": request.scope["state"]["request_id"], **state},
    }
    put_context(scope, context_of(request.scope))
    messages: list[Message] = []
    parts = [sent.body]

    async def receive() -> Any:  # Any: ASGI's
        return {"type": "http.request", "body": parts.pop() if parts else b"", "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await request.app(scope, receive, send)
    start: Any = messages[0]  # Any: ASGI's
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
    body = b"".join(part.get("body", b"") for part in messages[1:] if part["type"] == "http.response.body")
    return Answered(start["status"], headers, body)


def _at_once(query: str) -> str:
    """Nothing is waited for inside of a transaction: others can't see it yet."""
    return urlencode([*[pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "wait_s"]])


async def _sent(request: HttpRequest) -> Sent:
    body = await request.body()
    if len(body) > BODY_BYTES_MAX:
        raise Refused("body_too_large", f"a request that needs a second person has at most {BODY_BYTES_MAX} bytes")
    scope = request.scope
    path = scope.get("raw_path", scope["path"].encode()).split(b"?")[0].decode("ascii", "replace")
    headers = {str(name): value for name, value in request.headers.items() if name in _KEPT}
    return Sent(request.method, path, scope["query_string"].decode("latin-1"), headers, body)


def _only_asks(request: HttpRequest) -> bool:
    """Whether it changes nothing by itself. A route that knows no such switch does not look at it."""
    knows = any(query.name == "dry_run" for query in queries(request.route_handler.fn))
    return knows and read_flag(request.query_params.get("dry_run"), name="dry_run")


def _digest(sent: Sent, asker: str) -> str:
    """What tells one request of somebody from another."""
    said = hashlib.sha256()
    for part in (asker, sent.method, sent.path, sent.query, encode(sorted(sent.headers.items())), sent.body):
        raw = part.encode() if isinstance(part, str) else part
        said.update(b"%d:%b" % (len(raw), raw))
    return said.hexdigest()


def _response(answered: Answered) -> Response[bytes]:
    headers = {name: value for name, value in answered.headers.items() if name not in ("content-length", "etag")}
    media_type = headers.pop("content-type", "application/json")
    return Response(answered.body, status_code=answered.status, media_type=media_type, headers=headers)
