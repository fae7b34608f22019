"""Cards and bank accounts, and what happens when they are charged.

A payment method made from one of Stripe's magic test ids keeps that id's behaviour for good (Stripe docs:
testing). Which card pays an invoice: the invoice's own, else the subscription's, else the customer's default;
a card that is merely attached is never charged.
"""

from __future__ import annotations

from dataclasses import replace

from paygrade.simulator import errors
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import bank_debits as bank_shapes
from paygrade.simulator.shapes import customers as customer_shapes
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.state.cards import BANK, Card, decline_of, is_of_another_kind, magic_card
from paygrade.simulator.world import World

NO_CARD_MESSAGE = (
    "This customer has no attached payment source or default payment method. "
    "Please consider adding a default payment method."
)


def make_payment_method(world: World, card: Card, *, customer: str | None) -> Json:
    fingerprint = f"simulated{card.last4:>07}"
    if card.type == BANK:
        shape = bank_shapes.bank_account(last4=card.last4, fingerprint=fingerprint)
    else:
        shape = customer_shapes.card(
            brand=card.brand,
            last4=card.last4,
            fingerprint=fingerprint,
            exp_year=world.now.year + 3,
            country=card.country,
            checks={
                "address_line1_check": card.line1_check,
                "address_postal_code_check": card.postal_code_check,
                "cvc_check": card.cvc_check,
            },
        )
    payment_method = customer_shapes.payment_method(
        id=world.new_id("pm"), at=world.at, type=card.type, details=shape, customer=customer
    )
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
        message = f"The simulator knows cards and US bank accounts only: `{id}` is a test id of another kind."
        raise errors.invalid(param, message)
    card = magic_card(id) or world.cards[world.get("payment_method", id, param=param)["id"]]
    if not card.attaches:
        code, message = decline_of(card)
        raise errors.declined(code=code, decline_code=card.declines_with, message=message)
    return card


def known_or_new(world: World, id: str, *, param: str) -> tuple[Json, Card]:
    """Give a payment method and what is behind it; a magic id makes a new one, of no customer yet."""
    if is_of_another_kind(id):
        refuse_unattachable(world, id, param=param)
    magic = magic_card(id)
    method = make_payment_method(world, magic, customer=None) if magic else world.get("payment_method", id, param=param)
    return method, world.cards[method["id"]]


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
    """Tell how charging this payment method fails, in fields of Stripe's error object; None: it does not, at once."""
    if payment_method is None:
        return {"code": "missing_payment_method", "decline_code": None, "message": NO_CARD_MESSAGE}
    card = world.cards[payment_method]
    if card.authenticates:
        message = "This payment needs to be authenticated by the customer."
        return {"code": "authentication_required", "decline_code": None, "message": message}
    return _decline(card)


def _decline(card: Card) -> Json | None:
    if card.declines_with is None or card.type == BANK:
        return None
    code, message = decline_of(card)
    return {"code": code, "decline_code": card.declines_with, "message": message}


def confirmed(world: World, intent: Json) -> bool:
    """Let the customer's bank go on once they have confirmed; tell whether it pays."""
    is_confirmed(world, intent)
    failure = _decline(world.cards[intent["payment_method"]])
    if failure is not None:
        fail(world, intent, failure)
        return False
    succeed(world, intent)
    return True


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
        amount=invoice["amount_due"],
        currency=invoice["currency"],
        secret=world.new_id("s", length=16)[2:],
        customer=invoice["customer"],
        description=description,
        payment_details={"customer_reference": None, "order_reference": invoice["id"]},
        setup_future_usage="off_session",
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
    """Try to pay an invoice; give the failure, or None when it is paid or the bank is still at it (`processing`)."""
    payment, intent = payment_of(world, invoice) or (None, None)
    assert payment is not None
    assert intent is not None
    failure = attempt(world, intent, payment_method)
    if failure is None and intent["status"] == "succeeded":
        note_paid(world, payment)
    return failure


def attempt(world: World, intent: Json, payment_method: str | None, *, return_url: str | None = None) -> Json | None:
    """Try to pay a payment intent; give the failure, or None when it is paid or the bank is still at it."""
    failure = failure_of(world, payment_method)
    intent["payment_method"] = payment_method
    if failure is None and payment_method is not None and world.cards[payment_method].type == BANK:
        _begin_debit(world, intent)
    elif failure is None:
        succeed(world, intent)
    elif failure["code"] == "authentication_required":
        intent.update(status="requires_action", next_action=next_action(world, intent, return_url=return_url))
        world.emit("payment_intent.requires_action", intent)
    else:
        fail(world, intent, failure)
    return failure


