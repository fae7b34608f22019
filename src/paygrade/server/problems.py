"""Problems: every failure leaves as RFC 9457 problem+json, with a stable `code` and one table of statuses.

Laws: a code has exactly one status; internals never leave (an unhandled error is logged with its traceback and
answered with its request id); `instance` is the request id, which `X-Request-Id` carries as well.
"""

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, ValidationException
from msgspec import Struct
from msgspec.json import encode

from paygrade.errors import Mistake, Refused, Unavailable

log = structlog.get_logger("paygrade.http")

MEDIA_TYPE = "application/problem+json"


class Kind(Struct, frozen=True):
    """What a code means: its HTTP status and the title every problem of this code has."""

    status: int
    title: str


KINDS: dict[str, Kind] = {
    "bad_request": Kind(400, "The request makes no sense as HTTP"),
    "malformed_json": Kind(400, "The body is not JSON"),
    "malformed_yaml": Kind(400, "The body is not YAML"),
    "invalid_body": Kind(400, "The body is not as expected"),
    "invalid_key": Kind(400, "The key is not one we can keep"),
    "invalid_query": Kind(400, "The query is not as expected"),
    "invalid_instant": Kind(400, "The instant cannot be read"),
    "invalid_signature": Kind(400, "The signature does not match"),
    "malformed_event": Kind(400, "The billing event cannot be read"),
    "unauthenticated": Kind(401, "A key is needed"),
    "not_found": Kind(404, "There is nothing at this address"),
    "method_not_allowed": Kind(405, "This address does not take this method"),
    "body_too_large": Kind(413, "The body is too large"),
    "unsupported_media_type": Kind(415, "The body's media type is not understood here"),
    "internal": Kind(500, "Something went wrong on our side"),
    "unavailable": Kind(503, "Something this server needs does not answer"),
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


# Litestar's own refusals, by status.
_CODES = {
    400: "bad_request",
    401: "unauthenticated",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def problem(code: str, detail: str, *, instance: str, errors: tuple[Mistake, ...] = ()) -> Problem:
    kind = KINDS[code]
    return Problem(f"/problems/{code}", kind.title, kind.status, detail, code, instance, errors)


def request_id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])


def answer(request: Request, code: str, detail: str, errors: tuple[Mistake, ...] = ()) -> Response[bytes]:
    """The HTTP response for one problem."""
    stated = problem(code, detail, instance=request_id(request), errors=errors)
    headers = {}
    if stated.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="paygrade"'  # RFC 6750, section 3
    if stated.status == 503:
        headers["Retry-After"] = "1"
    return Response(encode(stated), status_code=stated.status, media_type=MEDIA_TYPE, headers=headers)


def on_refused(request: Request, error: Refused) -> Response[bytes]:
    return answer(request, error.code, error.detail, error.mistakes)


def on_unavailable(request: Request, error: Unavailable) -> Response[bytes]:
    log.warning("unavailable", code=error.code, detail=error.detail, request_id=request_id(request))
    return answer(request, error.code, error.detail)


def on_http(request: Request, error: HTTPException) -> Response[bytes]:
    """What Litestar refuses by itself: no such route, wrong method, bad query, too large."""
    if isinstance(error, ValidationException):
        return answer(request, "invalid_query", "the query is not as expected", _query_mistakes(error))
    code = _CODES.get(error.status_code, "internal" if error.status_code >= 500 else "bad_request")
    path = request.scope["path"]
    details = {
        "not_found": f"there is nothing at `{path}`; `/openapi.json` lists what there is",
        "method_not_allowed": f"`{path}` does not take {request.method}",
        "body_too_large": "the body is too large; send less at once",
        "internal": "something went wrong on our side; the log has it under this instance",
    }
    response = answer(request, code, details.get(code, error.detail.lower()))
    if isinstance(error, MethodNotAllowedException) and error.headers:
        response.headers.update(error.headers)
    return response


def on_unhandled(request: Request, error: Exception) -> Response[bytes]:
    log.error("unhandled", request_id=request_id(request), path=request.scope["path"], exc_info=error)
    return answer(request, "internal", "something went wrong on our side; the log has it under this instance")


def _query_mistakes(error: ValidationException) -> tuple[Mistake, ...]:
    extra = error.extra if isinstance(error.extra, list) else []
    return tuple(
        Mistake("", f"query parameter `{item.get('key', '')}`: {str(item.get('message', '')).lower()}")
        for item in extra
        if isinstance(item, dict)
    )


HANDLERS = {
    Refused: on_refused,
    Unavailable: on_unavailable,
    HTTPException: on_http,
    Exception: on_unhandled,
}
