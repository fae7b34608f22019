"""How coupons, promotion codes and discounts look at API version 2026-10-28.endive."""

from __future__ import annotations

from typing import Any

from paygrade.simulator.forms import Json


def coupon(*, id: str, at: int, **known: Any) -> Json:
    return {
        "id": id,
        "object": "coupon",
        "amount_off": None,
        "created": at,
        "currency": None,
        "duration": "once",
        "duration_in_months": None,
        "livemode": False,
        "max_redemptions": None,
        "metadata": {},
        "name": None,
        "percent_off": None,
        "redeem_by": None,
        "times_redeemed": 0,
        "valid": True,
        **known,
    }


def promotion_code(*, id: str, at: int, coupon: str, code: str, **known: Any) -> Json:
    return {
        "id": id,
        "object": "promotion_code",
        "active": True,
        "code": code,
        "created": at,
        "customer": None,
        "customer_account": None,
        "expires_at": None,
        "livemode": False,
        "max_redemptions": None,
        "metadata": {},
        "promotion": {"coupon": coupon, "type": "coupon"},
        "restrictions": {
            "first_time_transaction": False,
            "minimum_amount": None,
            "minimum_amount_currency": None,
        },
        "times_redeemed": 0,
        **known,
    }


def discount(*, id: str, at: int, coupon: str, end: int | None, **known: Any) -> Json:
    return {
        "id": id,
        "object": "discount",
        "checkout_session": None,
        "customer": None,
        "customer_account": None,
        "end": end,
        "invoice": None,
        "invoice_item": None,
        "promotion_code": None,
        "source": {"coupon": coupon, "type": "coupon"},
        "start": at,
        "subscription": None,
        "subscription_item": None,
        **known,
    }
