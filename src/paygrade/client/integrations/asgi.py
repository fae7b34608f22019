"""ASGI applications of any framework: the account of a request is known before the application runs.

Laws: the event loop is never held; what was decided on a request goes out with its answer, whatever made that answer;
a refusal that nobody answered is answered here.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from paygrade.client.decision import Decision
from paygrade.client.integrations.gate import (
    MEDIA_TYPE,
    AsyncNamed,
    AsyncQuantity,
    Fields,
    Gate,
    Refusal,
    UpgradeUrl,
    atold,
)
from paygrade.client.sdk import Paygrade

Scope = MutableMapping[str, Any]  # Any: as ASGI has it
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_FIELDS = "paygrade.fields"


class AsgiGate(Gate):
    """`account` and `member` say of a scope who is behind it; they may be asynchronous."""

    def __init__(
        self,
        sdk: Paygrade,
        *,
        account: AsyncNamed[Scope],
        member: AsyncNamed[Scope] | None = None,
        upgrade_url: UpgradeUrl | None = None,
    ) -> None:
        super().__init__(sdk, upgrade_url=upgrade_url)
        self._account, self._member = account, member

    async def account(self, scope: Scope) -> str | None:
        return await atold(self._account, scope)

    async def require(self, scope: Scope, feature: str, quantity: AsyncQuantity[Scope] = 1) -> Decision:
        """The decision where the account of this request may use `quantity` of `feature`. Raises Refusal."""
        account, member = await self.account(scope), await atold(self._member, scope)
        decision = await self.aallow(self.asked(account, feature, await atold(quantity, scope), member))
        note(scope, self.fields(decision))
        return decision

    async def consume(
        self, scope: Scope, feature: str, quantity: AsyncQuantity[Scope] = 1, *, id: str | None = None
    ) -> Decision:
        """Use `quantity` of `feature`, and give the decision where that is allowed. Raises Refusal, PaygradeError."""
        account, member = await self.account(scope), await atold(self._member, scope)
        decision = await self.atake(self.asked(account, feature, await atold(quantity, scope), member, id))
        note(scope, self.fields(decision))
        return decision


class RateLimitFields:
    """Adds the fields of what was decided on a request to its answer."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Further in, scopes may be copied; what stands in them is one and the same.
        fields: Fields = scope.setdefault(_FIELDS, Fields())

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_encoded(fields.lines)]
            await send(message)

        await self._app(scope, receive, send_on)


class PaygradeMiddleware:
    """Has the account of each request known before the application runs, so that `check` inside of it neither waits nor
    guesses; answers refusals, and adds the fields of what was decided."""

    def __init__(self, app: App, gate: AsgiGate) -> None:
        self._gate = gate
        self._app = app
        self._inner = RateLimitFields(self._run)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        await self._inner(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._gate.know(await self._gate.account(scope))
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except Refusal as refusal:
            if started or scope["type"] != "http":
                raise
            await answer(refusal, send)


def note(scope: Scope, fields: dict[str, str]) -> None:
    """Have these fields added to the answer, where a middleware of ours is around it."""
    kept: Fields | None = scope.get(_FIELDS)
    if kept is not None:
        kept.add(fields)


async def answer(refusal: Refusal, send: Send) -> None:
    """Answer a request with a refusal."""
    body = refusal.body
    head = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **refusal.fields}
    await send({"type": "http.response.start", "status": refusal.status, "headers": _encoded(head)})
    await send({"type": "http.response.body", "body": body})


def _encoded(fields: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]
