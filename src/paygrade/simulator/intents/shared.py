"""What requests about payment intents and about setup intents have in common. (Stripe docs: how both live.)"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import payments
from paygrade.simulator.world import World

CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
TYPES = ("card", "us_bank_account")
_NAMES = {"payment_intent": "PaymentIntent", "setup_intent": "SetupIntent"}


def read_customer(world: World, params: Json, *, had: str | None = None) -> str | None:
    """The customer that is named, or `had`, the intent's own; an intent keeps the one it has."""
    named = forms.read_text(params, "customer")
    if not named:
        return had
    id = str(world.live_customer(named)["id"])
    if had not in (None, id):
        raise errors.invalid("customer", "The intent already has another customer.")
    return id


def read_method(world: World, params: Json, *, customer: str | None) -> str | None:
    """The payment method that is named, nobody's or this customer's."""
    named = forms.read_text(params, "payment_method")
    if not named:
        return None
    method, _ = payments.known_or_new(world, named, param="payment_method")
    if method["customer"] not in (None, customer):
        message = "The payment method belongs to a customer: name that customer with the intent."
        raise errors.invalid("payment_method", message)
    return str(method["id"])


def read_types(params: Json) -> list[str]:
    types = [str(type) for type in forms.read_list(params, "payment_method_types")]
    if set(types) - set(TYPES):
        raise errors.invalid("payment_method_types", f"The simulator takes {' and '.join(TYPES)} only.")
    return types or ["card"]


def begin(intent: Json, params: Json, method: str | None) -> bool:
    """Give a new intent what it was made with; whether it is to be confirmed at once."""
    if automatic := forms.read_object(params, "automatic_payment_methods"):
        intent["automatic_payment_methods"] = {
            "allow_redirects": automatic.get("allow_redirects", "always"),
            "enabled": bool(forms.read_bool(automatic, "enabled")),
        }
    if method is not None:
        intent.update(payment_method=method, status="requires_confirmation")
    return bool(forms.read_bool(params, "confirm"))


def check_confirmed_with(params: Json, method: str | None) -> None:
    """Look at what `begin` reads before anything is made: what is confirmed at once names its payment method."""
    forms.read_object(params, "automatic_payment_methods")
    if forms.read_bool(params, "confirm") and method is None:
        raise errors.missing_parameter("payment_method")


def change(
    world: World, intent: Json, params: Json, *, customer: str | None, method: str | None, **more: object
) -> Json:
    """Change an intent that is not confirmed yet."""
    intent.update(customer=customer, metadata=forms.merge_metadata(intent["metadata"], params), **more)
    if method is not None:
        intent.update(payment_method=method, status="requires_confirmation", next_action=None)
    if customer:
        world.list_under(intent, customer)
    return intent


def method_to_confirm(intent: Json, params: Json) -> str:
    """The payment method an intent is confirmed with."""
    if intent["status"] not in CONFIRMABLE:
        raise unexpected(intent, "confirmed")
    named = forms.read_text(params, "payment_method") or intent["payment_method"]
    if not named:
        name = _NAMES[intent["object"]]
        message = f"This {name} can't be confirmed without a payment method: name one in `payment_method`."
        raise errors.invalid("payment_method", message, code=f"{intent['object']}_unexpected_state")
    return str(named)


def unexpected(intent: Json, what: str) -> errors.RefusedByStripe:
    message = f"This {_NAMES[intent['object']]} could not be {what} because it has a status of {intent['status']}."
    return errors.invalid("intent", message, code=f"{intent['object']}_unexpected_state")
