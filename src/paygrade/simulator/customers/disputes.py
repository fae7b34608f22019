"""Disputes: a customer's bank takes the money back, and a decision follows.

Laws. A dispute changes no subscription, unless the settings say `cancel`. Evidence decides as in Stripe's
tests: `winning_evidence` wins and `losing_evidence` loses, in `uncategorized_text`; an inquiry takes no money.
(Stripe docs: testing, disputes; dispute statuses are an open set.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import lifecycle
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.shapes import reversals as reversal_shapes
from paygrade.simulator.world import World

OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")
FIELDS = frozenset({"evidence", "metadata", "submit", "expand"})


def open_dispute(world: World, charge: Json, *, reason: str = "fraudulent", inquiry: bool = False) -> Json:
    """Let a charge be disputed; an inquiry only asks and takes no money."""
    if charge["status"] != "succeeded" or charge["disputed"]:
        raise errors.invalid("charge", "Only a charge that succeeded and is not disputed yet can be disputed.")
    if charge["payment_method_details"]["type"] != "card":
        raise errors.invalid("charge", "The simulator lets cards be disputed only.")
    dispute = reversal_shapes.dispute(
        id=world.new_id("du"),
        at=world.at,
        charge=charge,
        brand=charge["payment_method_details"]["card"]["brand"],
        reason=reason,
        status="warning_needs_response" if inquiry else "needs_response",
        is_charge_refundable=inquiry,
    )
    if inquiry:
        dispute["payment_method_details"]["card"]["case_type"] = "inquiry"
    world.put(dispute, charge["id"], charge["payment_intent"])
    charge.update(disputed=not inquiry, dispute=dispute["id"])
    world.emit("charge.dispute.created", dispute)
    if not inquiry:
        _move_money(world, dispute, -dispute["amount"])
        world.emit("charge.dispute.funds_withdrawn", dispute)
        _follow(world, charge)
    return dispute


def dispute_due(world: World, charge: Json) -> None:
    """Dispute what a card with one of Stripe's disputing test numbers has paid."""
    card = world.cards[charge["payment_method"]]
    if card.disputes_as is not None and not charge["disputed"]:
        open_dispute(world, charge, reason=card.disputes_as, inquiry=card.inquires)


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    dispute = world.get("dispute", id)
    evidence = forms.read_object(params, "evidence")
    forms.check_known(evidence, frozenset(reversal_shapes.EVIDENCE), within="evidence")
    submits = forms.read_bool(params, "submit") is not False and bool(evidence)
    if dispute["status"] not in OPEN and evidence:
        raise errors.invalid("dispute", f"The dispute takes no more evidence: it is {dispute['status']}.")
    with world.changing(dispute):
        dispute["metadata"] = forms.merge_metadata(dispute["metadata"], params)
        dispute["evidence"].update((name, value or None) for name, value in evidence.items())
        details = dispute["evidence_details"]
        details["has_evidence"] = details["has_evidence"] or bool(evidence)
        if submits:
            details["submission_count"] += 1
            details["submission_method"] = "manual"
            dispute["status"] = dispute["status"].replace("needs_response", "under_review")
    if submits:
        _decide(world, dispute)
    return dispute


def close(world: World, id: str, params: Json) -> Json:
    """Accept a dispute: it is lost."""
    forms.check_known(params, frozenset({"expand"}))
    dispute = world.get("dispute", id)
    if dispute["status"] not in OPEN:
        raise errors.invalid("dispute", f"The dispute is already closed: it is {dispute['status']}.")
    _close(world, dispute, won=False)
    return dispute


def _decide(world: World, dispute: Json) -> None:
    text = dispute["evidence"]["uncategorized_text"]
    if text in ("winning_evidence", "losing_evidence"):
        _close(world, dispute, won=text == "winning_evidence")


def _close(world: World, dispute: Json, *, won: bool) -> None:
    inquiry = dispute["status"].startswith("warning")
    dispute["status"] = "warning_closed" if inquiry else "won" if won else "lost"
    if won and not inquiry:
        _move_money(world, dispute, dispute["amount"])
        world.emit("charge.dispute.funds_reinstated", dispute)
    world.emit("charge.dispute.closed", dispute)


def _move_money(world: World, dispute: Json, amount: int) -> None:
    transaction = invoice_shapes.reversal_transaction(
        id=world.new_id("txn"), at=world.at, of=dispute, amount=-amount, kind="adjustment"
    )
    dispute["balance_transactions"].append(world.put(transaction))


def _follow(world: World, charge: Json) -> None:
    """Cancel the subscription whose invoice was disputed, if the settings say so."""
    if world.settings.after_dispute != "cancel":
        return
    for payment in world.owned("invoice_payment", charge["payment_intent"]):
        subscription = lifecycle.subscription_of(world, world.objects[payment["invoice"]])
        if subscription is not None and subscription["status"] not in lifecycle.ENDED:
            lifecycle.end(world, subscription, reason="payment_disputed")
