"""The page of an invoice: what it is over, and buttons to pay it."""

from __future__ import annotations

from paygrade.simulator import errors
from paygrade.simulator.billing import invoices
from paygrade.simulator.forms import Json
from paygrade.simulator.http.pages import html
from paygrade.simulator.http.pages.cards import BANK_BUTTONS, CARD_BUTTONS
from paygrade.simulator.intents import payment_intents
from paygrade.simulator.payments import payments
from paygrade.simulator.world import World

Form = dict[str, str]
STATES = {
    "draft": "This invoice is a draft.",
    "paid": "This invoice is paid.",
    "void": "This invoice is void: nothing is owed.",
    "uncollectible": "This invoice was written off.",
}


def show(world: World, invoice: Json, *, message: str | None = None) -> tuple[int, str]:
    intent = _intent(world, invoice)
    if intent is not None and intent["status"] == "requires_action":
        return html.challenge(invoice["amount_remaining"], invoice["currency"])
    currency = invoice["currency"]
    rows = [(line["description"] or "Item", html.money(line["amount"], currency)) for line in invoice["lines"]["data"]]
    if off := sum(one["amount"] for one in invoice["total_discount_amounts"]):
        rows.append(("Discount", html.money(-off, currency)))
    total = ("Amount due", html.money(invoice["amount_due"], currency))
    payable = invoice["status"] in ("open", "uncollectible") and intent is not None
    under_way = intent is not None and intent["status"] == "processing"
    state = "A bank debit is under way." if under_way else STATES.get(invoice["status"])
    failed = (intent or {}).get("last_payment_error") or {}
    body = [
        html.said(message or (failed.get("message") if payable else None)),
        html.said(state, good=True),
        html.section("What it's for", html.sums(rows, total=total)),
    ]
    if payable and not under_way:
        buttons = [*CARD_BUTTONS, *(BANK_BUTTONS if currency == "usd" else ())]
        drawn = [html.button(text, f"pay:{id}", main=n == 0) for n, (text, id) in enumerate(buttons)]
        body.append(html.form(f"<fieldset><legend>How you pay</legend>{''.join(drawn)}</fieldset>"))
    title = f"Invoice {invoice['number']}" if invoice["number"] else "Invoice"
    return html.layout(title, *body, status=400 if message else 200)


def act(world: World, invoice: Json, typed: Form) -> None:
    """Do what the customer asked for; a decline is shown at the page."""
    action, intent = typed.get("action", ""), _intent(world, invoice)
    if intent is None:
        raise errors.invalid("invoice", "This invoice asks for no payment.")
    if action in ("confirm", "refuse"):
        payment_intents.authenticate(world, intent, succeeds=action == "confirm")
    elif action.startswith("pay:"):
        pay(world, invoice, action.removeprefix("pay:"))
    else:
        raise errors.invalid("action", "Choose one of the buttons.")


def pay(world: World, invoice: Json, method: str) -> None:
    if invoice["status"] not in ("open", "uncollectible"):
        raise errors.invalid("invoice", f"Invoice is already {invoice['status']}", code="invoice_not_open")
    customer = world.live_customer(invoice["customer"])
    payer = payments.attach(world, method, customer=customer, param="payment_method")
    invoices.collect(world, invoice, payment_method=payer["id"], automatic=False)


def _intent(world: World, invoice: Json) -> Json | None:
    payment = payments.payment_of(world, invoice)
    return payment[1] if payment is not None else None
