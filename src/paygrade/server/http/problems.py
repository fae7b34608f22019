"""Problems: every failure leaves as RFC 9457 problem+json, with a stable `code` and one table of statuses.

Laws: a code has exactly one status; internals never leave (an unhandled error is logged with its traceback and
answered with its request id); `instance` is the request id, which `X-Request-Id` carries as well.
"""

from collections.abc import Callable
from typing import Any

import structlog
from litestar import Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, ValidationException
from msgspec import Struct
from msgspec.json import encode

from paygrade.decisions.denial import STATUSES
from paygrade.server.http.context import HttpRequest
from paygrade.server.http.version import CURRENT
from paygrade.server.http.version import HEADER as VERSION
from paygrade.values.errors import Mistake, Refused, Unavailable

log = structlog.get_logger("paygrade.http")

MEDIA_TYPE = "application/problem+json"


class Kind(Struct, frozen=True):
    """What a code means: its HTTP status and the title every problem of this code has."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "bad_request": Kind(400, "The request is not valid HTTP"),
    "malformed_json": Kind(400, "The body is not valid JSON"),
    "invalid_body": Kind(400, "The body is invalid"),
    "events_rejected": Kind(400, "Some events were rejected"),
    "too_many_events": Kind(400, "There are too many events in the batch"),
    "text_too_long": Kind(400, "A text is too long"),
    "too_much_usage": Kind(400, "The usage is more than can be counted"),
    "invalid_key": Kind(400, "The key is invalid"),
    "invalid_query": Kind(400, "The query is invalid"),
    "format_not_installed": Kind(400, "This server can't write the format"),
    "override_in_force": Kind(409, "Another override counts"),
    "invalid_override": Kind(400, "The override does not fit the feature"),
    "invalid_contract": Kind(400, "The contract's terms are invalid"),
    "invalid_invoice": Kind(400, "The invoice is invalid"),
    "invalid_subscription": Kind(400, "The subscription is invalid"),
    "amount_too_large": Kind(400, "The amount is too large"),
    "already_expired": Kind(400, "The end is in the past"),
    "unknown_provider": Kind(400, "There is no such provider"),
    "catalog_invalid": Kind(400, "The catalog has mistakes"),
    "provider_payload_invalid": Kind(400, "The billing event can't be read"),
    "signature_missing": Kind(400, "The billing event is not signed"),
    "signature_invalid": Kind(400, "The signature does not match"),
    "signature_expired": Kind(400, "The signature is too old"),
    "unauthenticated": Kind(401, "An API key is required"),
    "insufficient_scope": Kind(403, "The key or token does not open this"),
    "address_not_allowed": Kind(403, "The key does not count from this address"),
    "rate_limited": Kind(429, "The key has made too many requests"),
    "log_in_refused": Kind(401, "The log-in is wrong"),
    "code_required": Kind(401, "The code of the authenticator app is missing"),
    "no_role": Kind(403, "None of the person's groups has a role"),
    "password_change_required": Kind(403, "The person needs a password of their own"),
    "same_password": Kind(400, "The new password is the old one"),
    "person_of_provider": Kind(409, "The person comes from a log-in provider"),
    "cross_site": Kind(403, "The request came from another site"),
    "unknown_person": Kind(404, "There is no such person"),
    "email_taken": Kind(409, "Somebody has this e-mail address"),
    "unknown_approval": Kind(404, "There is no such approval"),
    "approval_resolved": Kind(409, "The request waits for nobody any more"),
    "second_person_needed": Kind(403, "Another person has to approve this"),
    "not_the_asker": Kind(403, "Somebody else asked for this"),
    "asker_gone": Kind(409, "Whoever asked may not ask any more"),
    "unknown_api_key": Kind(404, "There is no such API key"),
    "api_key_over": Kind(409, "The API key has ended"),
    "too_many_api_keys": Kind(409, "There are too many API keys"),
    "other_mode": Kind(409, "This deployment is of the other mode"),
    "invalid_context": Kind(400, "The evaluation context is invalid"),
    "targeting_key_missing": Kind(400, "The evaluation context names no account"),
    "not_found": Kind(404, "There is nothing at this address"),
    "oidc_not_configured": Kind(404, "No log-in provider is configured"),
    "no_catalog": Kind(404, "No catalog is published"),
    "unknown_account": Kind(404, "There is no such account"),
    "unknown_block": Kind(404, "There is no such block"),
    "unknown_catalog_version": Kind(404, "There is no such version of the catalog"),
    "unknown_contract": Kind(404, "The account has no such contract"),
    "unknown_feature": Kind(404, "There is no such feature"),
    "unknown_member": Kind(404, "There is no such member"),
    "unknown_override": Kind(404, "There is no such override"),
    "unknown_top_up": Kind(404, "There is no such top-up"),
    "unknown_sweep": Kind(404, "There is no such sweep"),
    "method_not_allowed": Kind(405, "The method is not allowed at this address"),
    "account_has_live_subscription": Kind(409, "The account has a live subscription"),
    "catalog_plan_outdated": Kind(409, "Something has changed since the catalog was planned"),
    "link_taken": Kind(409, "Another account is linked to this customer"),
    "billing_version_conflict": Kind(409, "This version was sent with other content before"),
    "contract_has_invoices": Kind(409, "Invoices were sent under the contract"),
    "subscription_version_conflict": Kind(409, "This version was sent with other content before"),
    "id_conflict": Kind(409, "This id was used for something else"),
    "id_taken": Kind(409, "Another request used this id at the same moment"),
    "purchase_refused": Kind(409, "The provider refused the purchase"),
    "report_refused": Kind(409, "The provider refused the usage report"),
    "idempotency_key_in_use": Kind(409, "The first request with this key is under way"),
    "idempotency_key_reused": Kind(422, "This key was sent with another request"),
    "answer_not_kept": Kind(409, "The request was done, and its answer is not kept"),
    "unknown_api_version": Kind(400, "There is no such version of the API"),
    "precondition_failed": Kind(412, "What is to be changed is not as it was"),
    "raced": Kind(409, "Another request changed this at the same moment"),
    "not_countable": Kind(409, "The feature is not counted"),
    "paid_in_credits": Kind(409, "The feature is paid in credits"),
    "not_yet": Kind(409, "The version or event asked for is not here yet"),
    "not_leasable": Kind(409, "This can't be leased"),
    "unknown_lease": Kind(404, "There is no such lease"),
    "exceeds_lease": Kind(409, "The lease has claimed fewer units"),
    "unknown_node": Kind(404, "There is no such node"),
    "unknown_reservation": Kind(404, "There is no such reservation"),
    "reservation_expired": Kind(409, "The reservation has expired"),
    "reservation_resolved": Kind(409, "The reservation was already resolved"),
    "exceeds_reservation": Kind(409, "The commit is more than what was reserved"),
    "taken_by_members": Kind(409, "Members have these seats"),
    "no_seat_left": Kind(409, "No seat is free"),
    "already_member": Kind(409, "The person is a member already"),
    "not_grantable": Kind(409, "This can't be granted in units"),
    "unknown_grant": Kind(404, "There is no such grant"),
    "date_in_the_past": Kind(400, "The date is in the past"),
    "quantity_not_sold": Kind(400, "This is not sold in this quantity"),
    "unknown_add_on": Kind(404, "There is no such add-on"),
    "unknown_portal_session": Kind(404, "There is no such link to the customers' pages"),
    "unknown_plan": Kind(404, "There is no such plan"),
    "unknown_pin": Kind(404, "The account has no pin for this plan"),
    "unknown_plan_version": Kind(404, "There is no such version of the plan"),
    "unknown_migration": Kind(404, "There is no such migration"),
    "migration_running": Kind(409, "Another migration of the plan is running"),
    "migration_over": Kind(409, "The migration has ended"),
    "unknown_price": Kind(404, "There is no such price"),
    "unknown_decision": Kind(404, "There is no such logged decision"),
    "unknown_quote": Kind(404, "There is no such quote"),
    "ambiguous_price": Kind(409, "More than one price matches"),
    "change_refused": Kind(409, "A rule of the catalog refuses the change"),
    "account_changed": Kind(409, "The account has changed since the quote was made"),
    "catalog_changed": Kind(409, "The catalog has changed since the quote was made"),
    "change_resolved": Kind(409, "The change has already ended"),
    "change_scheduled": Kind(409, "Another change is scheduled"),
    "change_under_way": Kind(409, "Another change is under way"),
    "cooling_off": Kind(409, "It is too soon to change back"),
    "key_conflict": Kind(409, "This key was used for another request"),
    "not_possible_now": Kind(409, "The subscription's state doesn't allow this"),
    "not_revertible": Kind(409, "The change can't be reverted"),
    "quote_expired": Kind(409, "The quote has expired"),
    "quote_used": Kind(409, "The quote was already used"),
    "unknown_change": Kind(404, "There is no such plan change"),
    "no_subscription_to_change": Kind(409, "There is no subscription to change"),
    "provider_refused_change": Kind(409, "The provider refused the change"),
    "already_subscribed": Kind(409, "The account has a subscription already"),
    "trial_not_given": Kind(409, "The catalog gives no trial here"),
    "trial_used": Kind(409, "The account has had its trial"),
    "coupon_not_allowed": Kind(409, "The catalog doesn't allow this coupon"),
    "provider_refused_page": Kind(409, "The provider refused the page"),
    "no_customer": Kind(409, "The account has no customer at the provider"),
    "same_as_now": Kind(409, "There is nothing to change"),
    "top_up_not_failed": Kind(409, "The top-up has not failed"),
    "top_up_open": Kind(409, "Another top-up of the credit is open"),
    "private_address": Kind(400, "Webhooks can't be sent to this address"),
    "unknown_endpoint": Kind(404, "There is no such webhook endpoint"),
    "unknown_update": Kind(404, "There is no such state update"),
    "endpoint_disabled": Kind(409, "The webhook endpoint is disabled"),
    "too_many_endpoints": Kind(409, "There are too many webhook endpoints"),
    "sweep_running": Kind(409, "A sweep is running"),
    "updates_deleted": Kind(410, "These updates are no longer kept"),
    "request_timeout": Kind(408, "The request took too long to arrive"),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body's media type is not supported"),
    "head_too_large": Kind(431, "The request headers are too large"),
    "internal": Kind(500, "Something went wrong on our side"),
    "clock_unavailable": Kind(503, "The clock can't be reached"),
    "contended": Kind(503, "Other requests were changing the same data"),
    "database_unavailable": Kind(503, "The database can't be reached"),
    "not_ready": Kind(503, "The server is not ready"),
    "oidc_unavailable": Kind(503, "The log-in provider can't be reached"),
    "provider_answer_invalid": Kind(503, "The provider's answer can't be understood"),
    "provider_busy": Kind(503, "The provider is busy with the same thing"),
    "provider_rate_limited": Kind(503, "The provider asks for fewer requests"),
    "provider_refused_key": Kind(503, "The provider refused our key"),
    "provider_unreachable": Kind(503, "The provider did not answer"),
    "provider_not_configured": Kind(503, "No provider is configured"),
    "webhooks_not_configured": Kind(503, "No webhook secret is configured"),
    "too_many_streams": Kind(503, "Too many streams are open"),
    **{code: Kind(*its) for code, its in STATUSES.items()},
}


class Problem(Struct, frozen=True, omit_defaults=True):
    """An error as it goes over the wire. `type` is an address of this server that explains the code."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: tuple[Mistake, ...] = ()
    scope: str | None = None
    """What would have opened it."""
    quote_url: str | None = None
    """Where to ask instead."""


