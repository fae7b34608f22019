"""Refunds, disputes and credit notes: money goes back, and access does not follow by itself."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Simulated


def paid_charge(simulated: Simulated, card: str = "pm_card_visa") -> tuple[str, Any]:
    """Give a subscription and the charge that paid its first invoice."""
    subscription = simulated.subscribe(customer=simulated.customer(card))
    return subscription.id, simulated.charge_of(subscription.latest_invoice)


def test_a_refund_leaves_the_subscription_active_and_the_invoice_paid(simulated: Simulated) -> None:
    subscription, charge = paid_charge(simulated)
    part = simulated.client.v1.refunds.create({"charge": charge.id, "amount": 1000})
    rest = simulated.client.v1.refunds.create({"payment_intent": charge.payment_intent})
    assert (part.status, part.amount, rest.amount) == ("succeeded", 1000, 1500)
    after = simulated.client.v1.charges.retrieve(charge.id, {"expand": ["refunds"]})
    refunds: Any = after.refunds
    assert (after.amount_refunded, after.refunded, len(refunds.data)) == (2500, True, 2)
    first, second = simulated.events("charge.refunded")
    assert first.data.previous_attributes.to_dict() == {"amount_refunded": 0}
    assert second.data.object.refunded is True
    assert simulated.status(subscription) == "active"
    assert simulated.latest_invoice(subscription).status == "paid"
    listed = simulated.client.v1.refunds.list({"charge": charge.id}).data
    assert [refund.id for refund in listed] == [rest.id, part.id]


def test_no_more_than_was_paid_is_refunded(simulated: Simulated) -> None:
    _, charge = paid_charge(simulated)
    with pytest.raises(stripe.InvalidRequestError, match="unrefunded amount"):
        simulated.client.v1.refunds.create({"charge": charge.id, "amount": 2501})
    simulated.client.v1.refunds.create({"charge": charge.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"


def test_a_refund_leads_back_to_its_invoice_by_the_payment_intent(simulated: Simulated) -> None:
    subscription, charge = paid_charge(simulated)
    refund = simulated.client.v1.refunds.create({"charge": charge.id})
    intent: Any = refund.payment_intent
    payment: Any = {"payment_intent": intent, "type": "payment_intent"}
    [found] = simulated.client.v1.invoice_payments.list({"payment": payment}).data
    assert found.invoice == simulated.subscription(subscription).latest_invoice


def test_a_magic_card_disputes_what_it_paid_and_the_subscription_stays(simulated: Simulated) -> None:
    subscription, charge = paid_charge(simulated, "pm_card_createDispute")
    [dispute] = simulated.client.v1.disputes.list({"payment_intent": charge.payment_intent}).data
    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", "fraudulent", 2500)
    assert simulated.client.v1.charges.retrieve(charge.id).disputed is True
    assert [e.data.object.id for e in simulated.events("charge.dispute.created")] == [dispute.id]
    assert simulated.status(subscription) == "active"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        simulated.client.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_disputed"


@pytest.mark.parametrize(("evidence", "status"), [("winning_evidence", "won"), ("losing_evidence", "lost")])
def test_evidence_decides_a_dispute(simulated: Simulated, evidence: str, status: str) -> None:
    paid_charge(simulated, "pm_card_createDisputeProductNotReceived")
    [dispute] = simulated.client.v1.disputes.list().data
    simulated.client.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": evidence}})
    assert simulated.client.v1.disputes.retrieve(dispute.id).status == status
    [closed] = simulated.events("charge.dispute.closed")
    assert closed.data.object.status == status
    assert len(simulated.events("charge.dispute.funds_reinstated")) == (status == "won")
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        simulated.client.v1.disputes.close(dispute.id)


def test_the_bank_can_be_played_and_an_inquiry_takes_no_money(simulated: Simulated) -> None:
    _, charge = paid_charge(simulated)
    dispute = simulated.control("dispute", {"charge": charge.id, "inquiry": True, "reason": "general"})
    assert dispute["status"] == "warning_needs_response"
    assert simulated.events("charge.dispute.funds_withdrawn") == []
    assert simulated.client.v1.disputes.close(dispute["id"]).status == "warning_closed"
    status, _ = simulated.try_control("dispute", {"charge": "ch_nobody"})
    assert status == 400


def test_a_dispute_cancels_the_subscription_if_the_settings_say_so(simulated: Simulated) -> None:
    simulated.control("settings", {"after_dispute": "cancel"})
    subscription, _ = paid_charge(simulated, "pm_card_createDispute")
    canceled = simulated.subscription(subscription)
    assert canceled.status == "canceled"
    assert canceled.cancellation_details.reason == "payment_disputed"


def unpaid_invoice(simulated: Simulated) -> Any:
    subscription = simulated.subscribe(
        customer=simulated.customer(None), collection_method="send_invoice", days_until_due=7
    )
    simulated.advance("2h")
    return simulated.latest_invoice(subscription.id)


def test_a_credit_note_lowers_an_open_invoice_and_can_be_voided(simulated: Simulated) -> None:
    invoice = unpaid_invoice(simulated)
    note = simulated.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 500, "reason": "order_change"})
    assert (note.type, note.status, note.amount) == ("pre_payment", "issued", 500)
    assert note.number == f"{invoice.number}-CN-01"
    lowered = simulated.client.v1.invoices.retrieve(invoice.id)
    assert (lowered.amount_remaining, lowered.total, lowered.pre_payment_credit_notes_amount) == (2000, 2500, 500)
    simulated.client.v1.credit_notes.void_credit_note(note.id)
    assert simulated.client.v1.invoices.retrieve(invoice.id).amount_remaining == 2500
    assert [e.data.object.id for e in simulated.events("credit_note.voided")] == [note.id]


def test_a_credit_note_over_everything_pays_the_invoice(simulated: Simulated) -> None:
    invoice = unpaid_invoice(simulated)
    simulated.client.v1.credit_notes.create({"invoice": invoice.id, "amount": 2500})
    paid = simulated.client.v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 0, 0)


def test_a_paid_invoice_is_credited_by_refund_balance_and_out_of_band(simulated: Simulated) -> None:
    subscription, charge = paid_charge(simulated)
    invoice: Any = simulated.subscription(subscription).latest_invoice
    line = simulated.latest_invoice(subscription).lines.data[0].id
    note = simulated.client.v1.credit_notes.create(
        {
            "invoice": invoice,
            "lines": [{"type": "invoice_line_item", "invoice_line_item": line, "amount": 2000}],
            "refund_amount": 1000,
            "credit_amount": 700,
            "out_of_band_amount": 300,
        }
    )
    assert (note.type, note.post_payment_amount, note.refunds[0].amount_refunded) == ("post_payment", 2000, 1000)
    assert simulated.client.v1.charges.retrieve(charge.id).amount_refunded == 1000
    customer: Any = simulated.client.v1.customers.retrieve(charge.customer)
    assert customer.balance == -700
    assert simulated.status(subscription) == "active"
    assert [e.data.object.id for e in simulated.events("credit_note.created")] == [note.id]
    assert [n.id for n in simulated.client.v1.credit_notes.list({"invoice": invoice}).data] == [note.id]
    with pytest.raises(stripe.InvalidRequestError, match="at most what is left"):
        simulated.client.v1.credit_notes.create({"invoice": invoice, "amount": 501, "refund_amount": 501})
