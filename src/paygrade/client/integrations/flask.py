"""Flask: `@gate.require("exports")`, `@gate.consume("api_calls")` on views; the decision is `g.decision`.

Laws: a denial is a problem document, whatever the application does with other errors; the fields of what was decided go
out with whatever the view answers.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar, cast

from flask import Request, Response, abort, after_this_request, current_app, g, request

from paygrade.client.decision import Decision
from paygrade.client.integrations.gate import MEDIA_TYPE, Gate, Named, Quantity, Refusal, UpgradeUrl, told
from paygrade.client.sdk import Paygrade

View = TypeVar("View", bound=Callable[..., Any])  # Any: whatever views take and give


class FlaskGate(Gate):
    """`account` and `member` say of a request who is behind it."""

    def __init__(
        self,
        sdk: Paygrade,
        *,
        account: Named[Request],
        member: Named[Request] | None = None,
        upgrade_url: UpgradeUrl | None = None,
    ) -> None:
        super().__init__(sdk, upgrade_url=upgrade_url)
        self._account, self._member = account, member

    def require(self, feature: str, quantity: Quantity[Request] = 1) -> Callable[[View], View]:
        """A decorator: the account may use `quantity` more of `feature`. Nothing is counted."""

        def decide() -> Decision:
            asked = self.asked(self._account(request), feature, told(quantity, request), told(self._member, request))
            return self.allow(asked)

        return self._decorator(decide)

    def consume(
        self, feature: str, quantity: Quantity[Request] = 1, *, id: Named[Request] | None = None
    ) -> Callable[[View], View]:
        """A decorator: use `quantity` of `feature`, before the view runs. What `id` says of a request counts once,
        however often it is sent."""

        def decide() -> Decision:
            account, member, once = self._account(request), told(self._member, request), told(id, request)
            return self.take(self.asked(account, feature, told(quantity, request), member, once))

        return self._decorator(decide)

    def _decorator(self, decide: Callable[[], Decision]) -> Callable[[View], View]:
        def decorator(view: View) -> View:
            @wraps(view)
            def gated(*args: Any, **named: Any) -> Any:
                try:
                    g.decision = decide()
                except Refusal as refusal:
                    _deny(refusal)
                self._note(g.decision)
                return current_app.ensure_sync(view)(*args, **named)

            return cast("View", gated)

        return decorator

    def _note(self, decision: Decision) -> None:
        fields = self.fields(decision)

        @after_this_request
        def add(response: Response) -> Response:
            for name, value in fields.items():
                response.headers.add(name, value)
            return response


def _deny(refusal: Refusal) -> NoReturn:
    # A response that is aborted with is the answer as it stands: no handler of errors is asked.
    abort(Response(refusal.body, refusal.status, refusal.fields, content_type=MEDIA_TYPE))
