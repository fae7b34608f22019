"""How billing credits look at API version 2026-10-28.endive: grants, their transactions, and the balance."""

from __future__ import annotations

from typing import Any

from paygrade.simulator.forms import Json


def money(value: int, currency: str) -> Json:
    return {"monetary": {"currency": currency, "value": value}, "type": "monetary"}


def credit_grant(*, id: str, at: int, customer: Json, **known: Any) -> Json:
    return {
        "id": id,
        "object": "billing.credit_grant",
        "category": "paid",
        "created": at,
        "customer": customer["id"],
        "customer_account": None,
        "effective_at": at,
        "expires_at": None,
        "livemode": False,
        "metadata": {},
        "name": None,
        "priority": 50,
        "test_clock": customer["test_clock"],
        "updated": at,
        "voided_at": None,
        **known,
    }


def transaction(*, id: str, at: int, grant: Json, type: str, **known: Any) -> Json:
    return {
        "id": id,
        "object": "billing.credit_balance_transaction",
        "created": at,
        "credit": None,
        "credit_grant": grant["id"],
        "debit": None,
        "effective_at": at,
        "livemode": False,
        "test_clock": grant["test_clock"],
        "type": type,
        **known,
    }


def summary(*, customer: str, balances: dict[str, int]) -> Json:
    return {
        "object": "billing.credit_balance_summary",
        "balances": [
            {"available_balance": money(value, currency), "ledger_balance": money(value, currency)}
            for currency, value in sorted(balances.items())
        ],
        "customer": customer,
        "customer_account": None,
        "livemode": False,
    }
