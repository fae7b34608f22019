"""Invoices, of subscriptions or made by hand: drafted, finalized, charged, retried, voided.

Laws. draft → open → paid | void | uncollectible, and uncollectible → paid | void. A total below zero becomes
the customer's credit; credit pays first. Only automatic attempts and the very first one move the retry
schedule (Stripe docs: the invoice object, attempt_count).
"""

from __future__ import annotations

from paygrade.simulator import errors
from paygrade.simulator.billing import credit_grants, invoice_items, lifecycle, sums
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import balances, payments
from paygrade.simulator.payments.payments import NO_CARD_MESSAGE
from paygrade.simulator.products import discounts
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

NOT_AUTHENTICATED: Json = {
    "code": "payment_intent_authentication_failure",
    "decline_code": None,
    "message": "The customer could not be authenticated.",
}


def draft(
    world: World,
    subscription: Json,
    lines: list[Json],
    *,
    reason: str,
    period: tuple[int, int],
    discounted: list[Json] | None = None,
) -> Json:
    """Draft an invoice over these lines and make it the subscription's latest; with its own discounts unless told."""
    customer = world.objects[subscription["customer"]]
    active = discounts.running(world, subscription) if discounted is None else discounted
    totals = sums.total_up(world, customer, subscription, lines, active)
    invoice = invoice_shapes.invoice(
        id=world.new_id("in"),
        at=world.at,
        customer=customer,
        subscription=subscription,
        billing_reason=reason,
        period_start=period[0],
        period_end=period[1],
        **totals,
        **sums.about_customer(world, customer),
        automatic_tax=sums.automatic_tax(customer, enabled=subscription["automatic_tax"]["enabled"]),
        default_tax_rates=list(subscription["default_tax_rates"]),
        amount_due=max(0, totals["total"] + customer["balance"]),
    )
    invoice["amount_remaining"] = invoice["amount_due"]
    if subscription["collection_method"] == "send_invoice":
        invoice["due_date"] = world.at + subscription["days_until_due"] * cycles.DAY_S
    for line in lines:
        line["invoice"] = invoice["id"]
    invoice["lines"].update(data=lines, total_count=len(lines))
    world.put(invoice, customer["id"], subscription["id"])
    invoice_items.note_invoice(world, invoice)
    world.remember_debits(lines)
    with world.changing(customer):
        customer["currency"] = customer["currency"] or invoice["currency"]
    subscription["latest_invoice"] = invoice["id"]
    world.emit("invoice.created", invoice)
    discounts.use_up(world, subscription, invoice)
    return invoice


def wait_to_finalize(world: World, invoice: Json) -> None:
    """Leave a draft open for changes, about an hour at Stripe, before it is finalized and charged."""
    invoice["automatically_finalizes_at"] = world.at + world.settings.finalize_after_s
    world.schedule(invoice["automatically_finalizes_at"], "finalize", invoice["id"])


def finalize_due(world: World, invoice: Json) -> None:
    if invoice["status"] != "draft" or invoice["automatically_finalizes_at"] != world.at:
        return
    subscription = lifecycle.subscription_of(world, invoice)
    paused = subscription["pause_collection"] if subscription is not None else None
    if paused is None:
        finalize_and_collect(world, invoice)
        return
    finalize(world, invoice)
    if invoice["status"] != "open":
        return
    if paused["behavior"] == "void":
        void(world, invoice)
    elif paused["behavior"] == "mark_uncollectible":
        mark_uncollectible(world, invoice)


def finalize_and_collect(world: World, invoice: Json) -> Json | None:
    """Finalize, then charge or send; give the failure of a charge, or None."""
    finalize(world, invoice)
    if invoice["status"] != "open":
        return None
    if invoice["collection_method"] == "send_invoice":
        world.emit("invoice.sent", invoice)
        world.schedule(invoice["due_date"], "overdue", invoice["id"])
        return None
    return collect(world, invoice, automatic=True)


