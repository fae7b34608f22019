"""Previews of invoices: what a subscription, or a change of one, would cost, with nothing made or changed.

Law. A preview and the change it shows come from the same computation: with the same `proration_date`, they
have the same lines. (Stripe docs: create a preview invoice.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import changes, invoice_items, lifecycle, lines, renewals, sums
from paygrade.simulator.billing import subscriptions as subs
from paygrade.simulator.forms import Json
from paygrade.simulator.products import discounts
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World, copied

FIELDS = frozenset(
    {
        "automatic_tax",
        "currency",
        "customer",
        "discounts",
        "expand",
        "invoice_items",
        "preview_mode",
        "subscription",
        "subscription_details",
    }
)
DETAILS = frozenset(
    {
        "billing_cycle_anchor",
        "billing_mode",
        "cancel_at",
        "cancel_at_period_end",
        "cancel_now",
        "items",
        "proration_behavior",
        "proration_date",
        "trial_end",
    }
)


def create_preview(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    details = forms.read_object(params, "subscription_details")
    forms.check_known(details, DETAILS, within="subscription_details")
    if id := forms.read_text(params, "subscription"):
        subscription = copied(world.get("subscription", id, param="subscription"))
        start = _began(subscription)
        customer = world.live_customer(subscription["customer"])
        billed, at = _upcoming(world, copied(subscription), details)
    else:
        customer = world.live_customer(forms.read_required(params, "customer"))
        subscription, billed = subs.prepare(world, customer, details)
        at = start = world.at
    billed += invoice_items.preview_lines(world, customer, params, currency=subscription["currency"])
    automatic = sums.read_automatic(params)
    if automatic is not None:
        subscription["automatic_tax"]["enabled"] = automatic
    active = discounts.read(world, params, subscription)
    if active is None:
        active = discounts.running(world, subscription)
    return _invoice(world, customer, subscription, billed, active=active, period=(start, at))


def announce(world: World, subscription: Json) -> None:
    """Tell of the invoice some days ahead, in an event whose invoice has no id yet (Stripe docs: invoice.upcoming)."""
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    due = min(ends, default=0) - world.settings.upcoming_days * cycles.DAY_S == world.at
    if not due or subscription["status"] not in ("active", "past_due", "trialing"):
        return
    try:
        billed, at = _upcoming(world, copied(subscription), {})
    except errors.RefusedByStripe:
        return  # it ends before
    customer, active = world.objects[subscription["customer"]], discounts.running(world, subscription)
    invoice = _invoice(world, customer, subscription, billed, active=active, period=(_began(subscription), at))
    world.emit("invoice.upcoming", {name: value for name, value in invoice.items() if name != "id"})


def _began(subscription: Json) -> int:
    """When the period began that the next invoice ends."""
    return int(min(item["current_period_start"] for item in subscription["items"]["data"]))


def _upcoming(world: World, subscription: Json, details: Json) -> tuple[list[Json], int]:
    """Give the lines of the next invoice and when it is due: now, or with the next period."""
    waiting = [copied(line) for line in world.pending_lines.get(subscription["id"], [])]
    change = changes.read_change(world, subscription, details)
    if change is not None:
        waiting += change.lines
        if change.bill_now and waiting:
            return waiting, world.at
        subscription["items"]["data"] = change.items
        subscription["billing_cycle_anchor"] = change.anchor
    items = subscription["items"]["data"]
    subs.set_cancellation(world, subscription, details)
    if forms.read_bool(details, "cancel_now"):
        credits = (lines.credit_line(world, subscription, item, at=world.at) for item in items)
        return [*waiting, *(line for line in credits if line is not None)], world.at
    end = min(item["current_period_end"] for item in items)
    ends_before = subscription["cancel_at"] is not None and subscription["cancel_at"] <= end
    if ends_before or subscription["status"] in lifecycle.ENDED:
        message = "No upcoming invoice: the subscription ends before its next period."
        raise errors.invalid("subscription", message, code="invoice_upcoming_none")
    for item in items:
        if item["current_period_end"] != end:
            continue
        ended = (item["current_period_start"], item["current_period_end"])
        renewals.begin_item_period(item, anchor=subscription["billing_cycle_anchor"])
        started = (item["current_period_start"], item["current_period_end"])
        period = ended if lines.is_metered(item) else started
        waiting += lines.cycle_lines(world, subscription, item, period=period)
    return [*waiting, *invoice_items.lines_waiting(world, subscription)], end


def _invoice(
    world: World, customer: Json, subscription: Json, billed: list[Json], *, active: list[Json], period: tuple[int, int]
) -> Json:
    start, at = period
    totals = sums.total_up(world, customer, subscription, billed, active)
    total = totals["total"]
    due = max(0, total + customer["balance"])
    invoice = invoice_shapes.invoice(
        id=world.new_id("upcoming_in"),
        at=at,
        customer=customer,
        subscription=subscription,
        billing_reason="upcoming",
        period_start=start,
        period_end=at,
        **totals,
        **sums.about_customer(world, customer),
        automatic_tax=sums.automatic_tax(customer, enabled=subscription["automatic_tax"]["enabled"]),
        default_tax_rates=list(subscription["default_tax_rates"]),
        amount_due=due,
        amount_remaining=due,
        starting_balance=customer["balance"],
        ending_balance=min(0, total + customer["balance"]),
        next_payment_attempt=at + world.settings.finalize_after_s,
    )
    for line in billed:
        line["invoice"] = invoice["id"]
    invoice["lines"].update(data=billed, total_count=len(billed))
    return invoice
