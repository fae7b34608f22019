"""Test clocks: customers that live in a time of their own, which stands still until it is advanced.

Laws. A customer belongs to one clock or to none for good, and everything of that customer is made, falls due
and happens in the clock's time. An advance is answered before it is done: the clock is `advancing` until it
was read twice or its work is called for, nothing of it changes meanwhile, and changes are refused. Lists
leave out what lives by a clock unless they name the clock or the customer. (Stripe docs: test clocks.)
"""

from __future__ import annotations

from datetime import UTC, datetime

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import entitlements, lifecycle
from paygrade.simulator.clocks import happenings
from paygrade.simulator.forms import Json
from paygrade.simulator.time import cycles
from paygrade.simulator.time.timeline import Timeline
from paygrade.simulator.world import World

KIND = "test_helpers.test_clock"
LIFE_S = 30 * cycles.DAY_S
LOOKS_WHILE_ADVANCING = 2
NAMING = ("test_clock", "customer", "subscription", "from_subscription", "invoice", "charge", "payment_intent")


def of_request(world: World, path: str, params: Json) -> str | None:
    """Give the clock a request's time is counted by: that of the first object it names that has one."""
    if params.get("test_clock") in world.timelines:
        return str(params["test_clock"])
    named = [params.get(name) for name in NAMING]
    payload = params.get("payload")
    if isinstance(payload, dict):
        named.append(payload.get("stripe_customer_id"))
    for id in [*path.split("/"), *named]:
        thing = world.objects.get(id) if isinstance(id, str) else None
        if thing is not None and (clock := of_object(world, thing)):
            return clock
    return None


def of_object(world: World, thing: Json) -> str | None:
    """Give the clock an object lives by: its own, or its customer's."""
    if thing["object"] == KIND:
        return None  # a clock is made and moved by requests in everyone's time
    for name in NAMING:
        id = thing.get(name)
        if not isinstance(id, str):
            continue
        if name == "test_clock":
            return id if id in world.timelines else None  # a deleted clock counts no more
        if (other := world.objects.get(id)) is not None:
            return of_object(world, other)
    return None


def refuse_while_advancing(world: World, clock: str) -> None:
    if world.get(KIND, clock)["status"] == "advancing":
        message = "Test clock advancement underway - cannot perform modifications."
        raise errors.RefusedByStripe(message, status=429, code="lock_timeout")


def create(world: World, params: Json) -> Json:
    forms.check_known(params, frozenset({"frozen_time", "name", "expand"}))
    forms.read_required(params, "frozen_time")
    frozen = forms.read_int(params, "frozen_time") or 0
    clock: Json = {
        "id": world.new_id("clock"),
        "object": KIND,
        "created": world.at,
        "deletes_after": world.at + LIFE_S,
        "frozen_time": frozen,
        "livemode": False,
        "name": forms.read_text(params, "name") or None,
        "status": "ready",
        "status_details": {},
    }
    world.timelines[clock["id"]] = Timeline(now=datetime.fromtimestamp(frozen, UTC))
    world.emit(f"{KIND}.created", world.put(clock))
    return clock


def retrieve(world: World, id: str, params: Json) -> Json:
    """Give a clock; one that advances arrives when it is looked at for the second time."""
    forms.check_known(params, frozenset({"expand"}))
    clock = world.get(KIND, id)
    if clock["status"] == "advancing":
        world.looks[id] = world.looks.get(id, 0) + 1
        if world.looks[id] >= LOOKS_WHILE_ADVANCING:
            arrive(world, clock)
    return clock


def advance(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"frozen_time", "expand"}))
    clock = world.get(KIND, id)
    forms.read_required(params, "frozen_time")
    target = forms.read_int(params, "frozen_time") or 0
    refuse_while_advancing(world, id)
    if target <= clock["frozen_time"]:
        raise errors.invalid("frozen_time", "`frozen_time` must be after the test clock's current frozen time.")
    clock.update(status="advancing", status_details={"advancing": {"target_frozen_time": target}})
    world.looks[id] = 0
    world.emit(f"{KIND}.advancing", clock)
    return clock


def arrive(world: World, clock: Json) -> None:
    """Let everything happen that an advance was asked for, and be ready."""
    target = clock["status_details"]["advancing"]["target_frozen_time"]
    with world.living_by(clock["id"]):
        happen_until(world, datetime.fromtimestamp(target, UTC))
    clock.update(status="ready", status_details={}, frozen_time=target)
    world.looks.pop(clock["id"], None)
    world.emit(f"{KIND}.ready", clock)


def arrive_all(world: World) -> None:
    for id in list(world.looks):
        arrive(world, world.objects[id])


def happen_until(world: World, instant: datetime) -> None:
    """Let what falls due by an instant happen in order, in the time the world lives by."""
    while (due := world.time.next_due) is not None and due <= instant:
        happenings.happen(world, *world.time.take_due())
        entitlements.tell_changes(world)
    world.now = instant


def delete(world: World, id: str, params: Json) -> Json:
    """Delete a clock, its customers, and with them their subscriptions."""
    forms.check_known(params, frozenset({"expand"}))
    clock = world.get(KIND, id)
    refuse_while_advancing(world, id)
    with world.living_by(id):
        for customer in world.owned("customer", id):
            if not customer.get("deleted"):
                lifecycle.delete_customer(world, customer)
    del world.objects[id]
    del world.timelines[id]
    world.emit(f"{KIND}.deleted", clock)
    return {"id": id, "object": KIND, "deleted": True}
