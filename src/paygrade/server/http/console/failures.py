"""What goes wrong on a page is said on a page: what happened, and what to do next.

Law: a failure has the code, the status and the words it has for programs; whoever is not logged in is led to the
log-in, and from there back.
"""

from collections.abc import Callable
from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException

from paygrade.server.http.auth import person_before
from paygrade.server.http.console.rendering import here, link, page, see_other
from paygrade.server.http.context import HttpRequest
from paygrade.server.http.problems import HANDLERS as PROBLEMS
from paygrade.server.http.problems import KINDS, LACKING, MEDIA_TYPE, of_failure, request_id
from paygrade.values.errors import Refused, Unavailable

_HTTP = {400: "invalid_query", 404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
_SAID = {
    "not_found": "there is no page at this address",
    "method_not_allowed": "this address is for a form; open the page it stands on",
    "invalid_query": "the address asks for something that can't be read; look at what stands behind the `?`",
    "body_too_large": "the form is too long; write less",
}


def on_failure(request: HttpRequest, error: Exception) -> Response[Any]:
    """A page for what was refused, is away, or went wrong on our side. Any: a page, or a way to the log-in."""
    if isinstance(error, Refused) and error.code == "unauthenticated":
        asked = here(request) if request.method == "GET" else link()
        return see_other(link("login", next=asked if asked != "/console" else ""))
    if isinstance(error, Refused) and error.code == "password_change_required":
        return see_other(link("password"))
    code, detail, mistakes = of_failure(error, request_id=request_id(request), path=request.scope["path"])
    said = [mistake.message for mistake in mistakes if mistake.message not in detail]
    response = problem_page(request, code, detail, said)
    if isinstance(error, Unavailable):
        response.headers["retry-after"] = str(error.retry_after_s or 1)
    return response


def on_http(request: HttpRequest, error: HTTPException) -> Response[Any]:
    """What Litestar refuses by itself. Any: as above."""
    code = _HTTP.get(error.status_code)
    if code is None:
        return on_failure(request, error)
    return problem_page(request, code, _SAID[code], [])


def for_whoever_asks(request: HttpRequest, error: Exception) -> Response[Any]:
    """What went wrong at an address of the API that browsers are sent to: a page for who would rather have one, a
    problem for who would not. Any: either."""
    wants_page = request.accept.best_match([MEDIA_TYPE, "text/html"]) == "text/html"
    handlers = HANDLERS if wants_page else PROBLEMS
    response = handlers[HTTPException if isinstance(error, HTTPException) else Exception](request, error)
    response.headers["vary"] = "accept"
    return response


def problem_page(request: HttpRequest, code: str, detail: str, said: list[str]) -> Response[str]:
    """A calm page about one problem."""
    who = person_before(request)
    return page(
        request,
        "problem.html",
        status=KINDS[code].status,
        title=KINDS[code].title if code != "insufficient_scope" else "Your role does not open this",
        code=code,
        detail=detail,
        said=said,
        lacking=request.scope["state"].get(LACKING),
        role=who.person.role if who is not None else None,
        request_id=request_id(request),
    )


# Any: each handler takes its own kind of exception.
HANDLERS: dict[int | type[Exception], Callable[[HttpRequest, Any], Response[Any]]] = {
    HTTPException: on_http,
    Exception: on_failure,
}
