"""Django: `@gate.require("exports")`, `@gate.consume("api_calls")` on views; the decision is `request.decision`.

Laws: a view that is asynchronous holds no loop, and one that is not needs none; a denial is a problem document; the
fields of what was decided go out with the view's answer.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from msgspec import Struct

from paygrade.client.decision import Decision
from paygrade.client.integrations.gate import (
    MEDIA_TYPE,
    Asked,
    Gate,
    Named,
    Quantity,
    Refusal,
    UpgradeUrl,
    told,
)
from paygrade.client.sdk import Paygrade
from paygrade.values.text import is_chosen_key

View = TypeVar("View", bound=Callable[..., Any])  # Any: whatever views take and give
_WHO = "_paygrade_who"


class Who(Struct, frozen=True):
    """Who is behind a request."""

    account: str | None
    member: str | None


class DjangoGate(Gate):
    """`account` and `member` say of a request who is behind it; under ASGI they are called in a thread, so they may
    read the database."""

    def __init__(
        self,
        sdk: Paygrade,
        *,
        account: Named[HttpRequest],
        member: Named[HttpRequest] | None = None,
        upgrade_url: UpgradeUrl | None = None,
    ) -> None:
        super().__init__(sdk, upgrade_url=upgrade_url)
        self._account, self._member = account, member

    def require(self, feature: str, quantity: Quantity[HttpRequest] = 1) -> Callable[[View], View]:
        """A decorator: the account may use `quantity` more of `feature`. Nothing is counted."""

        def decorator(view: View) -> View:
            def decide(request: HttpRequest) -> Decision:
                return self.allow(self.ask(request, feature, quantity))

            async def adecide(request: HttpRequest) -> Decision:
                return await self.aallow(await sync_to_async(self.ask)(request, feature, quantity))

            return self._around(view, adecide if iscoroutinefunction(view) else decide)

        return decorator

    def consume(
        self, feature: str, quantity: Quantity[HttpRequest] = 1, *, id: Named[HttpRequest] | None = None
    ) -> Callable[[View], View]:
        """A decorator: use `quantity` of `feature`, before the view runs. What `id` says of a request counts once,
        however often it is sent."""

        def decorator(view: View) -> View:
            def decide(request: HttpRequest) -> Decision:
                return self.take(self.ask(request, feature, quantity, id))

            async def adecide(request: HttpRequest) -> Decision:
                return await self.atake(await sync_to_async(self.ask)(request, feature, quantity, id))

            return self._around(view, adecide if iscoroutinefunction(view) else decide)

        return decorator

    def decision(self, request: HttpRequest, feature: str, quantity: int = 1) -> Decision | None:
        """The decision on `quantity` more of `feature`, allowed or denied; None: the request is nobody's."""
        try:
            asked = self.ask(request, feature, quantity)
        except Refusal:
            return None
        return self.sdk.check(asked.account, feature, asked.quantity, member=asked.member)

    def ask(
        self,
        request: HttpRequest,
        feature: str,
        quantity: Quantity[HttpRequest] = 1,
        id: Named[HttpRequest] | None = None,
    ) -> Asked:
        """What is asked of a request. Raises Refusal where it is nobody's."""
        who = self.who(request)
        return self.asked(who.account, feature, told(quantity, request), who.member, told(id, request))

    def who(self, request: HttpRequest) -> Who:
        found: Who | None = getattr(request, _WHO, None)
        return found or Who(self._account(request), told(self._member, request))

    def know_who(self, request: HttpRequest) -> None:
        """Have the account of a request known, and who it is, so that a loop needs to wait for neither."""
        who = self.who(request)
        setattr(request, _WHO, who)
        if is_chosen_key(who.account):
            self.sdk.check(who.account, "", 0)

    async def aknow_who(self, request: HttpRequest) -> None:
        """The same from inside the loop, without holding it."""
        who = await sync_to_async(self.who)(request)
        setattr(request, _WHO, who)
        await self.know(who.account)

    def _around(self, view: View, decide: Callable[[HttpRequest], Any]) -> View:  # Any: a Decision, maybe to await
        if iscoroutinefunction(view):

            @wraps(view)
            async def agated(request: HttpRequest, *args: Any, **named: Any) -> Any:
                try:
                    request.decision = await decide(request)
                except Refusal as refusal:
                    return answer(refusal)
                fields = self.fields(request.decision)
                return with_fields(await view(request, *args, **named), fields)

            return cast("View", agated)

        @wraps(view)
        def gated(request: HttpRequest, *args: Any, **named: Any) -> Any:
            try:
                request.decision = decide(request)
            except Refusal as refusal:
                return answer(refusal)
            fields = self.fields(request.decision)
            return with_fields(view(request, *args, **named), fields)

        return cast("View", gated)


def configured_gate() -> DjangoGate:
    """The gate that the setting `PAYGRADE` names. Raises ImproperlyConfigured."""
    named: Mapping[str, str] = getattr(settings, "PAYGRADE", {})
    if "GATE" not in named:
        raise ImproperlyConfigured('say where your DjangoGate is: PAYGRADE = {"GATE": "shop.billing.gate"}')
    gate = import_string(named["GATE"])
    if not isinstance(gate, DjangoGate):
        raise ImproperlyConfigured(f"`{named['GATE']}` is no DjangoGate")
    return gate


def answer(refusal: Refusal) -> HttpResponse:
    return HttpResponse(refusal.body, status=refusal.status, content_type=MEDIA_TYPE, headers=refusal.fields)


def with_fields(response: HttpResponse, fields: Mapping[str, str]) -> HttpResponse:
    """The response with these fields besides those of the same name that it has: they are lists (RFC 9651)."""
    for name, value in fields.items():
        before = response.headers.get(name)
        response.headers[name] = f"{before}, {value}" if before else value
    return response
