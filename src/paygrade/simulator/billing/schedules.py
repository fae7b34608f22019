"""Subscription schedules: phases that take effect one after another on the clock.

Laws. Phases follow each other without gaps. Entering a phase is an update of the subscription like any other,
at the very instant, before a renewal due then. While a schedule runs, only it decides when the subscription
ends. A schedule that is over, in whichever way, never runs again. (Stripe docs: subscription schedules.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import changes, lifecycle
from paygrade.simulator.billing import subscriptions as subs
from paygrade.simulator.forms import Json
from paygrade.simulator.products import prices, tax_rates
from paygrade.simulator.shapes import schedules as schedule_shapes
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

KIND = "subscription_schedule"
LIVE = ("not_started", "active")
END_BEHAVIORS = ("cancel", "none", "release", "renew")
FIELDS = frozenset(
    {"billing_mode", "customer", "end_behavior", "expand", "from_subscription", "metadata", "phases", "start_date"}
)
UPDATE_FIELDS = frozenset({"end_behavior", "expand", "metadata", "phases", "proration_behavior"})
PHASE_FIELDS = frozenset(
    [
        "billing_cycle_anchor",
        "collection_method",
        "currency",
        "default_payment_method",
        "default_tax_rates",
        "description",
        "discounts",
        "duration",
        "end_date",
        "items",
        "iterations",
        "metadata",
        "proration_behavior",
        "start_date",
        "trial",
        "trial_end",
    ]
)
NOTICE_S = 7 * cycles.DAY_S


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    if id := forms.read_text(params, "from_subscription"):
        return _adopt(world, world.get("subscription", id, param="from_subscription"), params)
    customer = world.live_customer(forms.read_required(params, "customer"))
    start = params.get("start_date")
    begins = world.at if start in (None, "now") else forms.read_int(params, "start_date") or 0
    if begins < world.at:
        raise errors.invalid("start_date", "`start_date` must be now or in the future.")
    phases = _read_phases(world, params, start=begins)
    schedule = _make(world, customer, params, phases=phases)
    if begins == world.at:
        with world.holding(schedule):
            _begin(world, schedule)
    else:
        world.schedule(begins, "phase", schedule["id"])
    return _keep(world, schedule)


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, UPDATE_FIELDS)
    schedule = _live(world, id)
    behavior = forms.read_choice(params, "end_behavior", END_BEHAVIORS)
    phases = None
    if "phases" in params:
        start = schedule["phases"][0]["start_date"]
        phases = _read_phases(world, params, start=start)
        if not any(phase["end_date"] > world.at for phase in phases):
            raise errors.invalid("phases", "The last phase must end in the future.")
    with world.changing(schedule):
        schedule["metadata"] = forms.merge_metadata(schedule["metadata"], params)
        schedule["end_behavior"] = behavior or schedule["end_behavior"]
        if phases is not None:
            before = _phase_at(schedule, world.at)
            schedule["phases"] = phases
            _enter_current(world, schedule, before=before, params=params)
        _mirror_end(world, schedule)
    return schedule


def release(world: World, id: str, params: Json) -> Json:
    """Let the subscription go on without its schedule."""
    forms.check_known(params, frozenset({"preserve_cancel_date", "expand"}))
    schedule = _live(world, id)
    _release(world, schedule, keep_end=forms.read_bool(params, "preserve_cancel_date") is True)
    return schedule


def cancel(world: World, id: str, params: Json) -> Json:
    """End a schedule and its subscription now."""
    forms.check_known(params, frozenset({"invoice_now", "prorate", "expand"}))
    schedule = _live(world, id)
    if schedule["subscription"] is None:
        lifecycle.end_schedule(world, schedule, event="canceled")
    else:
        wanted = {"invoice_now": "true", "prorate": "true", **params}  # both are Stripe's defaults here
        subs.cancel(world, schedule["subscription"], {name: wanted[name] for name in ("invoice_now", "prorate")})
    return schedule


def phase_due(world: World, schedule: Json) -> None:
    """Begin a schedule, or leave its phase for the next or for good."""
    if schedule["status"] == "not_started" and schedule["phases"][0]["start_date"] <= world.at:
        try:
            _begin(world, schedule)
        except errors.RefusedByStripe:
            lifecycle.end_schedule(world, schedule, event="aborted")
            return
        _mirror_end(world, schedule)
    elif schedule["status"] == "active" and schedule["current_phase"]["end_date"] <= world.at:
        _leave_phase(world, schedule)


def expiring_due(world: World, schedule: Json) -> None:
    if schedule["status"] == "active" and schedule["phases"][-1]["end_date"] == world.at + NOTICE_S:
        world.emit("subscription_schedule.expiring", schedule)


def _leave_phase(world: World, schedule: Json) -> None:
    phase = _phase_at(schedule, world.at)
    if phase is not None:
        with world.changing(schedule):
            _enter(world, schedule, phase)
    elif schedule["end_behavior"] == "cancel":
        subscription = world.objects[schedule["subscription"]]
        if subscription["status"] not in lifecycle.ENDED:
            lifecycle.end(world, subscription)
    elif schedule["end_behavior"] == "renew":
        last = schedule["phases"][-1]
        length = last["end_date"] - last["start_date"]
        with world.changing(schedule):
            schedule["phases"].append({**last, "start_date": world.at, "end_date": world.at + length})
            _enter(world, schedule, schedule["phases"][-1])
    else:
        _release(world, schedule, keep_end=False)


def _adopt(world: World, subscription: Json, params: Json) -> Json:
    """Put a schedule over a subscription: its first phase is the subscription as it is."""
    for name in ("phases", "start_date", "customer"):
        if name in params:
            raise errors.invalid(name, f"You cannot set `{name}` if `from_subscription` is set.")
    if subscription["schedule"] is not None or subscription["status"] in lifecycle.ENDED:
        message = "You cannot migrate a subscription that is already attached to a schedule, or over."
        raise errors.invalid("from_subscription", message)
    items = subscription["items"]["data"]
    ends_at = subscription["cancel_at"]
    phase = schedule_shapes.phase(
        start=min(item["current_period_start"] for item in items),
        end=ends_at or min(item["current_period_end"] for item in items),
        currency=subscription["currency"],
        items=[_phase_item(item) for item in items],
        trial_end=subscription["trial_end"] if subscription["status"] == "trialing" else None,
        collection_method=subscription["collection_method"],
        default_payment_method=subscription["default_payment_method"],
        default_tax_rates=list(subscription["default_tax_rates"]),
        description=subscription["description"],
        discounts=[schedule_shapes.phase_discount({"discount": id}) for id in subscription["discounts"]],
    )
    customer = world.objects[subscription["customer"]]
    schedule = _make(world, customer, params, phases=[phase])
    schedule.update(billing_mode=dict(subscription["billing_mode"]), subscription=subscription["id"], status="active")
    if ends_at is not None:
        schedule["end_behavior"] = "cancel"
    with world.changing(subscription):
        subscription["schedule"] = schedule["id"]
    _enter_quietly(world, schedule, phase)
    return _keep(world, schedule)


def _make(world: World, customer: Json, params: Json, *, phases: list[Json]) -> Json:
    return schedule_shapes.schedule(
        id=world.new_id("sub_sched"),
        at=world.at,
        customer=customer,
        phases=phases,
        end_behavior=forms.read_choice(params, "end_behavior", END_BEHAVIORS) or "release",
        metadata=forms.merge_metadata({}, params),
    )


def _keep(world: World, schedule: Json) -> Json:
    world.put(schedule, schedule["customer"])
    _mirror_end(world, schedule)
    world.emit("subscription_schedule.created", schedule)
    return schedule


def _begin(world: World, schedule: Json) -> None:
    """Make the subscription of the first phase."""
    phase = schedule["phases"][0]
    wanted = _wanted(phase, items=_plain_items(phase))
    wanted.pop("billing_cycle_anchor", None)  # what is new begins its periods then anyway
    subscription = subs.create(
        world,
        {**wanted, "customer": schedule["customer"], "billing_mode": {"type": schedule["billing_mode"]["type"]}},
        schedule=schedule["id"],
    )
    with world.changing(schedule):
        schedule.update(status="active", subscription=subscription["id"])
        _enter_quietly(world, schedule, phase)


def _enter_current(world: World, schedule: Json, *, before: Json | None, params: Json) -> None:
    """After its phases were replaced, let the one that runs now take effect if it differs."""
    if schedule["status"] == "not_started":
        world.schedule(schedule["phases"][0]["start_date"], "phase", schedule["id"])
        return
    phase = _phase_at(schedule, world.at)
    if phase is None:
        raise errors.invalid("phases", "One of the phases must be running now.")
    if before is not None and _as_before(phase, before):
        _enter_quietly(world, schedule, phase)
    else:
        behavior = forms.read_choice(params, "proration_behavior", subs.PRORATION_BEHAVIORS)
        _enter(world, schedule, {**phase, "proration_behavior": behavior or phase["proration_behavior"]})


def _as_before(phase: Json, before: Json) -> bool:
    """Tell whether a phase asks for what runs already; what it leaves out of its items stays as it is."""
    items = list(zip(phase["items"], before["items"], strict=False))
    return (
        len(items) == len(phase["items"]) == len(before["items"])
        and all(new[name] == old[name] for new, old in items for name in ("price", "quantity"))
        and all(
            new[name] in ([], {}, old[name]) for new, old in items for name in ("discounts", "metadata", "tax_rates")
        )
        and phase["default_tax_rates"] in ([], before["default_tax_rates"])
        and bool(phase["trial_end"] == before["trial_end"])
    )


def _enter(world: World, schedule: Json, phase: Json) -> None:
    """Let a phase take effect; what cannot be done to the subscription any more is left undone."""
    _enter_quietly(world, schedule, phase)
    subscription = world.objects[schedule["subscription"]]
    wanted = _wanted(phase, items=_items_of(subscription, phase))
    if "discounts" in wanted:
        held = {None, *subscription["discounts"]}  # one that has ended meanwhile is not given again
        wanted["discounts"] = [one for one in wanted["discounts"] if one.get("discount") in held]
    try:
        changes.update(world, subscription["id"], wanted)
    except errors.RefusedByStripe:
        return


def _enter_quietly(world: World, schedule: Json, phase: Json) -> None:
    schedule["current_phase"] = {"start_date": phase["start_date"], "end_date": phase["end_date"]}
    world.schedule(phase["end_date"], "phase", schedule["id"])
    world.schedule(max(world.at, schedule["phases"][-1]["end_date"] - NOTICE_S), "schedule_expiring", schedule["id"])


def _mirror_end(world: World, schedule: Json) -> None:
    """Show on the subscription when its schedule will cancel it."""
    subscription = world.find("subscription", schedule["subscription"])
    if subscription is None:
        return
    end = schedule["phases"][-1]["end_date"] if schedule["end_behavior"] == "cancel" else None
    if subscription["cancel_at"] != end:
        with world.changing(subscription):
            subscription.update(cancel_at=end, cancel_at_period_end=False, canceled_at=end and world.at)


def _release(world: World, schedule: Json, *, keep_end: bool) -> None:
    if subscription := world.find("subscription", schedule["subscription"]):
        with world.changing(subscription):
            subscription["schedule"] = None
            if schedule["end_behavior"] == "cancel" and not keep_end:
                subscription.update(cancel_at=None, canceled_at=None)
            elif subscription["cancel_at"] is not None:
                world.schedule(subscription["cancel_at"], "cancel", subscription["id"])
    schedule.update(
        status="released",
        released_at=world.at,
        released_subscription=schedule["subscription"],
        subscription=None,
        current_phase=None,
    )
    world.emit("subscription_schedule.released", schedule)


def _live(world: World, id: str) -> Json:
    schedule = world.get(KIND, id)
    if schedule["status"] not in LIVE:
        message = f"You cannot change a subscription schedule that is {schedule['status']}."
        raise errors.invalid("schedule", message)
    return schedule


def _phase_at(schedule: Json, at: int) -> Json | None:
    return next((p for p in schedule["phases"] if p["start_date"] <= at < p["end_date"]), None)


def _wanted(phase: Json, *, items: list[Json]) -> Json:
    """Give the phase as the parameters of a request, which are texts."""
    wanted: Json = {name: phase[name] for name in ("collection_method", "default_payment_method") if phase[name]}
    if phase["description"]:
        wanted["description"] = phase["description"]
    if phase["discounts"]:
        wanted["discounts"] = [{name: id for name, id in one.items() if id} for one in phase["discounts"]]
    if phase["default_tax_rates"]:
        wanted["default_tax_rates"] = [rate["id"] for rate in phase["default_tax_rates"]]
    if phase["billing_cycle_anchor"] == "phase_start":
        wanted["billing_cycle_anchor"] = {"type": "now"}
    wanted.update(items=items, metadata=phase["metadata"], proration_behavior=phase["proration_behavior"])
    if phase["trial_end"] is not None and phase["trial_end"] > phase["start_date"]:
        wanted["trial_end"] = str(phase["trial_end"])
    return wanted


def _phase_item(item: Json) -> Json:
    """Show an item of a subscription as one of a phase."""
    return schedule_shapes.phase_item(
        price=item["price"]["id"],
        quantity=item["quantity"],
        discounts=[schedule_shapes.phase_discount({"discount": id}) for id in item["discounts"]],
        metadata=dict(item["metadata"]),
        tax_rates=list(item["tax_rates"]),
    )


def _plain_items(phase: Json) -> list[Json]:
    return [_named(item) for item in phase["items"]]


def _named(item: Json, *, held: list[str] | None = None) -> Json:
    """Give a phase's item as a request would; `held` are the discounts the subscription's own item has by now."""
    named: Json = {"price": item["price"]}
    if item["quantity"] is not None:
        named["quantity"] = str(item["quantity"])
    if item["metadata"]:
        named["metadata"] = item["metadata"]
    if item["tax_rates"]:
        named["tax_rates"] = [rate["id"] for rate in item["tax_rates"]]
    kept = [one for one in item["discounts"] if one["discount"] is None or one["discount"] in (held or [])]
    if kept:
        named["discounts"] = [{name: id for name, id in one.items() if id} for one in kept]
    return named


def _items_of(subscription: Json, phase: Json) -> list[Json]:
    """Turn the subscription's items into the phase's: an item of the same price stays, the rest is swapped."""
    open_items = list(subscription["items"]["data"])
    wanted = []
    unlike = []
    for item in phase["items"]:
        same = next((one for one in open_items if one["price"]["id"] == item["price"]), None)
        if same is None:
            unlike.append(item)
            continue
        open_items.remove(same)
        wanted.append({"id": same["id"], **_named(item, held=same["discounts"])})
    for item in unlike:
        swapped = open_items.pop(0) if open_items else None
        about = {"id": swapped["id"]} if swapped else {}
        wanted.append({**about, **_named(item, held=swapped and swapped["discounts"])})
    return [*wanted, *({"id": item["id"], "deleted": "true"} for item in open_items)]


def _read_phases(world: World, params: Json, *, start: int) -> list[Json]:
    wanted = forms.read_objects(params, "phases")
    if not wanted:
        raise errors.missing_parameter("phases")
    phases: list[Json] = []
    for index, one in enumerate(wanted):
        phases.append(_read_phase(world, one, start=start, param=f"phases[{index}]"))
        start = phases[-1]["end_date"]
    return phases


def _read_phase(world: World, wanted: Json, *, start: int, param: str) -> Json:
    forms.check_known(wanted, PHASE_FIELDS, within=param)
    given = wanted.get("start_date")
    if given not in (None, "now") and forms.read_int(wanted, "start_date") != start:
        raise errors.invalid(f"{param}[start_date]", "Each phase must start when the one before it ends.")
    items: list[Json] = []
    priced: list[Json] = []
    for index, one in enumerate(forms.read_objects(wanted, "items")):
        forms.check_known(one, subs.ITEM_FIELDS, within=f"{param}[items][{index}]")
        price = prices.keep(world, subs.read_price(world, one, param=f"{param}[items][{index}]"))
        quantity = subs.read_quantity(one, price=price, param=f"{param}[items][{index}]")
        priced.append(price)
        items.append(
            schedule_shapes.phase_item(
                price=price["id"],
                quantity=quantity,
                discounts=[schedule_shapes.phase_discount(off) for off in forms.read_objects(one, "discounts")],
                metadata=forms.merge_metadata({}, one),
                tax_rates=tax_rates.read(world, one, "tax_rates", within=f"{param}[items][{index}]") or [],
            )
        )
    if not items:
        raise errors.missing_parameter(f"{param}[items]")
    end = _read_end(wanted, start=start, recurring=priced[0]["recurring"])
    if end <= start:
        raise errors.invalid(f"{param}[end_date]", "A phase must end after it starts.")
    trial = end if forms.read_bool(wanted, "trial") else forms.read_int(wanted, "trial_end")
    return schedule_shapes.phase(
        start=start,
        end=end,
        currency=priced[0]["currency"],
        items=items,
        trial_end=trial,
        billing_cycle_anchor=forms.read_choice(wanted, "billing_cycle_anchor", ("automatic", "phase_start")),
        collection_method=forms.read_choice(wanted, "collection_method", subs.COLLECTION_METHODS),
        default_payment_method=forms.read_text(wanted, "default_payment_method") or None,
        default_tax_rates=tax_rates.read(world, wanted, "default_tax_rates", within=param) or [],
        description=forms.read_text(wanted, "description") or None,
        discounts=[schedule_shapes.phase_discount(one) for one in forms.read_objects(wanted, "discounts")],
        metadata=forms.merge_metadata({}, wanted),
        proration_behavior=forms.read_choice(wanted, "proration_behavior", subs.PRORATION_BEHAVIORS)
        or "create_prorations",
    )


def _read_end(wanted: Json, *, start: int, recurring: Json) -> int:
    """Read where a phase ends: at a date, after a duration, or after some periods of its price, one by default."""
    if "end_date" in wanted:
        return forms.read_int(wanted, "end_date") or 0
    every, count = recurring["interval"], recurring["interval_count"] * (forms.read_int(wanted, "iterations") or 1)
    if "duration" in wanted:
        duration = forms.read_object(wanted, "duration")
        every = forms.read_choice(duration, "interval", ("day", "week", "month", "year")) or "month"
        count = forms.read_int(duration, "interval_count") or 1
    return cycles.boundary_after(start, interval=every, count=count, after=start)
