"""FastAPI: `Depends(gate.require("exports"))`, `Depends(gate.consume("api_calls"))`, which give the Decision.

Laws: the event loop is never held; a denial is a problem document; the fields of what was decided go out with
whatever the endpoint answers.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.params import Depends as Dependency

from paygrade.client.decision import Decision
from paygrade.client.integrations.asgi import RateLimitFields, note
from paygrade.client.integrations.gate import MEDIA_TYPE, AsyncNamed, AsyncQuantity, Gate, Refusal, UpgradeUrl, atold
from paygrade.client.sdk import Paygrade

Named = AsyncNamed[Request]
Decided = Callable[..., Awaitable[Decision]]
"""A dependency that gives a Decision; FastAPI calls it with what it asks for."""


class FastAPIGate(Gate):
    """`account` and `member` are functions of the request, or dependencies: `account=Depends(current_workspace)`."""

    def __init__(
        self,
        sdk: Paygrade,
        *,
        account: Named | Dependency,
        member: Named | Dependency | None = None,
        upgrade_url: UpgradeUrl | None = None,
    ) -> None:
        super().__init__(sdk, upgrade_url=upgrade_url)
        self._account, self._member = _dependency(account), _dependency(member)

    def install(self, app: FastAPI) -> None:
        """Have the application answer denials as problem documents, and add the fields of what was decided."""
        app.add_exception_handler(Refusal, _answer)
        app.add_middleware(RateLimitFields)

    def require(self, feature: str, quantity: AsyncQuantity[Request] = 1) -> Decided:
        """A dependency: the account may use `quantity` more of `feature`. Nothing is counted."""

        async def required(
            request: Request,
            account: Annotated[str | None, self._account],
            member: Annotated[str | None, self._member],
        ) -> Decision:
            asked = self.asked(account, feature, await atold(quantity, request), member)
            return self._note(request, await self.aallow(asked))

        return required

    def consume(
        self,
        feature: str,
        quantity: AsyncQuantity[Request] = 1,
        *,
        id: Callable[[Request], str | None] | None = None,
    ) -> Decided:
        """A dependency: use `quantity` of `feature`, before the endpoint runs. What `id` says of a request counts once,
        however often it is sent."""

        async def consumed(
            request: Request,
            account: Annotated[str | None, self._account],
            member: Annotated[str | None, self._member],
        ) -> Decision:
            once = id(request) if id is not None else None
            asked = self.asked(account, feature, await atold(quantity, request), member, once)
            return self._note(request, await self.atake(asked))

        return consumed

    def _note(self, request: Request, decision: Decision) -> Decision:
        note(request.scope, self.fields(decision))
        return decision


def _dependency(named: Named | Dependency | None) -> Any:  # Any: what FastAPI's `Depends` gives
    if isinstance(named, Dependency):
        return named

    async def name(request: Request) -> str | None:
        return await atold(named, request)

    return Depends(name)


async def _answer(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return Response(refusal.body, refusal.status, refusal.fields, MEDIA_TYPE)
