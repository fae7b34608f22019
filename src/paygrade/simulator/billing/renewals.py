"""What happens to subscriptions by the mere passing of time.

Laws. At a period's end the period moves first, while the status stays as it is; the invoice is drafted at
once, finalized about an hour later and only then charged. A cancellation due at the same instant wins over a
renewal.
"""

from __future__ import annotations

from paygrade.simulator.billing import invoice_items, invoices, lifecycle, lines
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import payments
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

PAYMENT_WINDOW_S = 23 * cycles.HOUR_S  # for a first invoice, and for a resumption's


def renew(world: World, subscription: Json) -> None:
    """Move the items whose period is over to their next one and draft the invoice for it."""
    if subscription["status"] not in ("active", "past_due", "unpaid"):
        return
    due = [item for item in subscription["items"]["data"] if item["current_period_end"] <= world.at]
    if due:
        _begin_period(world, subscription, due)


def end_trial(world: World, subscription: Json) -> None:
    if subscription["status"] != "trialing" or subscription["trial_end"] > world.at:
        return
    customer = world.objects[subscription["customer"]]
    payer = payments.card_for(world, customer=customer, subscription=subscription)
    behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    # Stripe documents this setting by the payment method alone, with no word on prices of zero: they count alike here.
    if payer is None and subscription["collection_method"] == "charge_automatically":
        if behavior == "cancel":
            lifecycle.end(world, subscription, reason="payment_failed")
            return
        if behavior == "pause":
            lifecycle.pause(world, subscription, reason="trial_end_without_payment_method")
            return
    with world.changing(subscription):
        subscription["status"] = "active"
        _begin_period(world, subscription, subscription["items"]["data"])


def _begin_period(world: World, subscription: Json, items: list[Json]) -> None:
    """Bill licensed items for the new period, metered ones for the old, and all prorations that wait."""
    before = items[0]["current_period_start"]
    with world.changing(subscription):
        billed = []
        for item in items:
            ended = (item["current_period_start"], item["current_period_end"])
            begin_item_period(item, anchor=subscription["billing_cycle_anchor"])
            started = (item["current_period_start"], item["current_period_end"])
            period = ended if lines.is_metered(item) else started
            billed += lines.cycle_lines(world, subscription, item, period=period)
        lifecycle.schedule_renewal(world, subscription)
        billed += invoice_items.lines_waiting(world, subscription)  # before the pending lines go, which it looks at
        invoice = invoices.draft(
            world,
            subscription,
            [*world.pending_lines.pop(subscription["id"], []), *billed],
            reason="subscription_cycle",
            period=(before, items[0]["current_period_start"]),
        )
    paused = subscription["pause_collection"]
    if subscription["status"] == "unpaid" or (paused and paused["behavior"] == "keep_as_draft"):
        invoice["auto_advance"] = False
    else:
        invoices.wait_to_finalize(world, invoice)


def begin_item_period(item: Json, *, anchor: int) -> None:
    recurring = item["price"]["recurring"]
    item["current_period_start"] = item["current_period_end"]
    item["current_period_end"] = cycles.boundary_after(
        anchor,
        interval=recurring["interval"],
        count=recurring["interval_count"],
        after=item["current_period_start"],
    )


def announce_trial_end(world: World, subscription: Json) -> None:
    ending = subscription["trial_end"]
    if subscription["status"] == "trialing" and ending - lifecycle.TRIAL_NOTICE_S <= world.at < ending:
        world.emit("customer.subscription.trial_will_end", subscription)


def cancel_due(world: World, subscription: Json) -> None:
    if subscription["status"] not in lifecycle.ENDED and subscription["cancel_at"] == world.at:
        last = _bill_last_usage(world, subscription)
        lifecycle.end(world, subscription)
        if last is not None:
            last["auto_advance"] = True
            invoices.wait_to_finalize(world, last)


def _bill_last_usage(world: World, subscription: Json) -> Json | None:
    """Draft a last invoice over the usage of a period that is over together with its subscription."""
    items = [item for item in subscription["items"]["data"] if lines.is_metered(item)]
    periods = [(item["current_period_start"], item["current_period_end"]) for item in items]
    used = [
        line
        for item, period in zip(items, periods, strict=True)
        for line in lines.cycle_lines(world, subscription, item, period=period)
    ]
    if subscription["status"] not in ("active", "past_due") or not any(line["amount"] for line in used):
        return None
    with world.holding(subscription):
        return invoices.draft(world, subscription, used, reason="subscription_cycle", period=periods[0])


def expire_incomplete(world: World, subscription: Json) -> None:
    if subscription["status"] != "incomplete":
        return
    invoice = world.objects[subscription["latest_invoice"]]
    if invoice["status"] == "open":
        invoices.void(world, invoice)
    else:
        lifecycle.expire_incomplete(world, subscription)


def expire_resumption(world: World, subscription: Json) -> None:
    resumption = world.resumptions.get(subscription["id"])
    if resumption is None:
        return
    invoice = world.objects[resumption.invoice]
    if invoice["created"] + PAYMENT_WINDOW_S == world.at and invoice["attempt_count"] == 0:
        invoices.void(world, invoice)


def expire_held_change(world: World, subscription: Json) -> None:
    held = world.held_changes.get(subscription["id"])
    if held is not None and subscription["pending_update"]["expires_at"] == world.at:
        invoices.void(world, world.objects[held.invoice])


def resume_collection(world: World, subscription: Json) -> None:
    paused = subscription["pause_collection"]
    if paused is not None and paused["resumes_at"] == world.at:
        with world.changing(subscription):
            subscription["pause_collection"] = None
