"""Cards and bank accounts by Stripe's magic test ids, and how each behaves when it is attached or charged.

(Stripe docs: testing; ACH Direct Debit: test payment methods.)
"""

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
    warns: bool = False  # the issuer warns of fraud after every charge
    country: str = "US"
    cvc_check: str = "pass"
    line1_check: str | None = None  # of the address, as the bank checked it
    postal_code_check: str | None = None
    risk: str = "normal"  # normal | elevated | highest, which is blocked
    refunds_as: str = "succeeded"  # succeeded | pending, then succeeded | failing: succeeded, then failed
    until_set_up: bool = False  # authenticates only until the customer has confirmed it once for later
    type: str = "card"  # card | us_bank_account, which settles late: then it declines, if it does
    settles: bool = True  # False: a debit nobody ever hears of again


MAGIC_CARDS = {
    "visa": Card("visa", "4242"),
    "us": Card("visa", "4242"),
    "at": Card("visa", "0008", country="AT"),
    "au": Card("visa", "0006", country="AU"),
    "be": Card("visa", "0004", country="BE"),
    "br": Card("visa", "0002", country="BR"),
    "ca": Card("visa", "0000", country="CA"),
    "ch": Card("visa", "0009", country="CH"),
    "de": Card("visa", "0016", country="DE"),
    "es": Card("visa", "0007", country="ES"),
    "fr": Card("visa", "0003", country="FR"),
    "gb": Card("visa", "0000", country="GB"),
    "ie": Card("visa", "0005", country="IE"),
    "in": Card("visa", "0008", country="IN"),
    "it": Card("visa", "0008", country="IT"),
    "jp": Card("visa", "0003", country="JP"),
    "mx": Card("visa", "8001", country="MX"),
    "nl": Card("visa", "0002", country="NL"),
    "se": Card("visa", "0008", country="SE"),
    "visa_debit": Card("visa", "5556"),
    "mastercard": Card("mastercard", "4444"),
    "amex": Card("amex", "8431"),
    "discover": Card("discover", "1117"),
    "mastercard_debit": Card("mastercard", "8210"),
    "mastercard_prepaid": Card("mastercard", "5100"),
    "diners": Card("diners", "0004"),
    "jcb": Card("jcb", "0505"),
    "unionpay": Card("unionpay", "0005"),
    "bypassPending": Card("visa", "0077"),
    "cvcCheckFail": Card("visa", "0101", cvc_check="fail"),
    "bypassPendingInternational": Card("visa", "3720", country="GB"),
    "avsFail": Card("visa", "0010", line1_check="fail", postal_code_check="fail"),
    "avsLine1Fail": Card("visa", "0028", line1_check="fail", postal_code_check="pass"),
    "avsZipFail": Card("visa", "0036", line1_check="pass", postal_code_check="fail"),
    "avsUnchecked": Card("visa", "0044", line1_check="unavailable", postal_code_check="unavailable"),
    "refundFail": Card("visa", "5126", refunds_as="failing"),
    "pendingRefund": Card("visa", "7726", refunds_as="pending"),
    "riskLevelElevated": Card("visa", "9235", risk="elevated"),
    "riskLevelHighest": Card("visa", "4954", risk="highest", declines_with="generic_decline"),
    "chargeCustomerFail": Card("visa", "0341", declines_with="generic_decline"),
    "chargeDeclined": Card("visa", "0002", declines_with="generic_decline", attaches=False),
    "chargeDeclinedInsufficientFunds": Card("visa", "9995", declines_with="insufficient_funds", attaches=False),
    "chargeDeclinedExpiredCard": Card("visa", "0069", declines_with="expired_card", attaches=False),
    "chargeDeclinedLostCard": Card("visa", "9987", declines_with="lost_card", attaches=False),
    "chargeDeclinedStolenCard": Card("visa", "9979", declines_with="stolen_card", attaches=False),
    "chargeDeclinedIncorrectCvc": Card("visa", "0127", declines_with="incorrect_cvc", attaches=False),
    "chargeDeclinedProcessingError": Card("visa", "0119", declines_with="processing_error", attaches=False),
    "chargeDeclinedVelocityLimitExceeded": Card("visa", "6975", declines_with="card_velocity_exceeded", attaches=False),
    "chargeDeclinedFraudulent": Card("visa", "0019", declines_with="fraudulent", attaches=False, risk="highest"),
    "radarBlock": Card("visa", "0019", declines_with="fraudulent", attaches=False, risk="highest"),
    "threeDSecure2Required": Card("visa", "3220", authenticates=True),
    "threeDSecureRequired": Card("visa", "3063", authenticates=True),
    "authenticationRequiredOnSetup": Card("visa", "3155", authenticates=True, until_set_up=True),
    "authenticationRequired": Card("visa", "3184", authenticates=True),
    "threeDSecureOptional": Card("visa", "3055"),
    "threeDSecureOptionalProcessingError": Card("visa", "3097"),
    "amex_threeDSecureNotSupported": Card("amex", "0005"),
    "threeDSecureRequiredChargeDeclined": Card("visa", "1629", authenticates=True, declines_with="generic_decline"),
    "threeDSecureRequiredProcessingError": Card("visa", "1280", declines_with="processing_error"),
    "authenticationRequiredSetupForOffSession": Card("visa", "0446"),
    "authenticationRequiredChargeDeclinedInsufficientFunds": Card(
        "visa", "3178", authenticates=True, declines_with="insufficient_funds"
    ),
    "createIssuerFraudRecord": Card("visa", "5423", warns=True),
    "createDispute": Card("visa", "0259", disputes_as="fraudulent"),
    "createDisputeProductNotReceived": Card("visa", "2685", disputes_as="product_not_received"),
    "createDisputeInquiry": Card("visa", "1976", disputes_as="fraudulent", inquires=True),
}

