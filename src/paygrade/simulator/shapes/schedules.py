"""How subscription schedules look at API version 2026-10-28.endive."""

from __future__ import annotations

from typing import Any

from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import subscriptions as subscription_shapes


def schedule(*, id: str, at: int, customer: Json, phases: list[Json], **known: Any) -> Json:
    return {
        "id": id,
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": subscription_shapes.billing_mode(type="flexible", at=at),
        "canceled_at": None,
        "completed_at": None,
        "created": at,
        "current_phase": None,
        "customer": customer["id"],
        "customer_account": None,
        "default_settings": {
            "application_fee_percent": None,
            "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
            "billing_cycle_anchor": "automatic",
            "billing_thresholds": None,
            "collection_method": "charge_automatically",
            "default_payment_method": None,
            "description": None,
            "invoice_settings": {
                "account_tax_ids": None,
                "custom_fields": None,
                "days_until_due": None,
                "description": None,
                "footer": None,
                "issuer": {"type": "self"},
            },
            "on_behalf_of": None,
            "transfer_data": None,
        },
        "end_behavior": "release",
        "livemode": False,
        "metadata": {},
        "pause_schedules": [],
        "phases": phases,
        "released_at": None,
        "released_subscription": None,
        "status": "not_started",
        "subscription": None,
        "test_clock": customer["test_clock"],
        **known,
    }


def phase(*, start: int, end: int, items: list[Json], **known: Any) -> Json:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": "usd",
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": items,
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": "create_prorations",
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
        **known,
    }


def phase_item(*, price: str, quantity: int | None, **known: Any) -> Json:
    return {
        "billing_thresholds": None,
        "discounts": [],
        "metadata": {},
        "plan": price,
        "price": price,
        "quantity": quantity,
        "tax_rates": [],
        **known,
    }


def phase_discount(wanted: Json) -> Json:
    return {name: wanted.get(name) for name in ("coupon", "discount", "promotion_code")}
