"""Updates of a subscription: items, trial, anchor, cancellation and the plain fields.

Laws. A change is worked out on copies first, refused if it must be, and only then adopted, so a refused
update leaves no trace. An item keeps its id when its price is swapped. What a change costs now is invoiced
now; the rest waits for the next invoice. (Stripe docs: modify subscriptions; billing cycle; pending updates.)
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import first_periods, invoice_items, invoices, lifecycle, lines, renewals, sums
from paygrade.simulator.billing import subscriptions as subs
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import payments
from paygrade.simulator.products import amounts, discounts, tax_rates
from paygrade.simulator.state.changes import Change, HeldChange
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World, copied

UPDATE_FIELDS = subs.SHARED | {"cancellation_details", "pause_collection", "proration_date"}
ITEM_FIELDS = subs.ITEM_FIELDS | {"id", "deleted", "clear_usage"}
PENDING_FIELDS = frozenset(
    [
        "billing_cycle_anchor",
        "discounts",
        "expand",
        "items",
        "metadata",
        "payment_behavior",
        "proration_behavior",
        "proration_date",
        "trial_end",
    ]
)
"""What may wait for a payment (Stripe docs: pending updates; metadata and discounts since 2026-05-27.dahlia)."""
COLLECTION_PAUSES = ("keep_as_draft", "mark_uncollectible", "void")
GATED = ("error_if_incomplete", "pending_if_incomplete")  # what is not paid for is not made


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, UPDATE_FIELDS)
    subscription = world.get("subscription", id)
    _refuse_closed(subscription, params)
    change = read_change(world, subscription, params)
    behavior = forms.read_choice(params, "payment_behavior", subs.PAYMENT_BEHAVIORS) or "allow_incomplete"
    if behavior == "pending_if_incomplete":
        _refuse_what_cannot_wait(subscription, params)
    discounted = discounts.read(world, params, subscription)
    failure = _failure_ahead(world, subscription, change, discounted)
    if failure is not None and failure["code"] == "missing_payment_method" and behavior in GATED:
        # Seen at Stripe: https://github.com/stripe/stripe-java/issues/1612
        raise errors.invalid("customer", payments.NO_CARD_MESSAGE, code="resource_missing")
    if failure is not None and behavior == "error_if_incomplete":
        raise subs.subscription_refused(failure)
    payment_method = subs.read_payment_method(world, params, customer=subscription["customer"])
    _rehearse(world, subscription, params)
    if change is not None and id in world.held_changes:
        # What is asked for now takes its place (Stripe docs: pending updates).
        invoices.void(world, world.objects[world.held_changes[id].invoice])
    if change is not None and failure is not None and behavior == "pending_if_incomplete":
        with world.changing(subscription):
            _hold(world, subscription, change, params, discounted)
        return subscription
    added = invoice_items.read_added(world, world.objects[subscription["customer"]], subscription, params)
    with world.changing(subscription):
        invoice_items.keep(world, added)
        world.await_invoice(id, invoice_items.lines_of(world, added))
        _set_plain_fields(world, subscription, params, payment_method=payment_method)
        if discounted is not None:
            discounts.attach(world, subscription, discounted)
        if change is not None:
            lifecycle.adopt(world, subscription, change)
            _bill(world, subscription, change, behavior=behavior)
        subs.set_cancellation(world, subscription, params)
        if subscription["cancel_at"] is not None:
            world.schedule(subscription["cancel_at"], "cancel", id)
        pause = subscription["pause_collection"]
        if pause is not None and pause["resumes_at"] is not None:
            world.schedule(pause["resumes_at"], "resume_collection", id)
    return subscription


def _refuse_closed(subscription: Json, params: Json) -> None:
    """Refuse what Stripe does not change in a subscription that has not begun or is over."""
    allowed = {
        "canceled": {"metadata", "cancellation_details", "expand"},
        "incomplete_expired": {"metadata", "expand"},
        "incomplete": {"metadata", "default_payment_method", "expand"},
    }.get(subscription["status"])
    if allowed is not None and (refused := set(params) - allowed):
        message = f"A subscription that is {subscription['status']} can only update {', '.join(sorted(allowed))}."
        raise errors.invalid(min(refused), message)
    if subscription["schedule"] is not None and {"cancel_at", "cancel_at_period_end"} & set(params):
        message = (
            f"The subscription is managed by the subscription schedule `{subscription['schedule']}`, and updating any "
            "cancelation behavior directly is not allowed. Please update the schedule instead."
        )
        raise errors.invalid("subscription", message)
    if subscription["status"] == "paused" and {"trial_end", "billing_cycle_anchor"} & set(params):
        message = "A paused subscription has no running periods to move; resume it first."
        raise errors.invalid("subscription", message)


def _refuse_what_cannot_wait(subscription: Json, params: Json) -> None:
    if subscription["collection_method"] != "charge_automatically":
        message = "`payment_behavior=pending_if_incomplete` needs `collection_method=charge_automatically`."
        raise errors.invalid("payment_behavior", message)
    if refused := set(params) - PENDING_FIELDS:
        allowed = ", ".join(sorted(PENDING_FIELDS))
        message = f"When `payment_behavior` is set to `pending_if_incomplete`, you can only pass {allowed}."
        raise errors.invalid(min(refused), message)


def _rehearse(world: World, subscription: Json, params: Json) -> None:
    """Set the plain fields on a copy, so that a wrong one is refused before anything is billed."""
    copy = copied(subscription)
    _set_plain_fields(world, copy, params, payment_method=None)
    subs.set_cancellation(world, copy, params)


def _set_plain_fields(world: World, subscription: Json, params: Json, *, payment_method: str | None) -> None:
    subscription["metadata"] = forms.merge_metadata(subscription["metadata"], params)
    if "description" in params:
        subscription["description"] = forms.read_text(params, "description") or None
    if "default_payment_method" in params:
        subscription["default_payment_method"] = payment_method
    subs.set_collection(subscription, params)
    subs.set_trial_settings(subscription, params)
    subs.set_payment_settings(subscription, params)
    subs.set_taxes(world, subscription, params)
    subs.set_cancellation_details(subscription, params)
    if "pause_collection" in params:
        subscription["pause_collection"] = _read_collection_pause(params)


def _read_collection_pause(params: Json) -> Json | None:
    """Read `pause_collection`: an empty text resumes. It never changes the subscription's status."""
    if params["pause_collection"] == "":
        return None
    wanted = forms.read_object(params, "pause_collection")
    if not forms.read_choice(wanted, "behavior", COLLECTION_PAUSES):
        raise errors.missing_parameter("pause_collection[behavior]")
    return {"behavior": wanted["behavior"], "resumes_at": forms.read_int(wanted, "resumes_at")}


