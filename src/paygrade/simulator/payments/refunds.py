"""Refunds: money back for a charge. They change neither the invoice's nor the subscription's status.

Law. What is refunded of a charge never exceeds what was paid. (Stripe docs: refunds.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.shapes import reversals as reversal_shapes
from paygrade.simulator.world import World

SETTLES_AFTER_S = 86_400  # Stripe says no more than "some time later"
REASONS = ("duplicate", "fraudulent", "requested_by_customer")
FIELDS = frozenset({"amount", "charge", "expand", "metadata", "payment_intent", "reason"})


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    charge = _read_charge(world, params)
    amount = forms.read_int(params, "amount")
    reason = forms.read_choice(params, "reason", REASONS)
    return refund(world, charge, amount=amount, reason=reason, metadata=forms.merge_metadata({}, params))


def refund(
    world: World, charge: Json, *, amount: int | None, reason: str | None, metadata: dict[str, str] | None = None
) -> Json:
    """Give back an amount of a charge, or all that is left of it."""
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = left if amount is None else amount
    if charge["status"] != "succeeded":
        raise errors.invalid("charge", "The charge did not succeed, so there is nothing to refund.")
    if charge["disputed"]:
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise errors.invalid("charge", message, code="charge_disputed")
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise errors.invalid("charge", message, code="charge_already_refunded")
    if not 0 < amount <= left:
        message = f"Refund amount ({amount}) must be at least 1 and at most the unrefunded amount ({left})."
        raise errors.invalid("amount", message)
    made = reversal_shapes.refund(
        id=world.new_id("re"), at=world.at, charge=charge, amount=amount, reason=reason, metadata=metadata or {}
    )
    made["balance_transaction"] = world.put(
        invoice_shapes.reversal_transaction(id=world.new_id("txn"), at=world.at, of=made, amount=amount, kind="refund")
    )["id"]
    world.put(made, charge["id"], charge["payment_intent"])
    with world.changing(charge, "charge.refunded"):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    behavior = world.cards[charge["payment_method"]].refunds_as
    if behavior == "pending":
        made.update(status="pending", pending_reason="processing")
    world.emit("refund.created", made)
    if behavior != "succeeded":
        world.schedule(world.at + SETTLES_AFTER_S, "settle_refund", made["id"])
    return made


def settle_due(world: World, made: Json) -> None:
    """Let the bank take the money, or send it back, as a few test cards have it (Stripe docs: testing refunds)."""
    charge = world.objects[made["charge"]]
    with world.changing(made):
        if made.pop("pending_reason", None):
            made["status"] = "succeeded"
        else:
            made.update(status="failed", failure_reason="unknown")
            back = invoice_shapes.reversal_transaction(
                id=world.new_id("txn"), at=world.at, of=made, amount=-made["amount"], kind="refund_failure"
            )
            made["failure_balance_transaction"] = world.put(back)["id"]
            charge.update(amount_refunded=charge["amount_refunded"] - made["amount"], refunded=False)
    world.emit("charge.refund.updated", made)
    if made["status"] == "failed":
        world.emit("refund.failed", made)


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"metadata", "expand"}))
    made = world.get("refund", id)
    with world.changing(made):
        made["metadata"] = forms.merge_metadata(made["metadata"], params)
    return made


def _read_charge(world: World, params: Json) -> Json:
    if id := forms.read_text(params, "charge"):
        return world.get("charge", id, param="charge")
    if not params.get("payment_intent"):
        raise errors.missing_parameter("charge")
    intent = world.get("payment_intent", forms.read_required(params, "payment_intent"), param="payment_intent")
    if intent["latest_charge"] is None:
        raise errors.invalid("payment_intent", "This payment intent has no charge to refund.")
    return world.get("charge", intent["latest_charge"])
