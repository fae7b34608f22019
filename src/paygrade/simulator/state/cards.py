"""Cards by Stripe's magic test ids, and how each behaves when it is attached or charged (Stripe docs: testing)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    brand: str
    last4: str
    declines_with: str | None = None  # the decline code of a charge
    attaches: bool = True
    authenticates: bool = False  # the customer must confirm every charge
    disputes_as: str | None = None  # the reason every charge is disputed for
    inquires: bool = False  # the dispute is only an inquiry


MAGIC_CARDS = {
    "visa": Card("visa", "4242"),
    "visa_debit": Card("visa", "5556"),
    "mastercard": Card("mastercard", "4444"),
    "amex": Card("amex", "8431"),
    "discover": Card("discover", "1117"),
    "chargeCustomerFail": Card("visa", "0341", declines_with="generic_decline"),
    "chargeDeclined": Card("visa", "0002", declines_with="generic_decline", attaches=False),
    "chargeDeclinedInsufficientFunds": Card("visa", "9995", declines_with="insufficient_funds", attaches=False),
    "chargeDeclinedExpiredCard": Card("visa", "0069", declines_with="expired_card", attaches=False),
    "authenticationRequired": Card("visa", "3184", authenticates=True),
    "createDispute": Card("visa", "0259", disputes_as="fraudulent"),
    "createDisputeProductNotReceived": Card("visa", "2685", disputes_as="product_not_received"),
    "createDisputeInquiry": Card("visa", "1976", disputes_as="fraudulent", inquires=True),
}

DECLINES = {
    "generic_decline": ("card_declined", "Your card was declined."),
    "insufficient_funds": ("card_declined", "Your card has insufficient funds."),
    "expired_card": ("expired_card", "Your card has expired."),
}


def magic_card(id: str) -> Card | None:
    """Give the card behind `pm_card_…` or `tok_…`; Stripe writes some with the brand inside."""
    for prefix in ("pm_card_visa_", "pm_card_", "tok_visa_", "tok_"):
        if id.startswith(prefix) and (card := MAGIC_CARDS.get(id.removeprefix(prefix))):
            return card
    return None
