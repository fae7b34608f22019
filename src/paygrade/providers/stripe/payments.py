"""What an invoice says of its payment: whether it was tried, and why it did not succeed; and what a payment lacks."""

from paygrade.providers.stripe.connection import NotTaken
from paygrade.providers.stripe.fields import Payload

_NO_CARD = "no attached payment source or default payment method"


def payment_of(invoice: Payload) -> Payload:
    """The payment intent of an invoice; an empty one if it never asked for money."""
    intents = (each.child("payment").expanded("payment_intent") for each in invoice.listed("payments"))
    return next((intent for intent in intents if intent is not None), Payload({}, "payment_intent"))


def failure(intent: Payload) -> str | None:
    """Why a payment that was tried did not succeed; None: it was not tried, or is under way."""
    if intent.text("status") == "requires_action":
        return worded("authentication_required", "the customer has to confirm the payment")
    failed = intent.child("last_payment_error")
    return worded(failed.text("decline_code") or failed.text("code"), failed.text("message"))


def worded(code: str | None, message: str | None) -> str | None:
    return f"{code}: {message}" if code and message else message or code


def lacks_card(refused: NotTaken) -> bool:
    """Whether Stripe refused since the customer has nothing to pay with. It has no code for that, so its message has to
    tell (https://github.com/stripe/stripe-java/issues/1612 shows it)."""
    return _NO_CARD in refused.message


def card_of(subscription: Payload) -> str:
    """What a subscription is paid with, its customer expanded; empty: nothing."""
    customer = subscription.expanded("customer") or Payload({}, "customer")
    known = (
        subscription.id_of("default_payment_method"),
        subscription.id_of("default_source"),
        customer.child("invoice_settings").id_of("default_payment_method"),
        customer.id_of("default_source"),
    )
    return next((id for id in known if id is not None), "")
