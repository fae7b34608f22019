"""Cards and what happens when they are charged.

A payment method made from one of Stripe's magic test ids keeps that id's behaviour for good (Stripe docs:
testing). Which card pays an invoice: the invoice's own, else the subscription's, else the customer's default;
a card that is merely attached is never charged.
"""

from __future__ import annotations

from paygrade.simulator import errors
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import customers as customer_shapes
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.state.cards import DECLINES, Card, is_of_another_kind, magic_card
from paygrade.simulator.world import World

NO_CARD_MESSAGE = (
    "This customer has no attached payment source or default payment method. "
    "Please consider adding a default payment method."
)


def make_payment_method(world: World, card: Card, *, customer: str | None) -> Json:
    shape = customer_shapes.card(
        brand=card.brand,
        last4=card.last4,
        fingerprint=f"simulated{card.last4:>07}",
        exp_year=world.now.year + 3,
        country=card.country,
        cvc_check=card.cvc_check,
    )
    payment_method = customer_shapes.payment_method(id=world.new_id("pm"), at=world.at, card=shape, customer=customer)
    world.cards[payment_method["id"]] = card
    return world.put(payment_method)


def attach(world: World, id: str, *, customer: Json, param: str) -> Json:
    """Attach a payment method; a magic id makes a new one for this customer, as at Stripe."""
    card = refuse_unattachable(world, id, param=param)
    known = None if magic_card(id) else world.objects[id]
    if known and known["customer"] not in (None, customer["id"]):
        raise errors.invalid(param, "The payment method is already attached to another customer.")
    if known and known["customer"] == customer["id"]:
        return known
    payment_method = known or make_payment_method(world, card, customer=None)
    payment_method["customer"] = customer["id"]
    world.list_under(payment_method, customer["id"])
    world.emit("payment_method.attached", payment_method)
    return payment_method


def refuse_unattachable(world: World, id: str, *, param: str) -> Card:
    """Give the card behind an id, unless it is unknown or its bank declines to keep it."""
    if is_of_another_kind(id):
        raise errors.invalid(param, f"The simulator knows cards only: `{id}` is a test id of another kind.")
    card = magic_card(id) or world.cards[world.get("payment_method", id, param=param)["id"]]
    if not card.attaches:
        code, message = DECLINES[card.declines_with or "generic_decline"]
        raise errors.declined(code=code, decline_code=card.declines_with, message=message)
    return card


def card_for(world: World, *, customer: Json, subscription: Json | None, invoice: Json | None = None) -> str | None:
    """Give the id of the payment method that pays, or None."""
    for id in (
        invoice["default_payment_method"] if invoice else None,
        subscription["default_payment_method"] if subscription else None,
        customer["invoice_settings"]["default_payment_method"],
    ):
        payment_method = world.find("payment_method", id)
        if payment_method is not None and payment_method["customer"] == customer["id"]:
            return str(id)
    return None


def failure_of(world: World, payment_method: str | None) -> Json | None:
    """Tell how charging this payment method fails, in fields of Stripe's error object; None: it does not."""
    if payment_method is None:
        return {"code": "missing_payment_method", "decline_code": None, "message": NO_CARD_MESSAGE}
    card = world.cards[payment_method]
    if card.authenticates:
        message = "This payment needs to be authenticated by the customer."
        return {"code": "authentication_required", "decline_code": None, "message": message}
    if card.declines_with is not None:
        code, message = DECLINES[card.declines_with]
        return {"code": code, "decline_code": card.declines_with, "message": message}
    return None


def open_payment(world: World, invoice: Json) -> None:
    """Give a finalized invoice its payment intent (since basil reached by way of an invoice payment)."""
    description = {
        "subscription_create": "Subscription creation",
        "subscription_update": "Subscription update",
        "manual": "Payment for Invoice",
    }.get(invoice["billing_reason"], "Subscription cycle")
    intent = invoice_shapes.payment_intent(
        id=world.new_id("pi"),
        at=world.at,
        invoice=invoice,
        secret=world.new_id("s", length=16)[2:],
        description=description,
    )
    world.put(intent, invoice["customer"])
    payment = invoice_shapes.invoice_payment(
        id=world.new_id("inpay"), at=world.at, invoice=invoice, payment_intent=intent["id"]
    )
    world.put(payment, invoice["id"], intent["id"])
    world.emit("payment_intent.created", intent)


def payment_of(world: World, invoice: Json) -> tuple[Json, Json] | None:
    """Give an invoice's payment and its payment intent, if it ever asked for money."""
    for payment in world.owned("invoice_payment", invoice["id"]):
        return payment, world.objects[payment["payment"]["payment_intent"]]
    return None


def charge(world: World, invoice: Json, payment_method: str | None) -> Json | None:
    """Try to pay an invoice; give the failure, or None when it is paid."""
    payment, intent = payment_of(world, invoice) or (None, None)
    assert payment is not None
    assert intent is not None
    failure = failure_of(world, payment_method)
    intent["payment_method"] = payment_method
    if failure is None:
        settle(world, payment=payment, intent=intent)
    elif failure["code"] == "authentication_required":
        intent["status"] = "requires_action"
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
        world.emit("payment_intent.requires_action", intent)
    else:
        intent.update(status="requires_payment_method", last_payment_error={"type": "card_error", **failure})
        if payment_method is not None:
            _record_charge(world, intent, failure=failure)
        intent["payment_method"] = None
        world.emit("payment_intent.payment_failed", intent)
    return failure


def settle(world: World, *, payment: Json, intent: Json) -> None:
    """Note that the money arrived."""
    if intent["payment_method"] is not None:
        _record_charge(world, intent, failure=None)
    intent.update(status="succeeded", amount_received=intent["amount"], next_action=None, last_payment_error=None)
    payment.update(status="paid", amount_paid=payment["amount_requested"])
    payment["status_transitions"]["paid_at"] = world.at
    world.emit("payment_intent.succeeded", intent)
    world.emit("invoice_payment.paid", payment)


def cancel(world: World, invoice: Json) -> None:
    """Give up the payment of an invoice that will not be collected this way any more."""
    for payment, intent in filter(None, [payment_of(world, invoice)]):
        if intent["status"] == "succeeded":
            continue
        intent.update(status="canceled", canceled_at=world.at, next_action=None)
        payment["status"] = "canceled"
        payment["status_transitions"]["canceled_at"] = world.at
        world.emit("payment_intent.canceled", intent)


def _record_charge(world: World, intent: Json, *, failure: Json | None) -> None:
    payment_method = world.objects[intent["payment_method"]]
    made = invoice_shapes.charge(
        id=world.new_id("ch"),
        at=world.at,
        payment_intent=intent,
        payment_method=payment_method,
        failure=failure,
    )
    if failure is None:
        made["balance_transaction"] = world.put(
            invoice_shapes.balance_transaction(id=world.new_id("txn"), at=world.at, charge=made)
        )["id"]
        if world.cards[payment_method["id"]].disputes_as is not None:
            world.schedule(world.at, "dispute", made["id"])
        made["receipt_url"] = f"https://pay.stripe.com/receipts/simulated/{made['id']}"
    world.put(made, intent["customer"])
    intent["latest_charge"] = made["id"]
    world.emit("charge.succeeded" if failure is None else "charge.failed", made)
