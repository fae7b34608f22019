"""A customer at one of the pages: what the page's object doesn't show, and how far the payment has come."""

from __future__ import annotations

from dataclasses import dataclass, field

from paygrade.simulator.forms import Json


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of what the customer did, and so what they see next."""

    outcome: str  # complete | declined | requires_action
    message: str | None = None


@dataclass(slots=True)
class Checkout:
    """What a Checkout Session was asked for, and where its customer is."""

    wanted: Json  # the parameters that made the session
    line_items: list[Json]
    rates: dict[str, list[str]] = field(default_factory=dict)  # line item id → the tax rates it was given
    discounts: list[Json] = field(default_factory=list)  # the session's own, or by a code typed at the page
    details: Json = field(default_factory=dict)  # what the customer typed: email, name, …
    customer: str | None = None  # made or used by an attempt; the session shows it when it is complete
    subscription: str | None = None
    invoice: str | None = None
    intent: str | None = None  # the payment or setup intent of the latest attempt
    message: str | None = None  # why the latest attempt failed, in words for the customer


@dataclass(slots=True)
class PaymentLink:
    """What a payment link opens."""

    mode: str  # payment | subscription
    wanted: Json  # the parameters of the link, with the ids of its prices
    line_items: list[Json]


@dataclass(slots=True)
class PortalVisit:
    """Where the customer of a portal session is."""

    intent: str | None = None  # the payment or setup intent they have to confirm with their bank
    done: bool = False  # the session's one flow is through
    message: str | None = None  # what came of the latest change, in words for the customer
