"""How invoices and payments look at API version 2026-10-28.endive."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import bank_debits
from paygrade.simulator.shapes.customers import NO_ADDRESS

_BLANK: Json = {
    "object": "invoice",
    "account_country": "US",
    "account_name": "Simulator",
    "account_tax_ids": None,
    "amount_due": 0,
    "amount_overpaid": 0,
    "amount_paid": 0,
    "amount_remaining": 0,
    "amount_shipping": 0,
    "application": None,
    "attempt_count": 0,
    "attempted": False,
    "auto_advance": True,
    "automatic_tax": {
        "disabled_reason": None,
        "enabled": False,
        "liability": None,
        "provider": None,
        "status": None,
    },
    "automatically_finalizes_at": None,
    "billing_reason": "subscription_cycle",
    "custom_fields": None,
    "customer_account": None,
    "customer_shipping": None,
    "customer_tax_exempt": "none",
    "customer_tax_ids": [],
    "default_payment_method": None,
    "default_source": None,
    "default_tax_rates": [],
    "description": None,
    "discounts": [],
    "due_date": None,
    "effective_at": None,
    "ending_balance": None,
    "footer": None,
    "from_invoice": None,
    "hosted_invoice_url": None,
    "invoice_pdf": None,
    "issuer": {"type": "self"},
    "last_finalization_error": None,
    "latest_revision": None,
    "livemode": False,
    "metadata": {},
    "next_payment_attempt": None,
    "number": None,
    "on_behalf_of": None,
    "payment_settings": {
        "default_mandate": None,
        "payment_method_options": None,
        "payment_method_types": None,
    },
    "post_payment_credit_notes_amount": 0,
    "pre_payment_credit_notes_amount": 0,
    "receipt_number": None,
    "rendering": None,
    "shipping_cost": None,
    "shipping_details": None,
    "starting_balance": 0,
    "statement_descriptor": None,
    "status": "draft",
    "status_transitions": {
        "finalized_at": None,
        "marked_uncollectible_at": None,
        "paid_at": None,
        "voided_at": None,
    },
    "subtotal": 0,
    "subtotal_excluding_tax": 0,
    "total": 0,
    "total_discount_amounts": [],
    "total_excluding_tax": 0,
    "total_pretax_credit_amounts": [],
    "total_taxes": [],
    "webhooks_delivered_at": None,
}
"""What every invoice has before anything is on it."""


def invoice(*, id: str, at: int, customer: Json, subscription: Json, **known: Any) -> Json:
    return _invoice(
        id=id,
        at=at,
        customer=customer,
        collection_method=subscription["collection_method"],
        currency=subscription["currency"],
        parent={
            "quote_details": None,
            "subscription_details": {
                "metadata": dict(subscription["metadata"]),
                "subscription": subscription["id"],
            },
            "type": "subscription_details",
        },
        **known,
    )


def manual_invoice(*, id: str, at: int, customer: Json, **known: Any) -> Json:
    """One that somebody made: it belongs to no subscription."""
    return _invoice(id=id, at=at, customer=customer, billing_reason="manual", parent=None, **known)


def _invoice(*, id: str, at: int, customer: Json, **known: Any) -> Json:
    return {
        "id": id,
        **deepcopy(_BLANK),
        "created": at,
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "lines": {
            "object": "list",
            "data": [],
            "has_more": False,
            "total_count": 0,
            "url": f"/v1/invoices/{id}/lines",
        },
        "period_end": at,
        "period_start": at,
        "test_clock": customer["test_clock"],
        **known,
    }


def line(
    *, id: str, item: Json, currency: str, amount: int, period: tuple[int, int], description: str, **known: Any
) -> Json:
    price = item["price"]
    return {
        "id": id,
        "object": "line_item",
        "amount": amount,
        "currency": currency,
        "description": description,
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": item["subscription"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": period[1], "start": period[0]},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": item["quantity"],
        "quantity_decimal": None if item["quantity"] is None else str(item["quantity"]),
        "subtotal": amount,
        "taxes": [],
        **known,
    }


def invoice_item(*, id: str, at: int, customer: Json, amount: int, currency: str, **known: Any) -> Json:
    return {
        "id": id,
        "object": "invoiceitem",
        "amount": amount,
        "currency": currency,
        "customer": customer["id"],
        "customer_account": None,
        "date": at,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "net_amount": amount,
        "parent": None,
        "pricing": _priced(amount),
        "proration": False,
        "quantity_decimal": str(known["quantity"]),
        "tax_rates": [],
        "test_clock": customer["test_clock"],
        **known,
    }


def item_line(*, id: str, item: Json) -> Json:
    """The line by which an invoice item stands on its invoice."""
    return {
        "id": id,
        "object": "line_item",
        "amount": item["amount"],
        "currency": item["currency"],
        "description": item["description"],
        "discount_amounts": [],
        "discountable": item["discountable"],
        "discounts": list(item["discounts"]),
        "invoice": item["invoice"],
        "livemode": False,
        "metadata": dict(item["metadata"]),
        "parent": {
            "invoice_item_details": {
                "invoice_item": item["id"],
                "proration": False,
                "proration_details": None,
                "subscription": item["parent"] and item["parent"]["subscription_details"]["subscription"],
            },
            "subscription_item_details": None,
            "type": "invoice_item_details",
        },
        "period": dict(item["period"]),
        "pretax_credit_amounts": [],
        "pricing": dict(item["pricing"]),
        "quantity": item["quantity"],
        "quantity_decimal": item["quantity_decimal"],
        "subtotal": item["amount"],
        "taxes": [],
    }


def _priced(amount: int) -> Json:
    return {"type": "price_details", "unit_amount_decimal": str(amount)}


def invoice_payment(*, id: str, at: int, invoice: Json, payment_intent: str) -> Json:
    return {
        "id": id,
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": at,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": payment_intent, "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }


def payment_intent(*, id: str, at: int, amount: int, currency: str, secret: str, **known: Any) -> Json:
    return {
        "id": id,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{id}_secret_{secret}",
        "confirmation_method": "automatic",
        "created": at,
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "managed_payments": None,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card"],
        "payment_record": None,
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        **known,
    }


RISK_SCORES = {"normal": 20, "elevated": 68, "highest": 95}


def _outcome(failure: Json | None, risk: str) -> Json:
    """What the bank said, or Stripe itself, which blocks the highest risk."""
    told = {"advice_code": None, "network_advice_code": None, "network_decline_code": None}
    said: Json = {"risk_level": risk, "risk_score": RISK_SCORES[risk]}
    if failure is None:
        said.update(network_status="approved_by_network", reason=None, seller_message="Payment complete.")
        if risk == "elevated":
            said["reason"] = "elevated_risk_level"
        return {**told, **said, "type": "authorized"}
    if risk == "highest":
        said.update(network_status="not_sent_to_network", reason="highest_risk_level")
        return {**told, **said, "seller_message": "Stripe blocked this payment as too risky.", "type": "blocked"}
    said.update(network_status="declined_by_network", reason=failure["decline_code"])
    return {**told, **said, "seller_message": "The bank declined the payment.", "type": "issuer_declined"}


def charge(
    *, id: str, at: int, payment_intent: Json, payment_method: Json, failure: Json | None, risk: str = "normal"
) -> Json:
    amount, paid = payment_intent["amount"], failure is None
    return {
        "id": id,
        "object": "charge",
        "amount": amount,
        "amount_captured": amount if paid else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {
            "address": dict(NO_ADDRESS),
            "email": None,
            "name": None,
            "phone": None,
            "tax_id": None,
        },
        "calculated_statement_descriptor": "SIMULATOR",
        "captured": paid,
        "created": at,
        "currency": payment_intent["currency"],
        "customer": payment_intent["customer"],
        "description": payment_intent["description"],
        "destination": None,
        "dispute": None,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": failure and failure["code"],
        "failure_message": failure and failure["message"],
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "on_behalf_of": None,
        "order": None,
        "outcome": _outcome(failure, risk),
        "paid": paid,
        "payment_intent": payment_intent["id"],
        "payment_method": payment_method["id"],
        "payment_method_details": {
            payment_method["type"]: _charged_by(payment_method, at=at, amount=amount if paid else None),
            "type": payment_method["type"],
        },
        "radar_options": {},
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded" if paid else "failed",
        "transfer_data": None,
        "transfer_group": None,
    }


def _charged_by(payment_method: Json, *, at: int, amount: int | None) -> Json:
    if payment_method["type"] == "us_bank_account":
        return bank_debits.charged(payment_method["us_bank_account"], debited_at=at)
    return _charged_card(payment_method["card"], amount=amount)


def _charged_card(card: Json, *, amount: int | None) -> Json:
    return {
        "amount_authorized": amount,
        "authorization_code": None if amount is None else "000000",
        "brand": card["brand"],
        "checks": card["checks"],
        "country": card["country"],
        "electronic_commerce_indicator": None,
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": "000000000000000",
        "overcapture": {"maximum_amount_capturable": amount or 0, "status": "unavailable"},
        "regulated_status": card["regulated_status"],
        "three_d_secure": None,
        "transaction_link_id": None,
        "wallet": None,
    }


def balance_transaction(*, id: str, at: int, charge: Json) -> Json:
    """What a charge adds to the balance, less Stripe's standard fee of 2.9 % and 30 cents."""
    amount, currency = charge["amount"], charge["currency"]
    fee = (amount * 29 + 500) // 1000 + 30
    about = {"amount": fee, "application": None, "currency": currency, "type": "stripe_fee"}
    day_s = 86_400
    return {
        "id": id,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": (at // day_s + 7) * day_s,
        "balance_type": "payments",
        "created": at,
        "currency": currency,
        "description": charge["description"],
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [{**about, "description": "Stripe processing fees"}],
        "net": amount - fee,
        "reporting_category": "charge",
        "source": charge["id"],
        "status": "pending",
        "type": "charge",
    }


def reversal_transaction(*, id: str, at: int, of: Json, amount: int, kind: str) -> Json:
    """What a refund or a dispute takes from the balance; a negative amount comes back."""
    return {
        "id": id,
        "object": "balance_transaction",
        "amount": -amount,
        "available_on": at,
        "balance_type": "payments",
        "created": at,
        "currency": of["currency"],
        "description": None,
        "exchange_rate": None,
        "fee": 0,
        "fee_details": [],
        "net": -amount,
        "reporting_category": "dispute" if kind == "adjustment" else kind,
        "source": of["id"],
        "status": "available",
        "type": kind,
    }