# Litestar's own refusals, by status.
_CODES = {
    400: "bad_request",
    401: "unauthenticated",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def problem(
    code: str,
    detail: str,
    *,
    instance: str,
    errors: tuple[Mistake, ...] = (),
    scope: str | None = None,
    quote_url: str | None = None,
) -> Problem:
    kind = KINDS[code]
    return Problem(f"/problems/{code}", kind.title, kind.status, detail, code, instance, errors, scope, quote_url)


def request_id(request: HttpRequest) -> str:
    return str(request.scope["state"]["request_id"])


def answer(request: HttpRequest, code: str, detail: str, errors: tuple[Mistake, ...] = ()) -> Response[bytes]:
    """The HTTP response for one problem."""
    scope = request.scope["state"].get(LACKING)
    instead: dict[str, str] = request.scope["state"].get(INSTEAD, {})
    stated = problem(
        code, detail, instance=request_id(request), errors=errors, scope=scope, quote_url=instead.get(code)
    )
    headers = _headers(stated)
    if scope is not None:
        # RFC 6750, section 3.1
        headers = {"www-authenticate": f'Bearer realm="paygrade", error="insufficient_scope", scope="{scope}"'}
    return Response(encode(stated), status_code=stated.status, media_type=MEDIA_TYPE, headers=headers)


LACKING, TOLD, INSTEAD = "lacking", "told", "instead"
"""In the state of a request: the scope that whoever asks lacks; headers that its answer has, whatever it is; where to
ask instead, by the problem's code."""
HEADERS = {
    401: {"www-authenticate": 'Bearer realm="paygrade"'},  # RFC 6750, section 3
    503: {"retry-after": "1"},
}
"""What goes along with every problem of a status."""
_SOON = {"retry-after": "1"}


def _headers(stated: Problem) -> dict[str, str]:
    return _SOON if stated.code == "idempotency_key_in_use" else HEADERS.get(stated.status, {})


STOPPING = "the server is stopping; try again"


def written(code: str, detail: str, *, instance: str, errors: tuple[Mistake, ...] = ()) -> tuple[int, bytes]:
    """The same where there is no framework: its status, and what follows the headers that every answer has."""
    stated = problem(code, detail, instance=instance, errors=errors)
    body = encode(stated)
    headers = {
        "content-type": MEDIA_TYPE,
        "content-length": str(len(body)),
        "x-request-id": instance,
        VERSION: CURRENT,
        **_headers(stated),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return stated.status, f"{head}\r\n".encode() + body


def of_failure(error: Exception, *, request_id: str, path: str) -> tuple[str, str, tuple[Mistake, ...]]:
    """The code, detail and mistakes of a failure's problem; it is logged unless it is the caller's."""
    match error:
        case Refused():
            return error.code, error.detail, error.mistakes
        case Unavailable(code="not_ready"):
            # Who starts or stops says so to whoever asks, and that is all; what is wrong is logged where it is found.
            log.info("not_ready", detail=error.detail, request_id=request_id)
            return error.code, error.detail, ()
        case Unavailable():
            log.warning("unavailable", code=error.code, detail=error.detail, request_id=request_id)
            return error.code, error.detail, ()
        case _:
            log.error("unhandled", request_id=request_id, path=path, exc_info=error)
            return "internal", "something went wrong on our side; look for this instance in the log", ()


def on_failure(request: HttpRequest, error: Exception) -> Response[bytes]:
    return answer(request, *of_failure(error, request_id=request_id(request), path=request.scope["path"]))


def on_http(request: HttpRequest, error: HTTPException) -> Response[bytes]:
    """What Litestar refuses by itself: no such route, wrong method, bad query, too large."""
    if isinstance(error, ValidationException):
        mistakes = _query_mistakes(error)
        detail = f"the query is invalid: {mistakes[0].message}" if mistakes else error.detail.lower()
        return answer(request, "invalid_query", detail, mistakes)
    code = _CODES.get(error.status_code, "internal" if error.status_code >= 500 else "bad_request")
    path = request.scope["path"]
    details = {
        "not_found": f"there is nothing at `{path}`; `/openapi.json` lists what there is",
        "method_not_allowed": f"`{path}` does not allow {request.method}",
        "body_too_large": "the body is too large; send less at once",
        "internal": "something went wrong on our side; look for this instance in the log",
    }
    response = answer(request, code, details.get(code, error.detail.lower()))
    if isinstance(error, MethodNotAllowedException) and error.headers:
        response.headers.update(error.headers)
    return response


def _query_mistakes(error: ValidationException) -> tuple[Mistake, ...]:
    extra = error.extra if isinstance(error.extra, list) else []
    return tuple(
        Mistake("", f"query parameter `{item.get('key', '')}`: {str(item.get('message', '')).lower()}")
        for item in extra
        if isinstance(item, dict)
    )


# Any: each handler takes its own kind of exception.
HANDLERS: dict[int | type[Exception], Callable[[HttpRequest, Any], Response[Any]]] = {
    HTTPException: on_http,
    Exception: on_failure,
}


def rate_fields(policy: str, a_minute: int, *, left: int, wait_s: int, refused: bool) -> list[tuple[bytes, bytes]]:
    """What an answer says of a rate: how many a minute there may be, how many are left, and in how many seconds there
    are all again, or one again where this was `refused`
    (https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/)."""
    told = {"ratelimit-policy": f'"{policy}";q={a_minute};w=60', "ratelimit": f'"{policy}";r={left};t={wait_s}'}
    if refused:
        told["retry-after"] = str(wait_s)
    return [(name.encode(), value.encode()) for name, value in told.items()]
