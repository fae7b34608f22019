"""The way to Stripe for whoever writes to it: requests that get lost before they take effect, or after.

Laws: each request takes effect at one instant, between being sent and being answered or given up, or never; between
two requests of one step anything may happen; the requests of a process that was killed end with it, but for the one
that is on its way.
"""

import random
from collections.abc import Mapping
from typing import Any

from paygrade.providers.stripe.connection import NotTaken, StripeConnection
from paygrade.providers.stripe.fields import Json
from paygrade.values.errors import Unavailable

from .provider import EngineProvider, Stripe
from .threads import Killed, wait

TIMEOUT_S = 15.0
"""When the client gives up: so much is left of a lease that no request outlives it."""
OUR_OPTIONS = ("idempotency_key", "max_network_retries")


class EngineConnection(StripeConnection):
    """The connection of `providers/stripe`, to the engine. What it means to be refused is decided there."""

    def __init__(self, stripe: Stripe, provider: EngineProvider, draw: random.Random) -> None:
        self._engine, self._provider, self._draw = stripe, provider, draw

    def _ask(self, method: str, path: str, params: dict[str, Any]) -> Json:
        key = params.get("idempotency_key")
        said = {name: value for name, value in params.items() if name not in OUR_OPTIONS}
        there_s, back_s = self._takes_s(), self._takes_s()
        fails = self._draw.random() < self._provider.network.failing
        if not wait(there_s) and self._draw.random() < 0.5:
            raise Killed
        if fails and self._draw.random() < 0.5:
            raise self._provider.failure()
        status, body = self._engine.request(method.upper(), path, texts(said), key)
        if not wait(back_s):
            raise Killed
        if fails:
            raise Unavailable("provider_unreachable", "no answer from Stripe: the connection broke")
        if there_s + back_s > TIMEOUT_S:
            raise Unavailable("provider_unreachable", "no answer from Stripe: it took too long")
        if status < 400:
            return body
        error = body["error"]
        raise NotTaken(status, error.get("code"), error["message"])

    def _takes_s(self) -> float:
        slow = self._draw.random() < self._provider.network.slow
        return self._draw.choice((0.5, 2.0, 9.0)) * self._draw.random() if slow else 0.05 * self._draw.random()


# Any: Stripe's own parameters, of every form they have.
def texts(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as a form has them once it is read: texts, lists and objects, and nothing that is empty."""
    said = {name: _text(value) for name, value in params.items()}
    return {name: value for name, value in said.items() if value not in (None, [], {})}


def _text(value: Any) -> Any:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case Mapping():
            return texts(value)
        case list() | tuple():
            return [_text(one) for one in value]
        case _:
            return str(value)