def next_action(world: World, intent: Json, *, return_url: str | None) -> Json:
    """How the customer confirms with their bank: at a page if a way back was given, else in the merchant's own."""
    if return_url is None:
        return {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    address = {"return_url": return_url, "url": f"{world.base_url}/3ds/{intent['client_secret']}"}
    return {"redirect_to_url": address, "type": "redirect_to_url"}


def succeed(world: World, intent: Json) -> None:
    """Note that the money arrived, or is set aside until it is captured."""
    later = intent["capture_method"] == "manual"
    if intent["payment_method"] is not None and intent["status"] != "processing":
        _record_charge(world, intent, failure=None)
    intent.update(next_action=None, last_payment_error=None)
    if later:
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        world.emit("payment_intent.amount_capturable_updated", intent)
    else:
        intent.update(status="succeeded", amount_received=intent["amount"])
        world.emit("payment_intent.succeeded", intent)


def fail(world: World, intent: Json, failure: Json) -> None:
    """Note that a payment was declined; the next attempt needs a payment method anew."""
    tried = intent["payment_method"]
    if tried is not None and intent["status"] != "processing":
        _record_charge(world, intent, failure=failure)
    told = errors.payment_error(failure)
    if tried is not None:
        told.update(charge=intent["latest_charge"], payment_method=world.objects[tried])
    intent.update(
        status="requires_payment_method",
        last_payment_error=dict(sorted(told.items())),
        next_action=None,
        payment_method=None,
    )
    world.emit("payment_intent.payment_failed", intent)


def capture(world: World, intent: Json, *, amount: int) -> None:
    """Take what was set aside, or a part of it."""
    charged = world.objects[intent["latest_charge"]]
    with world.changing(charged, "charge.captured"):
        charged.update(captured=True, amount_captured=amount, amount_refunded=charged["amount"] - amount)
    _balance(world, charged)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    world.emit("payment_intent.succeeded", intent)


def _begin_debit(world: World, intent: Json) -> None:
    """Ask a bank for the money, which answers after some days."""
    _record_charge(world, intent, failure=None, pending=True)
    intent.update(status="processing", last_payment_error=None, next_action=None)
    world.emit("payment_intent.processing", intent)
    if world.cards[intent["payment_method"]].settles:
        world.schedule(world.at + world.settings.debit_after_s, "settle_debit", intent["id"])


def settle_debit(world: World, intent: Json) -> Json | None:
    """Let the bank answer: give the failure, or None when the money is there."""
    card, charged = world.cards[intent["payment_method"]], world.objects[intent["latest_charge"]]
    if card.declines_with is None:
        charged.update(status="succeeded", paid=True, captured=True, amount_captured=charged["amount"])
        _balance(world, charged)
        world.emit("charge.succeeded", charged)
        succeed(world, intent)
        return None
    code, message = decline_of(card)
    failure: Json = {"code": code, "decline_code": None, "message": message}
    charged.update(status="failed", paid=False, failure_code=code, failure_message=message)
    world.emit("charge.failed", charged)
    fail(world, intent, failure)
    return failure


def note_paid(world: World, payment: Json) -> None:
    """Note on an invoice's payment that its payment intent succeeded."""
    payment.update(status="paid", amount_paid=payment["amount_requested"])
    payment["status_transitions"]["paid_at"] = world.at
    world.emit("invoice_payment.paid", payment)


def is_confirmed(world: World, intent: Json) -> None:
    """Let a card that only wants to be confirmed once be confirmed for good."""
    card = world.cards[intent["payment_method"]]
    if card.until_set_up and (intent["object"] == "setup_intent" or intent["setup_future_usage"]):
        world.cards[intent["payment_method"]] = replace(card, authenticates=False)


def cancel(world: World, invoice: Json) -> None:
    """Give up the payment of an invoice that will not be collected this way any more."""
    for payment, intent in filter(None, [payment_of(world, invoice)]):
        if intent["status"] in ("succeeded", "processing"):
            continue
        intent.update(status="canceled", canceled_at=world.at, next_action=None)
        payment["status"] = "canceled"
        payment["status_transitions"]["canceled_at"] = world.at
        world.emit("payment_intent.canceled", intent)


def _record_charge(world: World, intent: Json, *, failure: Json | None, pending: bool = False) -> None:
    payment_method = world.objects[intent["payment_method"]]
    made = invoice_shapes.charge(
        id=world.new_id("ch"),
        at=world.at,
        payment_intent=intent,
        payment_method=payment_method,
        failure=failure,
        risk=world.cards[payment_method["id"]].risk,
    )
    if pending:
        made.update(status="pending", captured=True, paid=False)
    elif failure is None and intent["capture_method"] == "manual":
        made.update(captured=False, amount_captured=0)
    elif failure is None:
        _balance(world, made)
    world.put(made, *filter(None, [intent["customer"]]))
    intent["latest_charge"] = made["id"]
    what = "pending" if pending else "succeeded" if failure is None else "failed"
    world.emit(f"charge.{what}", made)


def _balance(world: World, charged: Json) -> None:
    """Enter into the balance what a charge brought, and let cards that dispute do so."""
    charged["balance_transaction"] = world.put(
        invoice_shapes.balance_transaction(id=world.new_id("txn"), at=world.at, charge=charged)
    )["id"]
    if world.cards[charged["payment_method"]].disputes_as is not None:
        world.schedule(world.at, "dispute", charged["id"])
    if world.cards[charged["payment_method"]].warns:
        world.schedule(world.at, "warn_of_fraud", charged["id"])
    charged["receipt_url"] = f"https://pay.stripe.com/receipts/simulated/{charged['id']}"
