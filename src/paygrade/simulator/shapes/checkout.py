"""How Checkout Sessions and their line items look at API version 2026-10-28.endive."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from paygrade.simulator.forms import Json
from paygrade.simulator.shapes.customers import NO_ADDRESS

_BLANK: Json = {
    "object": "checkout.session",
    "adaptive_pricing": {"enabled": False},
    "after_expiration": None,
    "allow_promotion_codes": None,
    "allowed_payment_method_types": None,
    "amount_subtotal": None,
    "amount_total": None,
    "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
    "billing_address_collection": None,
    "branding_settings": {
        "background_color": "#ffffff",
        "border_style": "rounded",
        "button_color": "#0074d4",
        "display_name": "Simulator",
        "font_family": "default",
        "icon": None,
        "logo": None,
    },
    "cancel_url": None,
    "client_reference_id": None,
    "client_secret": None,
    "collected_information": None,
    "consent": None,
    "consent_collection": None,
    "currency": None,
    "currency_conversion": None,
    "custom_fields": [],
    "custom_text": {
        "after_submit": None,
        "shipping_address": None,
        "submit": None,
        "terms_of_service_acceptance": None,
    },
    "customer": None,
    "customer_account": None,
    "customer_creation": None,
    "customer_details": None,
    "customer_email": None,
    "discounts": [],
    "integration_identifier": None,
    "invoice": None,
    "invoice_creation": None,
    "livemode": False,
    "locale": None,
    "managed_payments": None,
    "metadata": {},
    "optional_items": [],
    "origin_context": None,
    "payment_intent": None,
    "payment_link": None,
    "payment_method_collection": None,
    "payment_method_configuration_details": None,
    "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
    "payment_method_types": ["card"],
    "payment_status": "unpaid",
    "permissions": None,
    "phone_number_collection": {"enabled": False},
    "recovered_from": None,
    "saved_payment_method_options": None,
    "setup_intent": None,
    "shipping_address_collection": None,
    "shipping_cost": None,
    "shipping_options": [],
    "status": "open",
    "submit_type": None,
    "subscription": None,
    "success_url": None,
    "tax_id_collection": {"enabled": False, "required": "never"},
    "total_details": None,
    "ui_mode": "hosted_page",
    "url": None,
    "wallet_options": None,
}


def session(*, id: str, at: int, mode: str, expires_at: int, **known: Any) -> Json:
    return {"id": id, **deepcopy(_BLANK), "created": at, "expires_at": expires_at, "mode": mode, **known}


def no_invoice() -> Json:
    """The `invoice_creation` of a session in payment mode that makes none."""
    return invoice_creation(enabled=False)


def invoice_creation(*, enabled: bool, **known: Any) -> Json:
    data: Json = {
        "account_tax_ids": None,
        "custom_fields": None,
        "description": None,
        "footer": None,
        "issuer": None,
        "metadata": {},
        "rendering_options": None,
        **known,
    }
    return {"enabled": enabled, "invoice_data": data}


def line_item(*, id: str, price: Json, quantity: int | None, **known: Any) -> Json:
    return {
        "id": id,
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": 0,
        "amount_tax": 0,
        "amount_total": 0,
        "currency": price["currency"],
        "description": None,
        "metadata": {},
        "price": price,
        "quantity": quantity,
        **known,
    }


def customer_details(*, email: str | None, name: str | None, address: Json | None, phone: str | None) -> Json:
    return {
        "address": dict(NO_ADDRESS) if address is None else {**NO_ADDRESS, **address},
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": name,
        "phone": phone,
        "tax_exempt": "none",
        "tax_ids": [],
    }
