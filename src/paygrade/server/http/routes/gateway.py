"""The gateway: what a proxy asks before it lets a request through (nginx `auth_request`, Traefik ForwardAuth, Envoy
ext_authz over HTTP).

Laws: it answers by its status alone, and decides as `check` does; what a header says goes before the query, since a
proxy may pass the visitor's query on, and behind an address of the proxy's own the query says nothing.
"""

import json
from typing import Annotated, Any, cast

from litestar import Response, get, post
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import to_builtins
from msgspec.json import encode

from paygrade.decisions.denial import denial, rate_limit
from paygrade.decisions.message import DecisionView
from paygrade.server.http.auth import KEY_HEADER
from paygrade.server.http.bodies import invalid, read_key
from paygrade.server.http.context import Context, HttpRequest, InContext
from paygrade.server.http.openapi import describe
from paygrade.server.http.parameters import text
from paygrade.server.http.problems import HEADERS, MEDIA_TYPE, problem, request_id
from paygrade.server.http.routes import examples
from paygrade.server.operations.accounts import access
from paygrade.values.errors import Mistake, Refused
from paygrade.values.text import QUANTITY_MAX

ADDRESS = "/v1/authorize"
PROBLEM_BYTES_MAX = 2000
"""Proxies keep the head of an answer in a buffer of 4 KiB."""
_HEADERS = {
    "X-Paygrade-Account": "The account's key.",
    "X-Paygrade-Feature": "The feature's key.",
    "X-Paygrade-Member": "Who asks, for features with roles or seats.",
    "X-Paygrade-Quantity": "For how many units; 1.",
}
_TOLD: dict[str, Any] = {
    KEY_HEADER: "x-paygrade-key",
    **describe(
        "decisions",
        repeating="reads",
        scope="decisions:read",
        example=examples.DECISION,
        kind=DecisionView,
        headers=_HEADERS,
        problems=("payment_required", "not_permitted", "over_limit", "usage_unknown", "invalid_key"),
    ),
}
Feature = Annotated[str | None, text("The feature's key, without the header.")]
Quantity = Annotated[str | None, text("For how many units, without the header.")]


class AnyAddress:
    """Lets a proxy put the address, the method and the query of what it asks for behind ours, as Envoy does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not scope["path"].startswith(f"{ADDRESS}/"):
            await self._app(scope, receive, send)
            return
        ours: Any = {**scope, "path": ADDRESS, "raw_path": ADDRESS.encode(), "query_string": b"", "method": "GET"}
        try:
            await self._app(cast("Scope", ours), receive, send)
        finally:
            scope["path_template"] = ADDRESS


@get(ADDRESS, opt=_TOLD)
async def authorize(
    request: HttpRequest, context: InContext, feature: Feature = None, quantity: Quantity = None
) -> Response[bytes]:
    """Authorize a request.

    What a proxy asks before it lets a request through: 200 lets it. Otherwise the answer is a problem to show, with
    `message`: 402 (another plan or a payment is needed), 403, or 429 with `Retry-After`; 401 is about the key, which
    may come as `X-Paygrade-Key`, too. The headers `X-Paygrade-Reason`, `-Plan`, `-Limit`, `-Remaining` and `RateLimit`
    say more, `X-Paygrade-Problem` holds the problem on one line.
    """
    return await _authorize(request, context, feature, quantity)


@post(ADDRESS, status_code=200, opt=_TOLD)
async def authorize_posted(
    request: HttpRequest, context: InContext, feature: Feature = None, quantity: Quantity = None
) -> Response[bytes]:
    """Authorize a request by POST.

    The same as by GET.
    """
    return await _authorize(request, context, feature, quantity)


async def _authorize(
    request: HttpRequest, context: Context, feature: str | None, quantity: str | None
) -> Response[bytes]:
    account, feature = _said(request, "account"), _said(request, "feature") or feature
    if not feature:
        raise _wrong("X-Paygrade-Feature", "is missing: name the feature, or add `?feature=` to the address")
    if not account:
        nobody = problem("not_permitted", "the request names no account to ask about", instance=request_id(request))
        return _denied({**to_builtins(nobody), "message": nobody.detail}, {})
    at = context.clock.now()
    decision = await access.check(
        context.store,
        context.snapshots,
        account=read_key(account, pointer="/x-paygrade-account", noun="account"),
        feature=read_key(feature, pointer="/x-paygrade-feature", noun="feature"),
        quantity=_units(_said(request, "quantity") or quantity or "1"),
        member=_said(request, "member"),
        at=at,
    )
    context.note_decision(decision)
    context.log_decision(decision, "authorize", _said(request, "member"))
    headers, denied = _headers(decision) | rate_limit(decision, at), denial(decision, at)
    if denied is None:
        return Response(encode(decision), media_type="application/json", headers=headers)
    return _denied({**to_builtins(denied), "instance": request_id(request)}, headers)


def _denied(told: dict[str, Any], headers: dict[str, str]) -> Response[bytes]:
    """Any: the members of a problem."""
    headers = headers | HEADERS.get(told["status"], {})
    if len(line := json.dumps(told)) <= PROBLEM_BYTES_MAX:
        headers["X-Paygrade-Problem"] = line
    return Response(encode(told), status_code=told["status"], media_type=MEDIA_TYPE, headers=headers)


def _said(request: HttpRequest, name: str) -> str | None:
    """What a header says; None: there is none, or it is empty. Refused `invalid_key` unless it is UTF-8."""
    said: str = request.headers.get(f"x-paygrade-{name}", "")
    try:
        return said.encode("latin-1").decode() or None
    except UnicodeDecodeError:
        message = f"X-Paygrade-{name.title()} is not UTF-8"
        raise invalid("invalid_key", "the header", [Mistake("", message)]) from None


def _units(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(QUANTITY_MAX)) and int(text) <= QUANTITY_MAX):
        raise _wrong("X-Paygrade-Quantity", f"is a whole number from 0 to {QUANTITY_MAX}")
    return int(text)


def _wrong(header: str, message: str) -> Refused:
    return invalid("invalid_query", "the request", [Mistake("", f"{header} {message}")])


def _headers(decision: DecisionView) -> dict[str, str]:
    told = {
        "Reason": decision.reason,
        "Plan": decision.plan,
        "Limit": decision.limit,
        "Remaining": decision.remaining,
        "Version": decision.version,
        "Stale": "true" if decision.stale else None,
    }
    return {f"X-Paygrade-{name}": str(value) for name, value in told.items() if value is not None}
