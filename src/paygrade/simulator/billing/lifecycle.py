"""The status of a subscription: how it follows its invoices, and how it ends.

Laws. `canceled` and `incomplete_expired` are final. Only the latest invoice speaks: a subscription is
`past_due` or `unpaid` until its latest invoice is paid or marked uncollectible, whatever happens to older
ones. A void invoice does not count, nor does a draft that still waits to be finalized. (Stripe docs:
subscription statuses.)
"""

from __future__ import annotations

from paygrade.simulator import forms
from paygrade.simulator.forms import Json
from paygrade.simulator.products import discounts, prices
from paygrade.simulator.shapes import subscriptions as subscription_shapes
from paygrade.simulator.state.changes import Change
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

ENDED = ("canceled", "incomplete_expired")
OWING = ("past_due", "unpaid")
TRIAL_NOTICE_S = 3 * cycles.DAY_S


def subscription_of(world: World, invoice: Json) -> Json | None:
    """Give the subscription an invoice is of; None: somebody made it by hand."""
    if invoice["parent"] is None:
        return None
    return world.objects[invoice["parent"]["subscription_details"]["subscription"]]


def follow_settled(world: World, invoice: Json) -> None:
    """React to an invoice that was paid, marked uncollectible or voided."""
    subscription = subscription_of(world, invoice)
    if subscription is None or subscription["status"] in ENDED:
        return
    settled = invoice["status"] in ("paid", "uncollectible")
    resumption = world.resumptions.get(subscription["id"])
    held = world.held_changes.get(subscription["id"])
    with world.changing(subscription):
        if held is not None and held.invoice == invoice["id"]:
            drop_held_change(world, subscription)
            if settled:
                world.remember_debits(invoice["lines"]["data"])
                adopt(world, subscription, held.change)
                subscription["metadata"] = forms.merge_metadata(subscription["metadata"], {"metadata": held.metadata})
                if held.discounts is not None:
                    discounts.attach(world, subscription, held.discounts)
                    discounts.use_up(world, subscription, invoice)
        if resumption is not None and resumption.invoice == invoice["id"]:
            _follow_resumption(world, subscription, settled=settled)
        elif subscription["status"] == "incomplete":
            _set_status(world, subscription, "active" if settled else "incomplete_expired")
        elif subscription["status"] in OWING:
            latest = _latest_that_counts(world, subscription)
            if latest is not None and latest["status"] in ("paid", "uncollectible"):
                _set_status(world, subscription, "active")


def follow_failed(world: World, invoice: Json) -> None:
    """React to an invoice that was due and not paid."""
    subscription = subscription_of(world, invoice)
    if subscription is None:
        return
    resumption = world.resumptions.get(subscription["id"])
    if resumption is not None and resumption.invoice == invoice["id"]:
        if resumption.by_attempt:
            with world.changing(subscription):
                resume(world, subscription, status="past_due")
        return
    if subscription["id"] in world.held_changes:
        return  # Stripe docs: pending updates: the subscription stays as it was
    latest = _latest_that_counts(world, subscription)
    if subscription["status"] == "active" and latest is not None and latest["id"] == invoice["id"]:
        with world.changing(subscription):
            _set_status(world, subscription, "past_due")


def follow_processing(world: World, invoice: Json) -> None:
    """React to a bank debit that is under way: a subscription begins with it (Stripe docs: subscription statuses)."""
    subscription = subscription_of(world, invoice)
    if subscription is not None and subscription["status"] == "incomplete":
        with world.changing(subscription):
            _set_status(world, subscription, "active")


def give_up(world: World, invoice: Json) -> None:
    """Do what the settings say once the last retry of an invoice has failed."""
    subscription = subscription_of(world, invoice)
    if subscription is None or subscription["status"] not in ("active", "past_due"):
        return
    if world.settings.after_retries == "cancel":
        end(world, subscription, reason="payment_failed")
    elif world.settings.after_retries == "unpaid":
        with world.changing(subscription):
            _set_status(world, subscription, "unpaid")
    elif world.settings.after_retries == "pause":
        pause(world, subscription, reason="final_payment_failure")


def end(world: World, subscription: Json, *, reason: str | None = None) -> None:
    """Cancel a subscription for good. `ended_at`, not `canceled_at`, tells when access ended."""
    subscription["status"] = "canceled"
    subscription["ended_at"] = world.at
    subscription["canceled_at"] = subscription["canceled_at"] or world.at
    subscription.pop("status_details", None)
    if reason is not None and subscription["cancellation_details"]["reason"] is None:
        subscription["cancellation_details"]["reason"] = reason
    world.resumptions.pop(subscription["id"], None)
    if subscription["id"] in world.held_changes:
        drop_held_change(world, subscription)
    _stop_collecting(world, subscription)
    world.emit("customer.subscription.deleted", subscription)
    schedule = world.find("subscription_schedule", subscription["schedule"])
    if schedule is not None and schedule["status"] == "active":
        through = schedule["end_behavior"] == "cancel" and schedule["phases"][-1]["end_date"] <= world.at
        kind = "completed" if through else "aborted" if reason == "payment_failed" else "canceled"
        end_schedule(world, schedule, event=kind)


