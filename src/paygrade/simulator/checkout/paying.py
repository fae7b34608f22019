"""The customer at a Checkout Session's page: what happens when they pay, are declined, or have to confirm.

Laws. A card that can't be kept leaves no trace. Every other attempt in subscription mode makes the customer and an
`incomplete` subscription once, and later attempts pay that one's invoice. `checkout.session.completed` comes last of
all events of a purchase, and once; a bank debit completes the session unpaid, and its late answer is told by
`checkout.session.async_payment_succeeded` or `….async_payment_failed`. (Stripe docs: fulfill orders.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import invoice_items, invoice_requests, invoices, lifecycle, sums
from paygrade.simulator.billing import subscriptions as subs
from paygrade.simulator.checkout import line_items, payment_links, sessions
from paygrade.simulator.customers import customers
from paygrade.simulator.forms import Json
from paygrade.simulator.intents import payment_intents, setup_intents
from paygrade.simulator.payments import payments, setups
from paygrade.simulator.state.cards import BANK
from paygrade.simulator.state.visits import Attempt, Checkout
from paygrade.simulator.world import World


def submit(world: World, session: Json, *, method: str | None, details: Json | None = None) -> Attempt:
    """Pay with a payment method of Stripe's test ids, or of the customer's own; None: where none is asked for."""
    refuse_unless_open(session)
    checkout = world.checkouts[session["id"]]
    checkout.details = {**checkout.details, **(details or {})}
    checkout.message = None
    _locate(world, session, checkout)
    try:
        if method is not None:
            _refuse_type(session, payments.refuse_unattachable(world, method, param="payment_method").type, checkout)
        elif sessions.asks_for_card(session):
            raise errors.missing_parameter("payment_method")
        failure = _BUYS[session["mode"]](world, session, checkout, method)
    except errors.RefusedByStripe as refused:
        if refused.status != 402:
            raise
        failure = refused.error
    return _follow(world, session, checkout, failure)


def authenticate(world: World, session: Json, *, succeeds: bool) -> Attempt:
    """Play the customer who confirms with their bank, or fails to."""
    refuse_unless_open(session)
    checkout = world.checkouts[session["id"]]
    intent = world.objects.get(checkout.intent or "")
    if intent is None or intent["status"] != "requires_action":
        raise errors.invalid("session", "No payment of this Checkout Session waits for the customer's confirmation.")
    if intent["object"] == setup_intents.KIND:
        setup_intents.authenticate(world, intent, succeeds=succeeds)
        failure = intent["last_setup_error"]
    else:
        payment_intents.authenticate(world, intent, succeeds=succeeds)
        failure = intent["last_payment_error"]
    return _follow(world, session, checkout, failure)


def settle_due(world: World, intent: Json) -> None:
    """Let the bank answer a debit, and tell of it if a session was paid that way."""
    payment_intents.settle_due(world, intent)
    for session in world.owned(sessions.KIND, intent["id"]):
        if session["payment_status"] != "unpaid":
            continue
        if intent["status"] == "succeeded":
            session["payment_status"] = "paid"
            world.emit("checkout.session.async_payment_succeeded", session)
        elif intent["status"] == "requires_payment_method":
            world.emit("checkout.session.async_payment_failed", session)


def _locate(world: World, session: Json, checkout: Checkout) -> None:
    """Work out automatic tax for the place the customer typed, before they pay; once only."""
    if session["mode"] == "setup" or not line_items.taxes_itself(checkout):
        return
    payer = line_items.payer_of(checkout, world.find("customer", checkout.customer))
    sums.refuse_unlocated(payer, param="address")
    if not (checkout.subscription or checkout.invoice or checkout.intent):
        sessions.price_up(world, session, checkout)


def refuse_unless_open(session: Json) -> None:
    if session["status"] != "open":
        raise errors.invalid("session", f"This Checkout Session is {session['status']}: it takes no payment any more.")


def _refuse_type(session: Json, type: str, checkout: Checkout) -> None:
    """Refuse a payment method of a type the session names none of; where it names none at all, every one is fine."""
    if "payment_method_types" in checkout.wanted and type not in session["payment_method_types"]:
        message = f"This Checkout Session takes {', '.join(session['payment_method_types'])} only."
        raise errors.invalid("payment_method", message)
    if type == BANK and session["currency"] not in (None, "usd"):
        raise errors.invalid("payment_method", "US bank accounts pay in `usd` only.")


def _follow(world: World, session: Json, checkout: Checkout, failure: Json | None) -> Attempt:
    if failure is None:
        _complete(world, session, checkout)
        return Attempt("complete")
    if failure["code"] == "authentication_required":
        return Attempt("requires_action")
    checkout.message = failure["message"]
    return Attempt("declined", failure["message"])


def _buy_subscription(world: World, session: Json, checkout: Checkout, method: str | None) -> Json | None:
    """Make the subscription and pay its first invoice; give the failure, or None."""
    customer = _customer(world, session, checkout)
    payer = payments.attach(world, method, customer=customer, param="payment_method")["id"] if method else None
    subscription = world.find("subscription", checkout.subscription)
    if subscription is None or subscription["status"] in lifecycle.ENDED:
        params = {**line_items.subscription_params(world, checkout, customer), "customer": customer["id"]}
        if line_items.taxes_itself(checkout):
            params["automatic_tax"] = {"enabled": "true"}
        if payer:
            params.update(default_payment_method=payer, payment_behavior="default_incomplete")
        subscription = subs.create(world, params)
        checkout.subscription = subscription["id"]
    elif payer and subscription["default_payment_method"] != payer:
        with world.changing(subscription):
            subscription["default_payment_method"] = payer
    return _pay_invoice(world, checkout, world.find("invoice", subscription["latest_invoice"]), payer)


def _pay_invoice(world: World, checkout: Checkout, invoice: Json | None, payer: str | None) -> Json | None:
    checkout.invoice = invoice["id"] if invoice is not None else None
    if invoice is None or invoice["status"] != "open":
        return None
    failure = invoices.collect(world, invoice, payment_method=payer, automatic=False)
    paid = payments.payment_of(world, invoice)
    checkout.intent = paid[1]["id"] if paid is not None else None
    return failure


def _buy_once(world: World, session: Json, checkout: Checkout, method: str | None) -> Json | None:
    """Pay for one-time prices, by a payment intent of their own or, where that is asked for, by an invoice."""
    data = forms.read_object(checkout.wanted, "payment_intent_data")
    invoiced = session["invoice_creation"]["enabled"]
    needs_customer = session["customer_creation"] == "always" or data.get("setup_future_usage") or invoiced
    customer = _customer(world, session, checkout) if checkout.customer or needs_customer else None
    if not session["amount_total"] or method is None:
        return None
    if invoiced and customer is not None:
        payer = payments.attach(world, method, customer=customer, param="payment_method")["id"]
        invoice = world.find("invoice", checkout.invoice) or _invoice(world, session, checkout, customer)
        return _pay_invoice(world, checkout, invoice, payer)
    intent = world.find("payment_intent", checkout.intent)
    if intent is None:
        intent = payment_intents.make(
            world,
            amount=session["amount_total"],
            currency=session["currency"],
            customer=customer["id"] if customer is not None else None,
            capture_method="automatic_async",
            **_data(data, "description", "metadata", "receipt_email", "setup_future_usage"),
        )
        checkout.intent = intent["id"]
    return payment_intents.pay(world, intent, method)


def _invoice(world: World, session: Json, checkout: Checkout, customer: Json) -> Json:
    """Make the invoice over a session's line items."""
    data = {name: value for name, value in session["invoice_creation"]["invoice_data"].items() if value}
    wanted: Json = {"customer": customer["id"], "currency": session["currency"], "auto_advance": "false", **data}
    if line_items.taxes_itself(checkout):
        wanted["automatic_tax"] = {"enabled": "true"}
    if checkout.discounts:
        wanted["discounts"] = checkout.discounts
    invoice = invoice_requests.create_invoice(world, wanted)
    items = line_items.invoice_items_of(world, checkout, customer)
    invoice_items.keep(world, items)
    invoice_items.place(world, invoice, items)
    invoices.finalize(world, invoice)
    return invoice


