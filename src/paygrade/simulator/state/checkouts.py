"""What a Checkout Session doesn't show: what it was asked for, and how far its payment has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from paygrade.simulator.forms import Json


@dataclass(slots=True)
class Checkout:
    wanted: Json  # the parameters that made the session
    line_items: list[Json]
    discounts: list[Json]  # as `discounts` of a request: what the session came with, or a code typed on the page
    details: Json = field(default_factory=dict)  # what the customer typed: email, name, …
    customer: str | None = None  # made or used by an attempt; the session shows it when it is complete
    subscription: str | None = None
    invoice: str | None = None
    intent: str | None = None  # the payment or setup intent of the latest attempt
    message: str | None = None  # why the latest attempt failed, in words for the customer