def end_schedule(world: World, schedule: Json, *, event: str) -> None:
    """End a schedule: run through, canceled, or aborted because it could not go on."""
    if event == "completed":
        schedule.update(status="completed", completed_at=world.at, current_phase=None)
    else:
        schedule.update(status="canceled", canceled_at=world.at, current_phase=None)
    world.emit(f"subscription_schedule.{event}", schedule)


def delete_customer(world: World, customer: Json) -> Json:
    """Delete a customer: subscriptions end at once, and only a stub stays behind."""
    id = customer["id"]
    for subscription in world.owned("subscription", id):
        if subscription["status"] not in ENDED:
            end(world, subscription, reason="cancellation_requested")
    for payment_method in world.owned("payment_method", id):
        payment_method["customer"] = None
    stub: Json = {"id": id, "object": "customer", "deleted": True}
    world.objects[id] = stub
    world.emit("customer.deleted", customer)
    return stub


def expire_incomplete(world: World, subscription: Json) -> None:
    with world.changing(subscription):
        _set_status(world, subscription, "incomplete_expired")


def pause(world: World, subscription: Json, *, reason: str) -> None:
    with world.changing(subscription):
        subscription["status"] = "paused"
        subscription["status_details"] = subscription_shapes.paused(at=world.at, reason=reason)
    world.emit("customer.subscription.paused", subscription)


def resume(world: World, subscription: Json, *, status: str = "active") -> None:
    """Let a paused subscription go on with the periods its resumption was billed for."""
    resumption = world.resumptions.pop(subscription["id"])
    for item in subscription["items"]["data"]:
        if period := resumption.periods.get(item["id"]):
            item["current_period_start"], item["current_period_end"] = period
    subscription["billing_cycle_anchor"] = resumption.anchor
    _set_status(world, subscription, status)
    schedule_renewal(world, subscription)
    world.emit("customer.subscription.resumed", subscription)


def schedule_renewal(world: World, subscription: Json) -> None:
    ends = {item["current_period_end"] for item in subscription["items"]["data"]}
    if not ends:
        return
    world.schedule(min(ends), "renew", subscription["id"])
    told_at = min(ends) - world.settings.upcoming_days * cycles.DAY_S
    if world.settings.upcoming_days and told_at > world.at:
        world.schedule(told_at, "upcoming", subscription["id"])


def schedule_trial(world: World, subscription: Json) -> None:
    """Plan the end of a trial and the notice three days before it, at once if the trial is shorter."""
    ending = subscription["trial_end"]
    world.schedule(max(world.at, ending - TRIAL_NOTICE_S), "trial_will_end", subscription["id"])
    world.schedule(ending, "end_trial", subscription["id"])


def adopt(world: World, subscription: Json, change: Change) -> None:
    """Let a change take effect: items, anchor, trial and everything that is counted from them."""
    before = {item["id"] for item in subscription["items"]["data"]}
    for id in before - {item["id"] for item in change.items}:
        del world.objects[id]
    for item in change.items:
        prices.keep(world, item["price"])
        if item["id"] in before:
            world.objects[item["id"]] = item
        else:
            world.put(item, subscription["id"])
    discounts.attach_to_items(world, change.items)
    fill(subscription, change.items)
    subscription["billing_cycle_anchor"] = change.anchor
    if change.trial is not None:
        subscription.update(status="trialing", trial_start=change.trial[0], trial_end=change.trial[1])
        schedule_trial(world, subscription)
    elif change.trial_ends:
        subscription.update(status="active", trial_end=world.at)
    if subscription["cancel_at_period_end"]:
        subscription["cancel_at"] = min(item["current_period_end"] for item in change.items)
        world.schedule(subscription["cancel_at"], "cancel", subscription["id"])
    schedule_renewal(world, subscription)


def fill(subscription: Json, items: list[Json]) -> None:
    """Set the items and the two fields that repeat a single one."""
    subscription["items"].update(data=items, total_count=len(items))
    only = items[0] if len(items) == 1 else None
    subscription["plan"] = only and only["plan"]
    subscription["quantity"] = only and only["quantity"]


def drop_held_change(world: World, subscription: Json) -> None:
    held = world.held_changes.pop(subscription["id"])
    world.debits.update(held.debits)
    subscription["pending_update"] = None


def _follow_resumption(world: World, subscription: Json, *, settled: bool) -> None:
    if settled:
        resume(world, subscription)
    else:
        del world.resumptions[subscription["id"]]  # a voided resumption invoice: it stays paused


def _set_status(world: World, subscription: Json, status: str) -> None:
    subscription["status"] = status
    subscription.pop("status_details", None)
    if status == "incomplete_expired":
        subscription["ended_at"] = world.at


def _latest_that_counts(world: World, subscription: Json) -> Json | None:
    for invoice in world.owned("invoice", subscription["id"]):
        waiting = invoice["status"] == "draft" and invoice["auto_advance"]
        if invoice["status"] != "void" and not waiting:
            return invoice
    return None


def _stop_collecting(world: World, subscription: Json) -> None:
    """Leave what is owed open and stop trying (Stripe docs: cancel subscriptions)."""
    for invoice in world.owned("invoice", subscription["id"]):
        if invoice["status"] in ("draft", "open"):
            with world.changing(invoice):
                invoice.update(auto_advance=False, next_payment_attempt=None, automatically_finalizes_at=None)
