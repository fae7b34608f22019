"""Requests about setup intents; that of a subscription (`pending_setup_intent`) gives it its payment method.

(Stripe docs: setup intents; subscriptions: `pending_setup_intent`.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import payments, setups
from paygrade.simulator.world import World

KIND = setups.KIND
URL = "/v1/setup_intents"
CONFIRM_FIELDS = frozenset({"expand", "mandate_data", "payment_method", "return_url", "use_stripe_sdk"})
SHARED = frozenset({"customer", "description", "expand", "metadata", "payment_method", "payment_method_types"})
CREATE_FIELDS = SHARED | CONFIRM_FIELDS | {"automatic_payment_methods", "confirm", "usage"}
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
REASONS = ("abandoned", "duplicate", "requested_by_customer")
TYPES = frozenset({"card", "us_bank_account"})


def create(world: World, params: Json) -> Json:
    forms.check_known(params, CREATE_FIELDS)
    customer = _read_customer(world, params)
    types = forms.read_list(params, "payment_method_types")
    if set(types) - TYPES:
        raise errors.invalid("payment_method_types", f"The simulator takes {' and '.join(sorted(TYPES))} only.")
    usage = forms.read_choice(params, "usage", ("off_session", "on_session")) or "off_session"
    automatic = forms.read_object(params, "automatic_payment_methods")
    method = _read_method(world, params, customer)
    confirms = bool(forms.read_bool(params, "confirm"))
    if confirms and method is None:
        raise errors.missing_parameter("payment_method")
    intent = setups.make(
        world,
        customer=customer,
        description=forms.read_text(params, "description") or None,
        metadata=forms.merge_metadata({}, params),
        payment_method_types=types or ["card"],
        usage=usage,
    )
    if automatic:
        intent["automatic_payment_methods"] = {
            "allow_redirects": automatic.get("allow_redirects", "always"),
            "enabled": bool(forms.read_bool(automatic, "enabled")),
        }
    if method is not None:
        intent.update(payment_method=method, status="requires_confirmation")
    return _confirm(world, intent, params) if confirms else intent


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, SHARED)
    intent = world.get(KIND, id)
    if intent["status"] not in CONFIRMABLE:
        raise _unexpected(intent, "updated")
    customer = _read_customer(world, params)
    if customer and intent["customer"] not in (None, customer):
        raise errors.invalid("customer", "The SetupIntent already has another customer.")
    method = _read_method(world, params, customer or intent["customer"])
    intent.update(
        customer=customer or intent["customer"],
        metadata=forms.merge_metadata(intent["metadata"], params),
    )
    if "description" in params:
        intent["description"] = forms.read_text(params, "description") or None
    if method is not None:
        intent.update(payment_method=method, status="requires_confirmation", next_action=None)
    if intent["customer"]:
        world.list_under(intent, intent["customer"])
    return intent


def confirm(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, CONFIRM_FIELDS | {"client_secret"})
    return _confirm(world, world.get(KIND, id), params)


def _confirm(world: World, intent: Json, params: Json) -> Json:
    if intent["status"] not in CONFIRMABLE:
        raise _unexpected(intent, "confirmed")
    named = forms.read_text(params, "payment_method") or intent["payment_method"]
    if not named:
        message = "This SetupIntent can't be confirmed without a payment method: name one in `payment_method`."
        raise errors.invalid("payment_method", message, code="setup_intent_unexpected_state")
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
    if intent["status"] not in CONFIRMABLE:
        raise _unexpected(intent, "canceled")
    intent.update(status="canceled", cancellation_reason=reason, next_action=None)
    world.emit("setup_intent.canceled", intent)
    return intent


def _read_customer(world: World, params: Json) -> str | None:
    id = forms.read_text(params, "customer")
    return str(world.live_customer(id)["id"]) if id else None


def _read_method(world: World, params: Json, customer: str | None) -> str | None:
    named = forms.read_text(params, "payment_method")
    if not named:
        return None
    method, _ = payments.known_or_new(world, named, param="payment_method")
    if method["customer"] not in (None, customer):
        raise errors.invalid("payment_method", "The payment method belongs to another customer.")
    return str(method["id"])


def _unexpected(intent: Json, what: str) -> errors.RefusedByStripe:
    message = f"This SetupIntent could not be {what} because it has a status of {intent['status']}."
    return errors.invalid("intent", message, code="setup_intent_unexpected_state")
