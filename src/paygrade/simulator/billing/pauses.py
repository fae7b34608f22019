"""Pause and resume: the status `paused`, which stops periods and invoices (`pause_collection` does neither).

Laws. Pausing needs flexible billing mode. A resumption bills at once; the subscription goes on when that
invoice is paid or marked uncollectible, and stays paused when it is voided, which happens after 23 hours
without an attempt. (Stripe docs: pause subscriptions; the pause endpoint since 2026-09-30.endive.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import invoices, lifecycle, lines, renewals
from paygrade.simulator.forms import Json
from paygrade.simulator.state.changes import Resumption
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

PAUSE_FIELDS = frozenset({"bill_for", "invoicing_behavior", "type", "expand"})
RESUME_FIELDS = frozenset(
    {"billing_cycle_anchor", "payment_behavior", "proration_behavior", "proration_date", "expand"}
)


def pause(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, PAUSE_FIELDS)
    subscription = world.get("subscription", id)
    if subscription["billing_mode"]["type"] != "flexible":
        raise errors.invalid("subscription", "Only subscriptions in flexible billing mode can be paused.")
    if subscription["schedule"] is not None:
        raise errors.invalid("subscription", "Subscriptions with an attached schedule cannot be paused.")
    if subscription["status"] not in ("active", "past_due"):
        raise errors.invalid("subscription", f"A subscription that is {subscription['status']} cannot be paused.")
    credits = _unused(world, subscription, params)
    invoicing = forms.read_choice(params, "invoicing_behavior", ("invoice", "pending_invoice_item"))
    world.await_invoice(id, credits)
    if invoicing == "invoice" and world.pending_lines[id]:
        waiting = world.pending_lines.pop(id)
        period = (subscription["items"]["data"][0]["current_period_start"], world.at)
        with world.changing(subscription):
            invoice = invoices.draft(world, subscription, waiting, reason="subscription_update", period=period)
            invoices.finalize_and_collect(world, invoice)
    lifecycle.pause(world, subscription, reason="pause_requested")
    return subscription


def resume(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, RESUME_FIELDS)
    subscription = world.get("subscription", id)
    if subscription["status"] != "paused":
        message = f"Only paused subscriptions can be resumed; this one is {subscription['status']}."
        raise errors.invalid("subscription", message)
    if subscription["collection_method"] != "charge_automatically":
        raise errors.invalid("subscription", "Only subscriptions that charge automatically can be resumed.")
    if id in world.resumptions:
        raise errors.invalid("subscription", "The subscription already waits for its resumption invoice.")
    wanted = forms.read_choice(params, "payment_behavior", ("resume_on_payment_attempt", "resume_on_payment_success"))
    anchor = world.at if _anchor_now(params) else subscription["billing_cycle_anchor"]
    periods = _periods(subscription, anchor=anchor, at=world.at)
    with world.changing(subscription):
        billed = world.pending_lines.pop(id, []) + _resumption_lines(world, subscription, periods, params)
        invoice = invoices.draft(world, subscription, billed, reason="subscription_update", period=(world.at, world.at))
        world.resumptions[id] = Resumption(
            invoice=invoice["id"],
            anchor=anchor,
            periods=periods,
            by_attempt=wanted != "resume_on_payment_success",
        )
        invoices.finalize(world, invoice)
        if invoice["status"] == "open" and wanted == "resume_on_payment_success":
            invoices.collect(world, invoice, automatic=True)
        elif invoice["status"] == "open":
            invoice["auto_advance"] = False  # Stripe docs: resume: payment is neither tried nor retried
        world.schedule(world.at + renewals.PAYMENT_WINDOW_S, "expire_resumption", id)
    return subscription


def _unused(world: World, subscription: Json, params: Json) -> list[Json]:
    wanted = forms.read_object(forms.read_object(params, "bill_for"), "unused_time_from")
    kind = forms.read_choice(wanted, "type", ("item_current_period_start", "none", "now")) or "now"
    if kind == "none":
        return []
    found = []
    for item in subscription["items"]["data"]:
        at = world.at if kind == "now" else item["current_period_start"]
        found.append(lines.credit_line(world, subscription, item, at=at))
    return [line for line in found if line is not None]


def _anchor_now(params: Json) -> bool:
    wanted = params.get("billing_cycle_anchor")
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind not in (None, "now", "unchanged"):
        raise errors.not_one_of("billing_cycle_anchor", value=kind, choices=("now", "unchanged"))
    return kind != "unchanged"


def _periods(subscription: Json, *, anchor: int, at: int) -> dict[str, tuple[int, int]]:
    periods = {}
    for item in subscription["items"]["data"]:
        recurring = item["price"]["recurring"]
        end = cycles.boundary_after(anchor, interval=recurring["interval"], count=recurring["interval_count"], after=at)
        periods[item["id"]] = (at, end)
    return periods


def _resumption_lines(
    world: World, subscription: Json, periods: dict[str, tuple[int, int]], params: Json
) -> list[Json]:
    """Bill whole periods when the anchor is now, what is left of them when it is unchanged."""
    billed = []
    for item in subscription["items"]["data"]:
        period = periods[item["id"]]
        if lines.is_metered(item):
            continue
        if _anchor_now(params):
            billed += lines.cycle_lines(world, subscription, item, period=period)
        elif params.get("proration_behavior") != "none":
            recurring = item["price"]["recurring"]
            start = cycles.boundary_upto(
                subscription["billing_cycle_anchor"],
                interval=recurring["interval"],
                count=recurring["interval_count"],
                upto=world.at,
            )
            rest = {**item, "current_period_start": start, "current_period_end": period[1]}
            billed.extend(filter(None, [lines.debit_line(world, subscription, rest, at=world.at)]))
    return billed
