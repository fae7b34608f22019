"""How customers and payment methods look at API version 2026-10-28.endive: every key present, defaults filled in.

The declared fields of the official `stripe` library are the reference (`tests/simulator/test_shapes.py`).
Nothing here decides anything: the callers set what they know, the rest is what Stripe answers for a plain
account.
"""

from __future__ import annotations

from typing import Any

from paygrade.simulator.forms import Json

NO_ADDRESS = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}


def customer(*, id: str, at: int, prefix: str, **known: Any) -> Json:
    return {
        "id": id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": at,
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": prefix,
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
        **known,
    }


def card(*, brand: str, last4: str, fingerprint: str, exp_year: int, country: str, checks: Json) -> Json:
    return {
        "brand": brand,
        "checks": checks,
        "country": country,
        "display_brand": brand,
        "exp_month": 12,
        "exp_year": exp_year,
        "fingerprint": fingerprint,
        "funding": "credit",
        "generated_from": None,
        "last4": last4,
        "networks": {"available": [brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def payment_method(*, id: str, at: int, type: str, details: Json, customer: str | None) -> Json:
    """A payment method of a type, with the details that stand under that type's name."""
    return {
        "id": id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": _billing_details(),
        "created": at,
        "customer": customer,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": type,
        type: details,
    }


def _billing_details() -> Json:
    return {"address": dict(NO_ADDRESS), "email": None, "name": None, "phone": None, "tax_id": None}
