"""Ask the engine without a server: parameters as plain values, answers as objects, refusals as errors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from paygrade.simulator.engine import Engine, Response

from .conftest import START


def written(value: Any) -> Any:
    """Write values as a form would carry them: everything is a text."""
    match value:
        case dict():
            return {name: written(inner) for name, inner in value.items()}
        case list():
            return [written(inner) for inner in value]
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return str(value)


class Account:
    """One simulated account and shorthands for what most tests begin with."""

    def __init__(self) -> None:
        self.engine = Engine(seed=1, now=START)

    def ask(self, method: str, path: str, **params: Any) -> Response:
        return self.engine.request(method, f"/v1/{path}", written(params))

    def post(self, path: str, **params: Any) -> Any:
        response = self.ask("POST", path, **params)
        assert response.status == 200, response.body
        return response.body

    def get(self, path: str, **params: Any) -> Any:
        response = self.ask("GET", path, **params)
        assert response.status == 200, response.body
        return response.body

    def refused(self, path: str, *, method: str = "POST", **params: Any) -> Any:
        response = self.ask(method, path, **params)
        assert response.status >= 400, response.body
        return {"status": response.status, **response.body["error"]}

    def price(self, **terms: Any) -> str:
        wanted = {"currency": "usd", "recurring": {"interval": "month"}, "product_data": {"name": "Pro"}, **terms}
        return str(self.post("prices", **{name: value for name, value in wanted.items() if value is not None})["id"])

    def customer(self, card: str | None = "pm_card_visa", **params: Any) -> str:
        id = str(self.post("customers", email="ada@example.org", **params)["id"])
        if card is not None:
            method = self.post(f"payment_methods/{card}/attach", customer=id)["id"]
            self.post(f"customers/{id}", invoice_settings={"default_payment_method": method})
        return id

    def subscribe(self, price: str, *, quantity: int = 1, **params: Any) -> Any:
        wanted = {"customer": params.pop("customer", None) or self.customer(), **params}
        return self.post("subscriptions", items=[{"price": price, "quantity": quantity}], **wanted)

    def lines(self, subscription: Any) -> list[tuple[str, int]]:
        """Give what stands on a subscription's latest invoice."""
        latest = self.get(f"subscriptions/{subscription['id']}")["latest_invoice"]
        invoice = self.get(f"invoices/{latest}")
        return [(line["description"], line["amount"]) for line in invoice["lines"]["data"]]

    def advance(self, **delta: int) -> None:
        self.engine.advance(timedelta(**delta))