def read_change(world: World, subscription: Json, params: Json) -> Change | None:
    """Work out, on copies, what the update does to items, periods and money; None if it leaves them."""
    if not {"items", "trial_end", "billing_cycle_anchor"} & set(params):
        return None
    before = subscription["items"]["data"]
    after = _read_items(world, subscription, params)
    flexible = subscription["billing_mode"]["type"] == "flexible"
    subs.refuse_unlike_items(world, after, currency=subscription["currency"], flexible=flexible)
    proration = forms.read_choice(params, "proration_behavior", subs.PRORATION_BEHAVIORS)
    prorate = proration != "none" and subscription["status"] not in ("trialing", "paused")
    at = forms.read_int(params, "proration_date") or world.at
    trialing = subscription["status"] == "trialing"
    if trial_end := first_periods.read_trial_end(world, params):
        return _into_trial(world, subscription, after, trial_end=trial_end, prorate=prorate)
    trial_ends = trialing and params.get("trial_end") == "now"
    moved = subscription["status"] not in ("trialing", "paused") and _needs_payment_now(world, subscription, after)
    anew = _anchor_now(params) or trial_ends or (moved and (proration == "none" or not flexible))
    if anew:
        credits = _credits(world, subscription, before, at=at) if prorate else []
        billed = _begin_anew(world, subscription, after)
        anchor, bill_now = world.at, True
    else:
        credits, billed = _prorations(world, subscription, after, at=at) if prorate else ([], [])
        if not prorate:
            _place_on_grid(subscription, before, after, at=world.at)
        anchor, bill_now = subscription["billing_cycle_anchor"], moved or proration == "always_invoice"
    return Change(items=after, anchor=anchor, lines=[*credits, *billed], bill_now=bill_now, trial_ends=trial_ends)


