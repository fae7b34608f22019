"""The test cards and bank accounts the pages offer, by what becomes of a payment with them."""

from __future__ import annotations

CARD_BUTTONS = (
    ("Visa •••• 4242: it pays", "pm_card_visa"),
    ("Visa •••• 3220: your bank asks first (3-D Secure)", "pm_card_threeDSecure2Required"),
    ("Visa •••• 0002: it is declined", "pm_card_chargeDeclined"),
    ("Visa •••• 0341: it is kept, and every charge is declined", "pm_card_chargeCustomerFail"),
)
BANK_BUTTONS = (
    ("Bank account •••• 6789: the debit settles days later", "pm_usBankAccount_success"),
    ("Bank account •••• 2227: the debit fails days later", "pm_usBankAccount_insufficientFunds"),
)
