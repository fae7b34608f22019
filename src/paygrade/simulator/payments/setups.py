"""Setup intents: a payment method that is kept for later without paying now, and what the customer's bank says to it.

Law. A payment method belongs to the intent's customer once the intent succeeded, and not before. (Stripe docs: setup
intents.)
"""

from __future__ import annotations

from typing import Any

from paygrade.simulator import errors
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import payments
from paygrade.simulator.shapes import setup as shapes
from paygrade.simulator.state.cards import decline_of
from paygrade.simulator.world import World

KIND = "setup_intent"
NOT_AUTHENTICATED: Json = {
    "code": "setup_intent_authentication_failure",
    "message": "The customer could not be authenticated.",
    "type": "invalid_request_error",
}


def make(world: World, *, customer: str | None, **known: Any) -> Json:
    intent = shapes.setup_intent(
        id=world.new_id("seti"), at=world.at, secret=world.new_id("s", length=24)[2:], customer=customer, **known
    )
    world.put(intent, *filter(None, [customer]))
    world.emit("setup_intent.created", intent)
    return intent


def confirm(world: World, intent: Json, method: str, *, return_url: str | None = None) -> None:
    """Try to keep a payment method; the bank may ask the customer first, or decline (a 402)."""
    payment_method, card = payments.known_or_new(world, method, param="payment_method")
    if not card.attaches:
        code, message = decline_of(card)
        error = errors.payment_error({"code": code, "decline_code": card.declines_with, "message": message})
        error["payment_method"] = payment_method
        intent.update(status="requires_payment_method", last_setup_error=error, payment_method=None)
        world.emit("setup_intent.setup_failed", intent)
        raise errors.declined(code=code, decline_code=card.declines_with, message=message)
    intent.update(payment_method=payment_method["id"], last_setup_error=None)
    if card.authenticates:
        action = payments.next_action(world, intent, return_url=return_url)
        intent.update(status="requires_action", next_action=action)
        world.emit("setup_intent.requires_action", intent)
        return
    _succeed(world, intent)


def authenticate(world: World, intent: Json, *, succeeds: bool) -> None:
    if succeeds:
        payments.is_confirmed(world, intent)
        _succeed(world, intent)
        return
    intent.update(
        status="requires_payment_method", next_action=None, payment_method=None, last_setup_error=NOT_AUTHENTICATED
    )
    world.emit("setup_intent.setup_failed", intent)


def _succeed(world: World, intent: Json) -> None:
    if intent["customer"] is not None:
        customer = world.live_customer(intent["customer"])
        payments.attach(world, intent["payment_method"], customer=customer, param="payment_method")
    intent.update(status="succeeded", next_action=None, last_setup_error=None)
    world.emit("setup_intent.succeeded", intent)