def _read_items(world: World, subscription: Json, params: Json) -> list[Json]:
    """Give copies of the items as they would be."""
    items = {item["id"]: dict(item) for item in subscription["items"]["data"]}
    for index, wanted in enumerate(forms.read_objects(params, "items")):
        param = f"items[{index}]"
        forms.check_known(wanted, ITEM_FIELDS, within=param)
        id = forms.read_text(wanted, "id")
        if id is None:
            price = subs.read_price(world, wanted, param=param)
            quantity = subs.read_quantity(wanted, price=price, param=param)
            item = subs.make_item(world, subscription=subscription["id"], price=price, quantity=quantity, wanted=wanted)
            subs.set_discounts(world, subscription, item, wanted, param=param)
            items[item["id"]] = item
        elif id not in items:
            raise errors.missing(kind="subscription_item", id=id, param=f"{param}[id]")
        elif forms.read_bool(wanted, "deleted"):
            del items[id]
        else:
            _change_item(world, items[id], wanted, param=param)
            subs.set_discounts(world, subscription, items[id], wanted, param=param)
    return list(items.values())


def _change_item(world: World, item: Json, wanted: Json, *, param: str) -> None:
    item["metadata"] = forms.merge_metadata(item["metadata"], wanted)
    rates = tax_rates.read(world, wanted, "tax_rates", within=param)
    item["tax_rates"] = item["tax_rates"] if rates is None else rates
    if {"price", "plan", "price_data"} & set(wanted):
        # Stripe docs: upgrade and downgrade: the quantity stays unless it is given too.
        price = subs.read_price(world, wanted, param=param)
        item.update(price=price, plan=world.plans[price["id"]])
    if "quantity" in wanted or lines.is_metered(item):
        item["quantity"] = subs.read_quantity(wanted, price=item["price"], param=param)
    elif item["quantity"] is None:
        item["quantity"] = 1


def _needs_payment_now(world: World, subscription: Json, after: list[Json]) -> bool:
    """Tell whether the change bills at once: another interval, or from free to paid (Stripe docs: update)."""
    before, currency = subscription["items"]["data"], subscription["currency"]
    old = {item["id"]: item["price"] for item in before}
    other_interval = any(item["id"] in old and _every(item["price"]) != _every(old[item["id"]]) for item in after)
    free, paid = (_cost(world, items, currency=currency) for items in (before, after))
    return other_interval or (free == 0 and paid > 0)


def _cost(world: World, items: list[Json], *, currency: str) -> Fraction:
    licensed = [item for item in items if not lines.is_metered(item)]
    costs = (amounts.cost(world, item["price"], item["quantity"], currency=currency) for item in licensed)
    return sum(costs, Fraction(0))


def _every(price: Json) -> dict[str, Any]:
    return {"interval": price["recurring"]["interval"], "count": price["recurring"]["interval_count"]}


def _anchor_now(params: Json) -> bool:
    """Read `billing_cycle_anchor`: since endive an object with a type, a text before that."""
    wanted = params.get("billing_cycle_anchor")
    kind = wanted.get("type") if isinstance(wanted, dict) else wanted
    if kind not in (None, "now", "unchanged"):
        raise errors.not_one_of("billing_cycle_anchor", value=kind, choices=("now", "unchanged"))
    return bool(kind == "now")


def _into_trial(world: World, subscription: Json, items: list[Json], *, trial_end: int, prorate: bool) -> Change:
    """Begin a trial, or move the end of the one that runs."""
    running = subscription["status"] == "trialing"
    credits = _credits(world, subscription, subscription["items"]["data"], at=world.at) if prorate else []
    start = subscription["trial_start"] if running else world.at
    for item in items:
        item.update(current_period_start=start, current_period_end=trial_end)
    free = [] if running else [lines.trial_line(world, subscription, item, period=(start, trial_end)) for item in items]
    return Change(
        items=items,
        anchor=trial_end,
        lines=[*credits, *free],
        bill_now=not running,
        trial=(start, trial_end),
    )


def _begin_anew(world: World, subscription: Json, items: list[Json]) -> list[Json]:
    """Start a whole new period for every item at this instant, and bill it."""
    for item in items:
        end = cycles.boundary_after(world.at, **_every(item["price"]), after=world.at)
        item.update(current_period_start=world.at, current_period_end=end)
    licensed = [item for item in items if not lines.is_metered(item)]
    return [
        line
        for item in licensed
        for line in lines.cycle_lines(
            world, subscription, item, period=(item["current_period_start"], item["current_period_end"])
        )
    ]


def _credits(world: World, subscription: Json, items: list[Json], *, at: int) -> list[Json]:
    found = (lines.credit_line(world, subscription, item, at=at) for item in items)
    return [line for line in found if line is not None]


