"""Django's middleware: the account is known before an asynchronous view runs, and what Django REST framework answers to
a denial is the problem document that it should be.

Law: it is the same under WSGI and ASGI, but that nothing waits in a loop.
"""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import markcoroutinefunction
from django.http import HttpRequest, HttpResponse

from paygrade.client.integrations.django.gate import answer, configured_gate, with_fields
from paygrade.client.integrations.gate import MEDIA_TYPE, Fields, Refusal

_NOTED, _REFUSED = "_paygrade_fields", "_paygrade_refusal"


class PaygradeMiddleware:
    """Name it after Django's AuthenticationMiddleware, so that `account` knows who is logged in."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:  # Any: a response, maybe to await
        self._get_response, self._gate = get_response, configured_gate()
        self._asynchronous = iscoroutinefunction(get_response)
        if self._asynchronous:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if self._asynchronous:
            return self._answer_in_loop(request)
        return _completed(request, self._get_response(request))

    async def _answer_in_loop(self, request: HttpRequest) -> HttpResponse:
        await self._gate.aknow_who(request)
        return _completed(request, await self._get_response(request))

    def process_view(self, request: HttpRequest, view: Callable[..., Any], *_: Any) -> None:  # Any: whatever views take
        if not self._asynchronous and iscoroutinefunction(view):
            self._gate.know_who(request)

    def process_exception(self, _: HttpRequest, error: Exception) -> HttpResponse | None:
        """What a view lets through of refusals is answered, too."""
        return answer(error) if isinstance(error, Refusal) else None


def note(request: HttpRequest, fields: dict[str, str]) -> None:
    """Have these fields added to the answer."""
    if not hasattr(request, _NOTED):
        setattr(request, _NOTED, Fields())
    getattr(request, _NOTED).add(fields)


def note_refusal(request: HttpRequest, refusal: Refusal) -> None:
    """Have what is answered with its status be a problem document, with its fields."""
    setattr(request, _REFUSED, refusal)


def _completed(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    fields: Fields | None = getattr(request, _NOTED, None)
    if fields is not None:
        with_fields(response, fields.lines)
    refusal: Refusal | None = getattr(request, _REFUSED, None)
    if refusal is not None and response.status_code == refusal.status:
        with_fields(response, refusal.fields)
        if response.headers.get("Content-Type", "").startswith("application/json"):
            response.headers["Content-Type"] = MEDIA_TYPE
    return response
