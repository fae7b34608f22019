"""How US bank accounts look, as payment methods and on charges, at API version 2026-10-28.endive."""

from __future__ import annotations

from datetime import UTC, datetime

from paygrade.simulator.forms import Json


def bank_account(*, last4: str, fingerprint: str) -> Json:
    return {
        "account_holder_type": "individual",
        "account_type": "checking",
        "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None,
        "fingerprint": fingerprint,
        "last4": last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": "110000000",
        "status_details": {},
    }


def charged(account: Json, *, debited_at: int) -> Json:
    """The `us_bank_account` of a charge's payment method details."""
    kept = ("account_holder_type", "account_type", "bank_name", "fingerprint", "last4", "routing_number")
    return {
        **{name: account[name] for name in kept},
        "expected_debit_date": datetime.fromtimestamp(debited_at, UTC).strftime("%Y-%m-%d"),
        "mandate": None,
        "payment_reference": None,
    }
