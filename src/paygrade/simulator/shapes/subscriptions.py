"""How subscriptions and their items look at API version 2026-10-28.endive."""

from __future__ import annotations

from typing import Any

from paygrade.simulator.forms import Json


def subscription(*, id: str, at: int, customer: str, currency: str, billing_mode: Json, **known: Any) -> Json:
    return {
        "id": id,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": at,
        "billing_cycle_anchor_config": None,
        "billing_mode": billing_mode,
        "billing_schedules": [],
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "feedback_option": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": at,
        "currency": currency,
        "customer": customer,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": {
            "object": "list",
            "data": [],
            "has_more": False,
            "total_count": 0,
            "url": f"/v1/subscription_items?subscription={id}",
        },
        "latest_invoice": None,
        "livemode": False,
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "plan": None,
        "quantity": None,
        "schedule": None,
        "start_date": at,
        "status": "incomplete",
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": trial_settings("create_invoice"),
        "trial_start": None,
        **known,
    }


def trial_settings(missing_payment_method: str) -> Json:
    return {"end_behavior": {"billing_cycle_anchor": "now", "missing_payment_method": missing_payment_method}}


def billing_mode(*, type: str, at: int) -> Json:
    if type == "classic":
        return {"flexible": None, "type": "classic"}
    return {"flexible": {"proration_discounts": "included"}, "type": "flexible", "updated_at": at}


def paused(*, at: int, reason: str) -> Json:
    """A subscription's `status_details` while it is paused; it has none in any other status."""
    return {"paused": {"subscription": {"type": reason}, "transitioned_at": at, "type": "subscription"}}


def subscription_item(*, id: str, at: int, subscription: str, price: Json, plan: Json, quantity: int | None) -> Json:
    return {
        "id": id,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": at,
        "current_period_end": at,
        "current_period_start": at,
        "current_trial": None,
        "discounts": [],
        "metadata": {},
        "plan": plan,
        "price": price,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    }