def _set_up(world: World, session: Json, checkout: Checkout, method: str | None) -> Json | None:
    """Keep a payment method for later, of the session's customer if it has one."""
    assert method is not None
    data = forms.read_object(checkout.wanted, "setup_intent_data")
    customer = None
    if checkout.customer or session["customer_creation"] == "always":
        customer = _customer(world, session, checkout)["id"]
    intent = world.find(setups.KIND, checkout.intent)
    if intent is None:
        intent = setups.make(world, customer=customer, **_data(data, "description", "metadata"))
        checkout.intent = intent["id"]
    setups.confirm(world, intent, method)
    if intent["status"] == "requires_action":
        return {"code": "authentication_required", "message": "The customer has to confirm."}
    return None


_BUYS = {"subscription": _buy_subscription, "payment": _buy_once, "setup": _set_up}


def _data(data: Json, *names: str) -> Json:
    known = {name: data[name] for name in names if data.get(name)}
    return {**known, "metadata": forms.merge_metadata({}, data)}


def _customer(world: World, session: Json, checkout: Checkout) -> Json:
    """The customer of the session, or a new one from what was typed at the page."""
    typed = line_items.payer_of(checkout, None)["address"]
    known = world.find("customer", checkout.customer)
    if known is not None and not known.get("deleted"):
        saves = forms.read_object(checkout.wanted, "customer_update").get("address") == "auto"
        return customers.update_customer(world, known["id"], {"address": typed}) if typed and saves else known
    email = session["customer_email"] or checkout.details.get("email")
    if not email:
        raise errors.missing_parameter("email")
    wanted = {name: value for name in ("name", "phone") if (value := checkout.details.get(name))}
    address = {"address": typed} if typed and line_items.taxes_itself(checkout) else {}
    customer = customers.create_customer(world, {"email": email, **wanted, **address})
    checkout.customer = customer["id"]
    return customer


