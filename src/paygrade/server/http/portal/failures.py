"""What goes wrong on a customers' page is said there, in words for customers.

Law: what programs are told of a failure, with its names of routes and variables, is shown to no customer.
"""

from collections.abc import Callable
from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException

from paygrade.server.http.context import HttpRequest
from paygrade.server.http.portal.rendering import Place, page, words_for
from paygrade.server.http.portal.wording import Words
from paygrade.server.http.problems import KINDS, of_failure, request_id
from paygrade.values.errors import Refused, Unavailable

PLACE, WORDS = "portal_place", "portal_words"
"""Where a request keeps whose pages it is for, and in which words."""
_SAME = {
    "account_changed": "changed",
    "catalog_changed": "changed",
    "quote_expired": "changed",
    "quote_used": "changed",
    "unknown_quote": "changed",
    "already_subscribed": "changed",
    "contended": "changed",
    "provider_busy": "away",
    "provider_rate_limited": "away",
    "provider_unreachable": "away",
    "provider_refused_page": "away",
    "provider_refused_key": "away",
    "provider_answer_invalid": "away",
    "provider_not_configured": "away",
}


def told(words: Words, error: Exception) -> tuple[int, str]:
    """The status of a failure, and what a customer is told."""
    code = error.code if isinstance(error, Refused | Unavailable) else "internal"
    status = KINDS[code].status if code in KINDS else 409
    key = f"portal.error.{_SAME.get(code, code)}"
    return status, words.say(key if words.has(key) else "portal.wrong")


def on_failure(request: HttpRequest, error: Exception) -> Response[Any]:
    """A page. Any: of text."""
    state = request.scope["state"]
    place: Place | None = state.get(PLACE)
    words: Words = state.get(WORDS) or words_for(request, None)
    if isinstance(error, Refused) and error.code == "unauthenticated":
        return page(request, "problem.html", words, None, status=404, title=words.say("portal.over_title"),
                    text=words.say("portal.over_text"))  # fmt: skip
    # Whoever runs the server reads of it in the log; of its path the secret is no part.
    of_failure(error, request_id=request_id(request), path="/portal/…")
    status, text = told(words, error)
    response = page(
        request, "problem.html", words, place, status=status, title=words.say("portal.wrong_title"), text=text
    )
    if isinstance(error, Unavailable):
        response.headers["retry-after"] = str(error.retry_after_s or 1)
    return response


def on_http(request: HttpRequest, error: HTTPException) -> Response[Any]:
    """What Litestar refuses by itself. Any: as above."""
    words: Words = request.scope["state"].get(WORDS) or words_for(request, None)
    status = error.status_code if error.status_code < 500 else 500
    if status == 500:
        return on_failure(request, error)
    return page(request, "problem.html", words, None, status=status, title=words.say("portal.wrong_title"),
                text=words.say("portal.wrong"))  # fmt: skip


# Any: each handler takes its own kind of exception.
HANDLERS: dict[int | type[Exception], Callable[[HttpRequest, Any], Response[Any]]] = {
    HTTPException: on_http,
    Exception: on_failure,
}
