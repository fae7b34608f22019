"""A product made with Django: its addresses and views. Django has to be set up, and the SDK's environment set, before
this is imported."""

from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.response import Response
from rest_framework.views import APIView

from paygrade import Paygrade
from paygrade.client.integrations.django.gate import DjangoGate
from paygrade.client.integrations.django.permissions import requires
from paygrade.client.integrations.gate import Refusal


def account_of(request: HttpRequest) -> str | None:
    # Only allowed outside of an event loop, as everything that reads the database is.
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    visitor: str | None = request.headers.get("x-visitor")
    return visitor


gate = DjangoGate(
    Paygrade(timeout_s=10),
    account=account_of,
    member=lambda request: request.headers.get("x-member"),
    upgrade_url="https://example.com/billing",
)


@gate.require("exports")
def export(_: HttpRequest) -> HttpResponse:
    return HttpResponse("a file")


def counted_rows(_: HttpRequest) -> int:
    # As above: only outside of a loop.
    with connection.cursor() as cursor:
        cursor.execute("select 1")
        return int(cursor.fetchone()[0])


@gate.require("exports", counted_rows)
async def export_in_loop(_: HttpRequest) -> HttpResponse:
    return HttpResponse("a file")


@gate.consume("api_calls", lambda request: int(request.GET.get("calls", 1)))
def call(request: Any) -> HttpResponse:
    return HttpResponse(str(request.decision.remaining))


@gate.consume("api_calls", id=lambda request: request.headers.get("idempotency-key"))
async def call_in_loop(request: Any) -> HttpResponse:
    return HttpResponse(str(request.decision.remaining))


@gate.consume("api_calls")
@gate.require("api_calls", 500)
def two_gates(_: HttpRequest) -> HttpResponse:
    return HttpResponse("both")


@method_decorator(gate.require("exports"), name="dispatch")
class Exports(View):  # type: ignore[misc]  # Django has no types
    def get(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse("a file")


PAGE = """{% load paygrade %}{% decision "exports" as exports %}{% decision "seats" 8 as seats %}
{% if exports %}Export{% else %}<a>{{ exports.message }}</a>{% endif %}, {{ seats.reason }}"""


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


async def page_in_loop(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


def by_itself(request: HttpRequest) -> HttpResponse:
    """A view that asks by itself, and lets a refusal through."""
    gate.allow(gate.ask(request, "exports"))
    raise Refusal({"message": "never", "status": 500}, {}, None)


class Asks(APIView):  # type: ignore[misc]  # the framework has no types
    permission_classes: list[type[BasePermission]] = [requires("exports")]

    def get(self, request: Any) -> Response:
        return Response({"left": request.decision.remaining})


class Counted(Asks):
    permission_classes = [requires("api_calls", 5)]

    @method_decorator(gate.consume("api_calls", 5))  # type: ignore[untyped-decorator]  # Django has no types
    def post(self, request: Any) -> Response:
        return Response({"left": request.decision.remaining})


class Either(Asks):
    permission_classes = [AllowAny | requires("exports")]

    def get(self, request: Any) -> Response:
        return Response("allowed")


urlpatterns = [
    path("export", export),
    path("export-in-loop", export_in_loop),
    path("call", call),
    path("call-in-loop", call_in_loop),
    path("two-gates", two_gates),
    path("exports", Exports.as_view()),
    path("page", page),
    path("page-in-loop", page_in_loop),
    path("by-itself", by_itself),
    path("api/exports", Asks.as_view()),
    path("api/calls", Counted.as_view()),
    path("api/either", Either.as_view()),
]
