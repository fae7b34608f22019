"""How payment links look at API version 2026-10-28.endive."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import checkout

_BLANK: Json = {
    "object": "payment_link",
    "active": True,
    "after_completion": {"hosted_confirmation": {"custom_message": None}, "type": "hosted_confirmation"},
    "allow_promotion_codes": False,
    "application": None,
    "application_fee_amount": None,
    "application_fee_percent": None,
    "automatic_tax": {"enabled": False, "liability": None},
    "billing_address_collection": "auto",
    "consent_collection": None,
    "currency": None,
    "custom_fields": [],
    "custom_text": {
        "after_submit": None,
        "shipping_address": None,
        "submit": None,
        "terms_of_service_acceptance": None,
    },
    "customer_creation": "if_required",
    "inactive_message": None,
    "livemode": False,
    "managed_payments": None,
    "metadata": {},
    "on_behalf_of": None,
    "optional_items": None,
    "payment_method_collection": "always",
    "payment_method_options": None,
    "payment_method_types": None,
    "phone_number_collection": {"enabled": False},
    "restrictions": None,
    "shipping_address_collection": None,
    "shipping_options": [],
    "submit_type": "auto",
    "tax_id_collection": {"enabled": False, "required": "never"},
    "transfer_data": None,
}


def payment_link(*, id: str, url: str, sells: str, **known: Any) -> Json:
    """`sells` is the mode of its sessions, which decides what the link says of invoices and subscriptions."""
    subscribes = sells == "subscription"
    return {
        "id": id,
        **deepcopy(_BLANK),
        "customer_creation": "always" if subscribes else "if_required",
        "invoice_creation": None if subscribes else checkout.no_invoice(),
        "payment_intent_data": None,
        "subscription_data": subscription_data({}) if subscribes else None,
        "url": url,
        **known,
    }


def subscription_data(wanted: Json) -> Json:
    """What the link's subscriptions begin with."""
    days = wanted.get("trial_period_days")
    behavior = ((wanted.get("trial_settings") or {}).get("end_behavior") or {}).get("missing_payment_method")
    return {
        "description": wanted.get("description") or None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
            **(wanted.get("invoice_settings") or {}),
        },
        "metadata": dict(wanted.get("metadata") or {}),
        "trial_period_days": int(days) if days else None,
        "trial_settings": behavior and {"end_behavior": {"missing_payment_method": behavior}},
    }
