"""How tax rates, tax ids and the taxes of a line look at API version 2026-10-28.endive."""

from __future__ import annotations

from typing import Any

from paygrade.simulator.forms import Json


def tax_rate(*, id: str, at: int, display_name: str, percentage: float, inclusive: bool, **known: Any) -> Json:
    return {
        "id": id,
        "object": "tax_rate",
        "active": True,
        "country": None,
        "created": at,
        "description": None,
        "display_name": display_name,
        "effective_percentage": None,
        "flat_amount": None,
        "inclusive": inclusive,
        "jurisdiction": None,
        "jurisdiction_level": None,
        "livemode": False,
        "metadata": {},
        "percentage": percentage,
        "rate_type": None,
        "state": None,
        "tax_type": None,
        **known,
    }


def tax_id(*, id: str, at: int, type: str, value: str, customer: str | None) -> Json:
    owner = {"customer": customer, "customer_account": None, "type": "customer"} if customer else {"type": "self"}
    return {
        "id": id,
        "object": "tax_id",
        "country": type[:2].upper() if type[:2] != "eu" else value[:2].upper(),
        "created": at,
        "customer": customer,
        "customer_account": None,
        "livemode": False,
        "owner": owner,
        "type": type,
        "value": value,
        "verification": {"status": "pending", "verified_address": None, "verified_name": None},
    }


def tax(*, amount: int, rate: Json, inclusive: bool, reason: str, taxable_amount: int) -> Json:
    return {
        "amount": amount,
        "tax_behavior": "inclusive" if inclusive else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": reason,
        "taxable_amount": taxable_amount,
        "type": "tax_rate_details",
    }