def _prorations(world: World, subscription: Json, after: list[Json], *, at: int) -> tuple[list[Json], list[Json]]:
    """Credit changed and removed items, bill the rest of the period for changed and new."""
    before = {item["id"]: item for item in subscription["items"]["data"]}
    _place_on_grid(subscription, list(before.values()), after, at=at)
    kept = {item["id"] for item in after if item["id"] in before and _same(item, before[item["id"]])}
    credits = _credits(world, subscription, [item for item in before.values() if item["id"] not in kept], at=at)
    debits = (lines.debit_line(world, subscription, item, at=at) for item in after if item["id"] not in kept)
    return credits, [line for line in debits if line is not None]


def _same(item: Json, other: Json) -> bool:
    return bool(item["price"]["id"] == other["price"]["id"] and item["quantity"] == other["quantity"])


def _place_on_grid(subscription: Json, before: list[Json], after: list[Json], *, at: int) -> None:
    """Give new items, and those with a new interval, the period around this instant as the anchor counts."""
    old = {item["id"]: item for item in before}
    anchor = subscription["billing_cycle_anchor"]
    if any(item["current_period_end"] <= at for item in before):
        at -= 1  # a phase that begins as the period ends: the renewal comes after it and bills what is new, too
    for item in after:
        known = old.get(item["id"])
        if known is not None and _every(item["price"]) == _every(known["price"]):
            continue
        if subscription["status"] == "trialing":
            period = (before[0]["current_period_start"], before[0]["current_period_end"])
        else:
            every = _every(item["price"])
            start = cycles.boundary_upto(anchor, **every, upto=at)
            period = (start, cycles.boundary_after(anchor, **every, after=at))
        item.update(current_period_start=period[0], current_period_end=period[1])


def _failure_ahead(
    world: World, subscription: Json, change: Change | None, discounted: list[Json] | None
) -> Json | None:
    """Tell how the payment of this change, with these discounts, would fail, were it made."""
    customer = world.objects[subscription["customer"]]
    automatic = subscription["collection_method"] == "charge_automatically"
    if change is None or not change.bill_now or not automatic:
        return None
    waiting = world.pending_lines.get(subscription["id"], [])
    spared = subscription if discounted is None else {**subscription, "discounts": discounted}
    due = sums.total(world, customer, spared, [*waiting, *change.lines]) + customer["balance"]
    if due <= 0:
        return None
    payer = payments.card_for(world, customer=customer, subscription=subscription)
    return payments.failure_of(world, payer)


def _bill(world: World, subscription: Json, change: Change, *, behavior: str) -> None:
    world.await_invoice(subscription["id"], change.lines)
    if not change.bill_now or not world.pending_lines[subscription["id"]]:
        return
    invoice = _draft(world, subscription)
    if subscription["collection_method"] == "send_invoice":
        invoices.wait_to_finalize(world, invoice)
    elif behavior == "default_incomplete":
        invoices.finalize(world, invoice)
        if invoice["status"] == "open":
            lifecycle.follow_failed(world, invoice)
    else:
        invoices.finalize_and_collect(world, invoice)


def _hold(world: World, subscription: Json, change: Change, params: Json, discounted: list[Json] | None) -> None:
    """Keep the change back until its invoice is paid: for 23 hours at most, and not into the next period."""
    debits = {item["id"]: debit for item in change.items if (debit := world.debits.get(item["id"]))}
    world.await_invoice(subscription["id"], change.lines)
    period_end = min(item["current_period_end"] for item in subscription["items"]["data"])
    expires_at = min(world.at + renewals.PAYMENT_WINDOW_S, period_end)
    subscription["pending_update"] = {
        "billing_cycle_anchor": change.anchor,
        "cancel_at_period_end": None,
        "discount": None,
        "discounts": discounted and [discount["id"] for discount in discounted],
        "expires_at": expires_at,
        "metadata": forms.merge_metadata({}, params) or None,
        "subscription_items": change.items,
        "trial_end": change.trial and change.trial[1],
        "trial_from_plan": None,
    }
    invoice = _draft(world, subscription, discounted)
    world.debits.update(debits)
    world.held_changes[subscription["id"]] = HeldChange(
        invoice=invoice["id"],
        change=change,
        debits=debits,
        metadata=dict(params.get("metadata") or {}),
        discounts=discounted,
    )
    world.schedule(expires_at, "expire_held_change", subscription["id"])
    invoices.finalize_and_collect(world, invoice)


def _draft(world: World, subscription: Json, discounted: list[Json] | None = None) -> Json:
    start = min(item["current_period_start"] for item in subscription["items"]["data"])
    waiting = world.pending_lines.pop(subscription["id"])
    return invoices.draft(
        world,
        subscription,
        waiting,
        reason="subscription_update",
        period=(start, world.at),
        discounted=discounted,
    )
