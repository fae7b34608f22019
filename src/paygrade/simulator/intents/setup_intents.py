"""Requests about setup intents; that of a subscription (`pending_setup_intent`) gives it its payment method.

(Stripe docs: setup intents; subscriptions: `pending_setup_intent`.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.intents import shared
from paygrade.simulator.payments import setups
from paygrade.simulator.world import World

KIND = setups.KIND
URL = "/v1/setup_intents"
CONFIRM_FIELDS = frozenset({"expand", "mandate_data", "payment_method", "return_url", "use_stripe_sdk"})
SHARED = frozenset({"customer", "description", "expand", "metadata", "payment_method", "payment_method_types"})
CREATE_FIELDS = SHARED | CONFIRM_FIELDS | {"automatic_payment_methods", "confirm", "usage"}
REASONS = ("abandoned", "duplicate", "requested_by_customer")


def create(world: World, params: Json) -> Json:
    forms.check_known(params, CREATE_FIELDS)
    customer = shared.read_customer(world, params)
    types = shared.read_types(params)
    usage = forms.read_choice(params, "usage", ("off_session", "on_session")) or "off_session"
    method = shared.read_method(world, params, customer=customer)
    shared.check_confirmed_with(params, method)
    intent = setups.make(
        world,
        customer=customer,
        description=forms.read_text(params, "description") or None,
        metadata=forms.merge_metadata({}, params),
        payment_method_types=types,
        usage=usage,
    )
    return _confirm(world, intent, params) if shared.begin(intent, params, method) else intent


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, SHARED)
    intent = world.get(KIND, id)
    if intent["status"] not in shared.CONFIRMABLE:
        raise shared.unexpected(intent, "updated")
    customer = shared.read_customer(world, params, had=intent["customer"])
    method = shared.read_method(world, params, customer=customer)
    described = {"description": forms.read_text(params, "description") or None} if "description" in params else {}
    return shared.change(world, intent, params, customer=customer, method=method, **described)


def confirm(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, CONFIRM_FIELDS | {"client_secret"})
    return _confirm(world, world.get(KIND, id), params)


def _confirm(world: World, intent: Json, params: Json) -> Json:
    named = shared.method_to_confirm(intent, params)
    setups.confirm(world, intent, named, return_url=forms.read_text(params, "return_url") or None)
    follow(world, intent)
    return intent


def authenticate(world: World, intent: Json, *, succeeds: bool) -> None:
    """Play the customer who confirms with their bank, or fails to."""
    if intent["status"] != "requires_action":
        raise errors.invalid("setup_intent", f"The SetupIntent does not wait: it is {intent['status']}.")
    setups.authenticate(world, intent, succeeds=succeeds)
    follow(world, intent)


def follow(world: World, intent: Json) -> None:
    """Let a subscription that waited for this intent have its payment method."""
    if intent["status"] != "succeeded" or intent["customer"] is None:
        return
    for subscription in world.owned("subscription", intent["customer"]):
        if subscription["pending_setup_intent"] != intent["id"]:
            continue
        with world.changing(subscription):
            subscription["pending_setup_intent"] = None
            if subscription["payment_settings"]["save_default_payment_method"] == "on_subscription":
                subscription["default_payment_method"] = intent["payment_method"]


def cancel(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"cancellation_reason", "expand"}))
    intent = world.get(KIND, id)
    reason = forms.read_choice(params, "cancellation_reason", REASONS)
    if intent["status"] not in shared.CONFIRMABLE:
        raise shared.unexpected(intent, "canceled")
    intent.update(status="canceled", cancellation_reason=reason, next_action=None)
    world.emit("setup_intent.canceled", intent)
    return intent
