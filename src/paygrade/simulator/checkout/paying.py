"""The customer at a Checkout Session's page: what happens when they pay, are declined, or have to confirm.

Laws. A card that can't be kept leaves no trace. Every other attempt in subscription mode makes the customer and an
`incomplete` subscription once, and later attempts pay that one's invoice. `checkout.session.completed` comes last of
all events of a purchase, and once.
"""

from __future__ import annotations

from dataclasses import dataclass

from paygrade.simulator import errors
from paygrade.simulator.billing import invoices, lifecycle
from paygrade.simulator.billing import subscriptions as subs
from paygrade.simulator.checkout import line_items
from paygrade.simulator.customers import customers
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import payments
from paygrade.simulator.shapes import checkout as shapes
from paygrade.simulator.state.checkouts import Checkout
from paygrade.simulator.world import World


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the customer sees next."""

    outcome: str  # complete | declined | requires_action
    message: str | None = None


def submit(world: World, session: Json, *, method: str | None, details: Json | None = None) -> Attempt:
    """Pay with a payment method of Stripe's test ids, or of the customer's own; None: where none is asked for."""
    _refuse_unless_open(session)
    checkout = world.checkouts[session["id"]]
    checkout.details = {**checkout.details, **(details or {})}
    checkout.message = None
    try:
        if method is not None:
            payments.refuse_unattachable(world, method, param="payment_method")
        elif session["payment_method_collection"] == "always" or session["amount_total"]:
            raise errors.missing_parameter("payment_method")
        failure = _buy(world, session, checkout, method)
    except errors.RefusedByStripe as refused:
        if refused.status != 402:
            raise
        failure = refused.error
    return _follow(world, session, checkout, failure)


def authenticate(world: World, session: Json, *, succeeds: bool) -> Attempt:
    """Play the customer who confirms with their bank, or fails to."""
    _refuse_unless_open(session)
    checkout = world.checkouts[session["id"]]
    intent = world.objects.get(checkout.intent or "")
    if intent is None or intent["status"] != "requires_action":
        raise errors.invalid("session", "No payment of this Checkout Session waits for the customer's confirmation.")
    invoices.authenticate(world, intent, succeeds=succeeds)
    return _follow(world, session, checkout, None if succeeds else intent["last_payment_error"])


def _refuse_unless_open(session: Json) -> None:
    if session["status"] != "open":
        raise errors.invalid("session", f"This Checkout Session is {session['status']}: it takes no payment any more.")


def _follow(world: World, session: Json, checkout: Checkout, failure: Json | None) -> Attempt:
    if failure is None:
        _complete(world, session, checkout)
        return Attempt("complete")
    if failure["code"] == "authentication_required":
        return Attempt("requires_action")
    checkout.message = failure["message"]
    return Attempt("declined", failure["message"])


def _buy(world: World, session: Json, checkout: Checkout, method: str | None) -> Json | None:
    """Make what is bought and pay for it; give the failure, or None."""
    if session["mode"] != "subscription":
        raise errors.invalid("mode", "The simulator's page takes sessions in subscription mode only.")
    customer = _customer(world, session, checkout)
    payer = payments.attach(world, method, customer=customer, param="payment_method")["id"] if method else None
    subscription = world.find("subscription", checkout.subscription)
    if subscription is None or subscription["status"] in lifecycle.ENDED:
        params = {
            **line_items.subscription_params(checkout),
            "customer": customer["id"],
            "payment_behavior": "default_incomplete",
        }
        if payer:
            params["default_payment_method"] = payer
        subscription = subs.create(world, params)
        checkout.subscription = subscription["id"]
    elif payer and subscription["default_payment_method"] != payer:
        with world.changing(subscription):
            subscription["default_payment_method"] = payer
    invoice = world.find("invoice", subscription["latest_invoice"])
    checkout.invoice = invoice and invoice["id"]
    if invoice is None or invoice["status"] != "open":
        return None
    failure = invoices.collect(world, invoice, payment_method=payer, automatic=False)
    paid = payments.payment_of(world, invoice)
    checkout.intent = paid and paid[1]["id"]
    return failure


def _customer(world: World, session: Json, checkout: Checkout) -> Json:
    """The customer of the session, or a new one from what was typed at the page."""
    known = world.find("customer", checkout.customer)
    if known is not None and not known.get("deleted"):
        return known
    email = session["customer_email"] or checkout.details.get("email")
    if not email:
        raise errors.missing_parameter("email")
    wanted = {"email": email}
    if name := checkout.details.get("name"):
        wanted["name"] = name
    customer = customers.create_customer(world, wanted)
    checkout.customer = customer["id"]
    return customer


def _complete(world: World, session: Json, checkout: Checkout) -> None:
    customer = world.find("customer", checkout.customer)
    email = session["customer_email"] or checkout.details.get("email") or (customer and customer["email"])
    name = checkout.details.get("name") or (customer and customer["name"])
    session.update(
        status="complete",
        url=None,
        payment_status="paid" if session["amount_total"] else "no_payment_required",
        customer=checkout.customer,
        subscription=checkout.subscription,
        invoice=checkout.invoice,
        customer_details=shapes.customer_details(email=email, name=name, address=None, phone=None),
    )
    if checkout.customer:
        world.list_under(session, checkout.customer)
    world.emit("checkout.session.completed", session)
