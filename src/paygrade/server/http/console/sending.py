"""What a form asks for is done by the route that programs ask for it: with its scope, its checks, its audit record, and
a second person where the server wants one (ADR 36).

Laws: there is one way to change something; a preview is the change itself, undone, so it says what would happen and
nothing has happened; a form that is sent twice does it once.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from paygrade.server.http.auth import AS, caller_before
from paygrade.server.http.context import HttpRequest, context_of
from paygrade.server.http.problems import KINDS
from paygrade.server.http.second_person import Sent, pass_on
from paygrade.server.process.acting import acting, set_acting
from paygrade.values.errors import Mistake, Refused, Unavailable

T = TypeVar("T")
_SHOWN = ("cookie", "origin", "host")
"""Headers of the form's own request that prove who sends it, and from where."""


class Sending(Struct, frozen=True):
    """A request to a route of the API: `Sending("PUT", ("accounts", "acme", "blocks", "fraud"), {})`. `key` is what a
    POST is done once under: `make_key`, in a hidden field of the form. Any: a JSON body."""

    method: Literal["POST", "PUT", "DELETE", "PATCH"]
    path: tuple[str, ...]
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] = {}
    key: str = ""


class Done(Struct, frozen=True):
    """What came of it. `waits`: the id of what waits for a second person; None: it is done. Any: the answer's JSON."""

    answer: Any
    waits: str | None = None


class _Undone(Exception):
    """What was done only to look at it."""

    def __init__(self, seen: Any) -> None:  # Any: whatever was looked at
        super().__init__()
        self.seen = seen


def make_key() -> str:
    """A key that one form is sent under."""
    return f"console_{secrets.token_urlsafe(18)}"


async def send(request: HttpRequest, sending: Sending) -> Done:
    """Do it, as the person who has sent the form. Refused and Unavailable as the route says."""
    shown = {name: value for name in _SHOWN if (value := request.headers.get(name)) is not None}
    if sending.method == "POST" and sending.key:
        shown["idempotency-key"] = sending.key
    return await _passed_on(request, sending, shown, {})


async def _passed_on(
    request: HttpRequest, sending: Sending, shown: Mapping[str, str], state: Mapping[str, Any]
) -> Done:
    """Any: as in the state of a request."""
    headers = {"content-type": "application/json", **shown}
    body = msgspec.json.encode(sending.body) if sending.body is not None else b""
    path = "/".join(["/v1", *(quote(segment, safe="") for segment in sending.path)])
    who = acting()
    try:
        sent = Sent(sending.method, path, urlencode(sending.query), headers, body)
        answered = await pass_on(request, sent, state)
    finally:
        set_acting(who)
    # Any: decoded JSON, None where there is nothing to say
    said: Any = msgspec.json.decode(answered.body) if answered.body else None
    if answered.status >= 400:
        raise _failure(said)
    waits = said["id"] if answered.status == 202 and "/approvals/" in answered.headers.get("location", "") else None
    return Done(said, waits)


async def try_out(request: HttpRequest, sending: Sending, look: Callable[[], Awaitable[T]]) -> T:
    """What one would see afterwards. Everything is undone. Refused as the change would be."""
    context = context_of(request.scope)
    try:
        async with context.store.whole():
            # As somebody who is known, it waits for nobody, and is kept under no key.
            await _passed_on(request, sending, {}, {AS: caller_before(request)})
            raise _Undone(await look())
    except _Undone as undone:
        seen: T = undone.seen
        return seen


def _failure(said: Mapping[str, Any]) -> Refused | Unavailable:
    code, detail = said["code"], said["detail"]
    if code == "internal":
        raise RuntimeError(f"a route that a form was sent to failed: {detail}")
    if KINDS[code].status == 503:
        return Unavailable(code, detail)
    return Refused(code, detail, tuple(Mistake(each["pointer"], each["message"]) for each in said.get("errors", ())))