# Stripe docs: testing, cards by number.
TEST_NUMBERS = {
    "4242424242424242": "visa",
    "4000056655665556": "visa_debit",
    "5555555555554444": "mastercard",
    "2223003122003222": "mastercard",
    "5200828282828210": "mastercard_debit",
    "5105105105105100": "mastercard_prepaid",
    "378282246310005": "amex",
    "371449635398431": "amex",
    "6011111111111117": "discover",
    "3056930009020004": "diners",
    "3566002020360505": "jcb",
    "6200000000000005": "unionpay",
    "4000000000000077": "bypassPending",
    "4000000000000101": "cvcCheckFail",
    "4000000000000010": "avsFail",
    "4000000000000028": "avsLine1Fail",
    "4000000000000036": "avsZipFail",
    "4000000000000044": "avsUnchecked",
    "4000000000005126": "refundFail",
    "4000000000007726": "pendingRefund",
    "4000000000009235": "riskLevelElevated",
    "4000000000004954": "riskLevelHighest",
    "4000000000000341": "chargeCustomerFail",
    "4000000000000002": "chargeDeclined",
    "4000000000009995": "chargeDeclinedInsufficientFunds",
    "4000000000000069": "chargeDeclinedExpiredCard",
    "4000000000009987": "chargeDeclinedLostCard",
    "4000000000009979": "chargeDeclinedStolenCard",
    "4000000000000127": "chargeDeclinedIncorrectCvc",
    "4000000000000119": "chargeDeclinedProcessingError",
    "4000000000006975": "chargeDeclinedVelocityLimitExceeded",
    "4100000000000019": "radarBlock",
    "4000000000003220": "threeDSecure2Required",
    "4000000000003063": "threeDSecureRequired",
    "4000002500003155": "authenticationRequiredOnSetup",
    "4000002760003184": "authenticationRequired",
    "4000000000003055": "threeDSecureOptional",
    "4000008400001629": "threeDSecureRequiredChargeDeclined",
    "4000008400001280": "threeDSecureRequiredProcessingError",
    "4000008260003178": "authenticationRequiredChargeDeclinedInsufficientFunds",
    "4000000000005423": "createIssuerFraudRecord",
    "4000000000000259": "createDispute",
    "4000000000002685": "createDisputeProductNotReceived",
    "4000000000001976": "createDisputeInquiry",
}

BANK = "us_bank_account"
MAGIC_ACCOUNTS = {
    "success": Card("", "6789", type=BANK),
    "accountClosed": Card("", "1113", type=BANK, declines_with="account_closed"),
    "noAccount": Card("", "1116", type=BANK, declines_with="no_account"),
    "insufficientFunds": Card("", "2227", type=BANK, declines_with="insufficient_funds"),
    "debitNotAuthorized": Card("", "3335", type=BANK, declines_with="debit_not_authorized"),
    "invalidCurrency": Card("", "4440", type=BANK, declines_with="invalid_currency"),
    "processing": Card("", "0009", type=BANK, settles=False),
}
OTHER_KINDS = frozenset({"acssDebit", "auBecsDebit", "bacsDebit", "sepaDebit"})

DECLINES = {
    "generic_decline": ("card_declined", "Your card was declined."),
    "insufficient_funds": ("card_declined", "Your card has insufficient funds."),
    "expired_card": ("expired_card", "Your card has expired."),
    "lost_card": ("card_declined", "Your card was declined."),
    "stolen_card": ("card_declined", "Your card was declined."),
    "fraudulent": ("card_declined", "Your card was declined."),
    "card_velocity_exceeded": (
        "card_declined",
        "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
    ),
    "incorrect_cvc": ("incorrect_cvc", "Your card's security code is incorrect."),
    "processing_error": (
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
}
BANK_DECLINES = {
    "account_closed": "The customer's bank account has been closed.",
    "no_account": "The customer's bank account could not be located.",
    "insufficient_funds": "The customer's account has insufficient funds to cover this payment.",
    "debit_not_authorized": "The customer has notified their bank that this payment was unauthorized.",
    "invalid_currency": "The bank was unable to process this transaction because of its currency.",
}


def decline_of(card: Card) -> tuple[str, str]:
    """Give the error code and message by which this card, or bank, declines."""
    reason = card.declines_with or "generic_decline"
    return (reason, BANK_DECLINES[reason]) if card.type == BANK else DECLINES[reason]


def is_of_another_kind(id: str) -> bool:
    """Tell whether an id is one of Stripe's for testing that is none of these: `pm_sepaDebit_…` and its like."""
    return id.startswith("pm_") and id.split("_")[1] in OTHER_KINDS


def card_of_number(number: str) -> Card | None:
    """Give the card of one of Stripe's test numbers."""
    return magic_card(f"pm_card_{TEST_NUMBERS.get(number.replace(' ', ''), 'unknown')}")


def magic_card(id: str) -> Card | None:
    """Give the card behind `pm_card_…` or `tok_…`, or the account behind `pm_usBankAccount_…`.

    Stripe writes some cards with the brand inside.
    """
    if id.startswith("pm_usBankAccount_"):
        return MAGIC_ACCOUNTS.get(id.removeprefix("pm_usBankAccount_"))
    for prefix in ("pm_card_visa_", "pm_card_", "tok_visa_", "tok_"):
        if id.startswith(prefix) and (card := MAGIC_CARDS.get(id.removeprefix(prefix))):
            return card
    return None
