"""Stripe's test cards: what each does to a payment, a confirmation and a refund, and what is told of a decline."""

from __future__ import annotations

from typing import Any

import pytest

from .asking import Account


def paid(account: Account, card: str, **params: Any) -> Any:
    wanted = {"amount": 1000, "currency": "usd", "payment_method": card, "confirm": True, **params}
    return account.post("payment_intents", **wanted)


def declined(account: Account, card: str) -> Any:
    wanted: dict[str, Any] = {"amount": 1000, "currency": "usd", "payment_method": card, "confirm": True}
    return account.refused("payment_intents", **wanted)


@pytest.mark.parametrize(
    ("card", "decline_code", "kind", "advice"),
    [
        ("pm_card_visa_chargeDeclined", "generic_decline", "issuer_declined", "try_again_later"),
        ("pm_card_chargeDeclinedLostCard", "lost_card", "issuer_declined", "do_not_try_again"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "issuer_declined", "confirm_card_data"),
        ("pm_card_riskLevelHighest", "generic_decline", "blocked", "try_again_later"),
        ("pm_card_radarBlock", "fraudulent", "blocked", "do_not_try_again"),
        ("pm_card_threeDSecureRequiredProcessingError", "processing_error", "issuer_declined", "try_again_later"),
    ],
)
def test_a_decline_tells_all_that_stripe_tells(card: str, decline_code: str, kind: str, advice: str) -> None:
    account = Account()
    refused = declined(account, card)
    assert (refused["status"], refused["type"], refused["decline_code"]) == (402, "card_error", decline_code)
    assert refused["doc_url"] == f"https://stripe.com/docs/error-codes/{refused['code'].replace('_', '-')}"
    assert refused["request_log_url"].startswith("https://dashboard.stripe.com/test/logs/req_")
    told = account.get(f"payment_intents/{refused['payment_intent']['id']}")["last_payment_error"]
    assert (told["decline_code"], told["advice_code"], refused["advice_code"]) == (decline_code, advice, advice)
    assert told["payment_method"]["card"]["last4"] == refused["payment_method"]["card"]["last4"]
    charge = account.get(f"charges/{told['charge']}")
    assert (charge["outcome"]["type"], refused["charge"]) == (kind, charge["id"])


def test_risk_and_checks_of_a_card_are_shown() -> None:
    account = Account()
    charge = account.get(f"charges/{paid(account, 'pm_card_riskLevelElevated')['latest_charge']}")
    assert (charge["outcome"]["risk_level"], charge["paid"]) == ("elevated", True)
    charge = account.get(f"charges/{paid(account, 'pm_card_avsZipFail')['latest_charge']}")
    checks = charge["payment_method_details"]["card"]["checks"]
    assert checks == {"address_line1_check": "pass", "address_postal_code_check": "fail", "cvc_check": "pass"}


@pytest.mark.parametrize(
    ("card", "decline_code"),
    [
        ("pm_card_threeDSecureRequiredChargeDeclined", "generic_decline"),
        ("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", "insufficient_funds"),
    ],
)
def test_a_confirmed_payment_can_still_be_declined(card: str, decline_code: str) -> None:
    account = Account()
    intent = paid(account, card)
    assert intent["status"] == "requires_action"
    intent = account.engine.authenticate(intent["id"])
    assert (intent["status"], intent["last_payment_error"]["decline_code"]) == ("requires_payment_method", decline_code)
    subscription = account.subscribe(
        account.price(unit_amount=500), customer=account.customer(card), expand=["latest_invoice.payments"]
    )
    [payment] = subscription["latest_invoice"]["payments"]["data"]
    account.engine.authenticate(payment["payment"]["payment_intent"])
    assert account.get(f"subscriptions/{subscription['id']}")["status"] == "incomplete"


def test_a_refund_can_be_pending_and_can_fail_later() -> None:
    account = Account()
    pending = account.post("refunds", payment_intent=paid(account, "pm_card_pendingRefund")["id"])
    failing = account.post("refunds", payment_intent=paid(account, "pm_card_refundFail")["id"], amount=400)
    assert (pending["status"], pending["pending_reason"], failing["status"]) == ("pending", "processing", "succeeded")
    account.engine.take_events()
    account.advance(days=1)
    told = [event["type"] for event in account.engine.take_events()]
    assert sorted(told) == [
        "charge.refund.updated",
        "charge.refund.updated",
        "refund.failed",
        "refund.updated",
        "refund.updated",
    ]
    assert account.get(f"refunds/{pending['id']}")["status"] == "succeeded"
    failed = account.get(f"refunds/{failing['id']}", expand=["failure_balance_transaction"])
    assert (failed["status"], failed["failure_reason"]) == ("failed", "unknown")
    assert failed["failure_balance_transaction"]["amount"] == 400
    charge = account.get(f"charges/{failing['charge']}")
    assert (charge["amount_refunded"], charge["refunded"]) == (0, False)


def test_what_two_updates_plan_for_one_instant_is_sent_once() -> None:
    account = Account()
    subscription = account.subscribe(account.price(unit_amount=1000), trial_period_days=14)
    [item] = account.get(f"subscriptions/{subscription['id']}")["items"]["data"]
    account.post(f"subscriptions/{subscription['id']}", items=[{"id": item["id"], "quantity": 2}])
    preview = account.post("invoices/create_preview", subscription=subscription["id"])
    account.engine.take_events()
    account.advance(days=15)
    told = [event["type"] for event in account.engine.take_events()]
    assert told.count("invoice.upcoming") == 1
    [renewal, _] = account.get("invoices")["data"]
    assert (preview["period_start"], preview["period_end"]) == (renewal["period_start"], renewal["period_end"])
