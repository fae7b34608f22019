"""Stripe in process: requests that go to the simulator's engine without HTTP, and errors as what they mean here."""

from collections.abc import Callable
from typing import Any

import msgspec

from paygrade.providers.stripe.connection import Gone, NotTaken, StripeConnection
from paygrade.providers.stripe.fields import Json
from paygrade.simulator.engine import Engine, Response


class EngineConnection(StripeConnection):
    """One Stripe account that answers at once. `changed` is called when something may have been changed there."""

    def __init__(self, engine: Engine, changed: Callable[[], None]) -> None:
        # Nothing of what a connection over HTTP needs.
        self._engine = engine
        self._changed = changed

    def get(self, path: str, **params: Any) -> Json:
        try:
            return self._taken(self._engine.request("GET", path, as_form(params)))
        except NotTaken as refused:
            raise Gone(refused.message) from refused

    def post(self, path: str, *, idempotency_key: str | None, **params: Any) -> Json:
        self._changed()
        return self._taken(self._engine.request("POST", path, as_form(params), idempotency_key=idempotency_key))

    def delete(self, path: str, **params: Any) -> None:
        self._changed()
        try:
            self._taken(self._engine.request("DELETE", path, as_form(params)))
        except NotTaken as refused:
            if refused.code != "resource_missing":
                raise

    def _taken(self, response: Response) -> Json:
        if response.status == 200:
            # The body belongs to the engine, and changes with the next request.
            copied: Json = msgspec.json.decode(msgspec.json.encode(response.body))
            return copied
        error = response.body["error"]
        raise NotTaken(response.status, error.get("decline_code") or error.get("code"), error["message"])


def as_form(value: Any) -> Any:
    """The value as Stripe's form encoding carries it: every leaf is a text. Any: parameters nest freely."""
    match value:
        case dict():
            return {name: as_form(inner) for name, inner in value.items() if inner is not None}
        case list() | tuple():
            return [as_form(inner) for inner in value]
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