def finalize(world: World, invoice: Json) -> None:
    """Number the invoice, use the customer's credit, and ask for what is left."""
    customer = world.objects[invoice["customer"]]
    if invoice["automatic_tax"]["status"] == "requires_location_inputs":
        _fail_to_finalize(world, invoice)
        return
    _apply_credits(world, invoice, customer)
    with world.changing(customer):
        number = invoice["number"]
        if number is None:
            number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
            customer["next_invoice_sequence"] += 1
        _apply_balance(world, invoice, customer)
    url = f"{world.base_url}/i/{invoice['id']}"
    invoice.update(
        status="open",
        number=number,
        effective_at=invoice["effective_at"] or world.at,
        automatically_finalizes_at=None,
        webhooks_delivered_at=world.at,
        hosted_invoice_url=url,
        invoice_pdf=f"{url}/pdf",
    )
    invoice["status_transitions"]["finalized_at"] = world.at
    if invoice["amount_due"] > 0:
        payments.open_payment(world, invoice)
    world.emit("invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        set_paid(world, invoice, attempted=True)


def _apply_credits(world: World, invoice: Json, customer: Json) -> None:
    """Let billing credits pay for metered lines, before taxes (Stripe docs: billing credits)."""
    spared = credit_grants.apply(world, invoice)
    if not spared:
        return
    lines = invoice["lines"]["data"]
    active = [world.objects[id] for id in invoice["discounts"]]
    with world.changing(invoice):
        invoice.update(sums.total_up(world, customer, invoice, lines, active, spared))


def _fail_to_finalize(world: World, invoice: Json) -> None:
    """Leave a draft whose taxes nobody can tell (Stripe docs: automatic tax, `requires_location_inputs`)."""
    with world.changing(invoice):
        invoice.update(automatically_finalizes_at=None, auto_advance=False)
        invoice["last_finalization_error"] = {
            "code": "customer_tax_location_invalid",
            "message": sums.NO_LOCATION,
            "type": "invalid_request_error",
        }
    world.emit("invoice.finalization_failed", invoice)


def collect(world: World, invoice: Json, *, payment_method: str | None = None, automatic: bool) -> Json | None:
    """Charge an open invoice; give the failure, or None when it is paid."""
    subscription = lifecycle.subscription_of(world, invoice)
    customer = world.objects[invoice["customer"]]
    payer = payment_method or payments.card_for(world, customer=customer, subscription=subscription, invoice=invoice)
    failure = payments.charge(world, invoice, payer)
    counts = automatic or invoice["attempt_count"] == 0
    if failure is None and _is_under_way(world, invoice):
        with world.changing(invoice):
            invoice.update(attempted=True, attempt_count=invoice["attempt_count"] + counts, next_payment_attempt=None)
        lifecycle.follow_processing(world, invoice)
        return None
    if failure is None:
        set_paid(world, invoice, attempted=True, counts=counts)
        return None
    with world.changing(invoice):
        invoice.update(attempted=True, attempt_count=invoice["attempt_count"] + counts)
        gave_up = counts and _plan_retry(world, invoice)
    if failure["code"] == "authentication_required":
        world.emit("invoice.payment_action_required", invoice)
    _follow_failure(world, invoice, gave_up=gave_up)
    return failure


def _is_under_way(world: World, invoice: Json) -> bool:
    payment = payments.payment_of(world, invoice)
    return payment is not None and payment[1]["status"] == "processing"


def _follow_failure(world: World, invoice: Json, *, gave_up: bool, late: bool = False) -> None:
    world.emit("invoice.payment_failed", invoice)
    customer = world.objects[invoice["customer"]]
    with world.changing(customer):
        customer["delinquent"] = True
    # Stripe docs: a subscription that a debit under way made active stays so, if the debit fails.
    if not late or invoice["billing_reason"] != "subscription_create":
        lifecycle.follow_failed(world, invoice)
    if gave_up:
        lifecycle.give_up(world, invoice)


def debit_due(world: World, invoice: Json, failure: Json | None) -> None:
    """React to a bank's late answer to a debit that was to pay an invoice."""
    if failure is not None:
        with world.changing(invoice):
            gave_up = _plan_retry(world, invoice)
        _follow_failure(world, invoice, gave_up=gave_up, late=True)
        return
    payment = payments.payment_of(world, invoice)
    assert payment is not None
    payments.note_paid(world, payment[0])
    set_paid(world, invoice, attempted=True)


def retry_due(world: World, invoice: Json) -> None:
    if invoice["status"] == "open" and invoice["next_payment_attempt"] == world.at:
        collect(world, invoice, automatic=True)


def overdue(world: World, invoice: Json) -> None:
    """Let a sent invoice that nobody paid by its due date make the subscription past due."""
    if invoice["status"] == "open":
        world.emit("invoice.overdue", invoice)
        lifecycle.follow_failed(world, invoice)


def pay(world: World, invoice: Json, *, payment_method: str | None, out_of_band: bool) -> None:
    """Pay now, as `POST /v1/invoices/{id}/pay` does: a draft is finalized first, a decline is a 402."""
    if invoice["status"] not in ("draft", "open", "uncollectible"):
        raise errors.invalid("invoice", f"Invoice is already {invoice['status']}", code="invoice_not_open")
    customer, subscription = world.objects[invoice["customer"]], lifecycle.subscription_of(world, invoice)
    payer = payment_method or payments.card_for(world, customer=customer, subscription=subscription, invoice=invoice)
    if payer is None and not out_of_band and invoice["amount_due"] > 0:
        raise errors.invalid("payment_method", NO_CARD_MESSAGE, code="resource_missing")
    if invoice["status"] == "draft":
        finalize(world, invoice)
    if invoice["status"] == "paid":
        return
    if out_of_band:
        payments.cancel(world, invoice)
        set_paid(world, invoice, attempted=invoice["attempted"])
        return
    failure = collect(world, invoice, payment_method=payer, automatic=False)
    if failure is not None:
        raise payment_refused(failure)


def payment_refused(failure: Json) -> errors.RefusedByStripe:
    code = failure["code"]
    if code == "authentication_required":
        code = "invoice_payment_intent_requires_action"
    return errors.declined(code=code, decline_code=failure["decline_code"], message=failure["message"])


def authenticate(world: World, intent: Json, *, succeeds: bool) -> None:
    """Play the customer who confirms a payment with their bank, or fails to."""
    [payment] = world.owned("invoice_payment", intent["id"])
    invoice = world.objects[payment["invoice"]]
    if succeeds:
        if payments.confirmed(world, intent):
            payments.note_paid(world, payment)
            set_paid(world, invoice, attempted=True)
        return
    intent["payment_method"] = None  # nothing was charged
    payments.fail(world, intent, NOT_AUTHENTICATED)


def void(world: World, invoice: Json) -> None:
    if invoice["status"] not in ("open", "uncollectible"):
        raise errors.invalid(
            "invoice", f"You can only void open or uncollectible invoices; this one is {invoice['status']}."
        )
    with world.changing(invoice):
        invoice.update(status="void", auto_advance=False, next_payment_attempt=None)
        invoice["status_transitions"]["voided_at"] = world.at
    payments.cancel(world, invoice)
    credit_grants.reinstate(world, invoice)
    world.emit("invoice.voided", invoice)
    lifecycle.follow_settled(world, invoice)


def mark_uncollectible(world: World, invoice: Json) -> None:
    """Write an invoice off. Its subscription counts as settled: `active` does not mean paid."""
    if invoice["status"] != "open":
        raise errors.invalid(
            "invoice", f"Only open invoices can be marked uncollectible; this one is {invoice['status']}."
        )
    with world.changing(invoice):
        invoice.update(status="uncollectible", auto_advance=False, next_payment_attempt=None)
        invoice["status_transitions"]["marked_uncollectible_at"] = world.at
    world.emit("invoice.marked_uncollectible", invoice)
    _note_delinquency(world, invoice)
    lifecycle.follow_settled(world, invoice)


def set_paid(world: World, invoice: Json, *, attempted: bool, counts: bool = False) -> None:
    with world.changing(invoice):
        invoice.update(
            status="paid",
            attempted=attempted,
            attempt_count=invoice["attempt_count"] + counts,
            auto_advance=False,
            next_payment_attempt=None,
            amount_paid=invoice["amount_due"],
            amount_remaining=0,
        )
        invoice["status_transitions"]["paid_at"] = world.at
    _save_payment_method(world, invoice)
    world.emit("invoice.paid", invoice)
    world.emit("invoice.payment_succeeded", invoice)
    _note_delinquency(world, invoice)
    lifecycle.follow_settled(world, invoice)


def _save_payment_method(world: World, invoice: Json) -> None:
    """Make the card that paid the subscription's own, if it asks for that (`save_default_payment_method`)."""
    subscription, payment = lifecycle.subscription_of(world, invoice), payments.payment_of(world, invoice)
    if subscription is None or payment is None or payment[1]["status"] != "succeeded":
        return
    if subscription["payment_settings"]["save_default_payment_method"] == "on_subscription":
        with world.changing(subscription):
            subscription["default_payment_method"] = payment[1]["payment_method"]


def _plan_retry(world: World, invoice: Json) -> bool:
    """Plan the next attempt, if there are any; tell whether the one just made was the last."""
    subscription = lifecycle.subscription_of(world, invoice)
    if not invoice["auto_advance"] or (subscription and subscription["status"] == "incomplete"):
        return False
    days, tried = world.settings.retry_days, invoice["attempt_count"]
    if tried > len(days):
        invoice.update(next_payment_attempt=None, auto_advance=False)
        return True
    invoice["next_payment_attempt"] = world.at + days[tried - 1] * cycles.DAY_S
    world.schedule(invoice["next_payment_attempt"], "retry", invoice["id"])
    return False


def _note_delinquency(world: World, invoice: Json) -> None:
    customer = world.objects[invoice["customer"]]
    if customer.get("delinquent"):
        with world.changing(customer):
            customer["delinquent"] = any(
                other["status"] == "open" and other["attempted"] for other in world.owned("invoice", customer["id"])
            )


def _apply_balance(world: World, invoice: Json, customer: Json) -> None:
    """Let the customer's balance pay or be paid: below zero is credit, above zero is owed."""
    start = customer["balance"]
    owed = invoice["total"] + start
    if moved := min(0, owed) - start:
        balances.move(
            world, customer, moved, type="applied_to_invoice", invoice=invoice["id"], currency=invoice["currency"]
        )
    invoice.update(
        starting_balance=start,
        ending_balance=customer["balance"],
        amount_due=max(0, owed),
        amount_remaining=max(0, owed),
    )
