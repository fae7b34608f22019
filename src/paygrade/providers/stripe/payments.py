"""What an invoice says of its payment: whether it was tried, and why it did not succeed."""

from paygrade.providers.stripe.fields import Payload


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