def _complete(world: World, session: Json, checkout: Checkout) -> None:
    intent = world.objects.get(checkout.intent or "")
    session.update(
        status="complete",
        url=None,
        customer=checkout.customer,
        subscription=checkout.subscription,
        invoice=checkout.invoice,
        customer_details=sessions.customer_details(world, session, checkout),
        consent=_consent(session),
    )
    _fill_in(session, checkout)
    if session["mode"] == "setup":
        session["setup_intent"] = checkout.intent
    elif session["mode"] == "payment":
        session["payment_intent"] = checkout.intent
    if session["mode"] != "setup":
        under_way = intent is not None and intent["status"] == "processing"
        paid = "unpaid" if under_way else "paid" if session["amount_total"] else "no_payment_required"
        session["payment_status"] = paid
    for owner in filter(None, [checkout.customer, checkout.intent]):
        world.list_under(session, owner)
    payment_links.note_completed(world, session)
    world.emit("checkout.session.completed", session)


def _consent(session: Json) -> Json | None:
    """What the customer agreed to: whoever pays has accepted the terms, where that is asked for."""
    asked = session["consent_collection"]
    if not asked:
        return None
    accepted = asked.get("terms_of_service") == "required"
    return {"promotions": None, "terms_of_service": "accepted" if accepted else None}


def _fill_in(session: Json, checkout: Checkout) -> None:
    """Write what was typed into the session's own fields."""
    for field in session["custom_fields"]:
        field[field["type"]]["value"] = checkout.details.get(f"field_{field['key']}")
