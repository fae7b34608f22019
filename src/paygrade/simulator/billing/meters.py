"""Billing meters: usage told by events, summed per customer, and billed at the end of a period.

Laws. An identifier counts once within a day. Usage of a period is what its events say whose timestamps lie in
`[start, end)`, whenever they arrived before the period's invoice was drafted. (Stripe docs: billing meters.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.state.usage import Usage
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

KIND = "billing.meter"
FORMULAS = ("count", "last", "sum")
FIELDS = frozenset(
    {
        "customer_mapping",
        "default_aggregation",
        "display_name",
        "event_name",
        "event_time_window",
        "expand",
        "value_settings",
    }
)
PAST_S, FUTURE_S = 35 * cycles.DAY_S, 300
SUMMARY_FIELDS = frozenset(
    {
        "customer",
        "start_time",
        "end_time",
        "value_grouping_window",
        "limit",
        "starting_after",
        "ending_before",
        "expand",
    }
)


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    event_name = forms.read_required(params, "event_name")
    if any(meter["status"] == "active" and meter["event_name"] == event_name for meter in _all(world)):
        raise errors.invalid("event_name", f"An active meter for the event name `{event_name}` exists already.")
    formula = forms.read_choice(forms.read_object(params, "default_aggregation"), "formula", FORMULAS)
    if formula is None:
        raise errors.missing_parameter("default_aggregation[formula]")
    mapping, values = forms.read_object(params, "customer_mapping"), forms.read_object(params, "value_settings")
    meter: Json = {
        "id": world.new_id("mtr"),
        "object": KIND,
        "created": world.at,
        "customer_mapping": {
            "event_payload_key": mapping.get("event_payload_key", "stripe_customer_id"),
            "type": "by_id",
        },
        "default_aggregation": {"formula": formula},
        "display_name": forms.read_required(params, "display_name"),
        "event_name": event_name,
        "event_time_window": forms.read_choice(params, "event_time_window", ("day", "hour")),
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": world.at,
        "value_settings": {"event_payload_key": values.get("event_payload_key", "value")},
    }
    world.emit("billing.meter.created", world.put(meter))
    return meter


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"display_name", "expand"}))
    meter = world.get(KIND, id)
    with world.changing(meter):
        meter["display_name"] = forms.read_text(params, "display_name") or meter["display_name"]
    return meter


def deactivate(world: World, id: str, _params: Json) -> Json:
    return _set_status(world, id, "inactive", event="deactivated")


def reactivate(world: World, id: str, _params: Json) -> Json:
    return _set_status(world, id, "active", event="reactivated")


def tell(world: World, params: Json) -> Json:
    """Take one meter event."""
    forms.check_known(params, frozenset({"event_name", "payload", "identifier", "timestamp", "expand"}))
    meter = _active(world, forms.read_required(params, "event_name"))
    payload = forms.read_object(params, "payload")
    customer = forms.read_required(payload, meter["customer_mapping"]["event_payload_key"])
    value = forms.read_int(payload, meter["value_settings"]["event_payload_key"])
    if value is None and meter["default_aggregation"]["formula"] != "count":
        raise errors.missing_parameter(f"payload[{meter['value_settings']['event_payload_key']}]")
    given = forms.read_int(params, "timestamp")
    at = world.at if given is None else given
    if not world.at - PAST_S <= at <= world.at + FUTURE_S:
        message = "The timestamp must be within the past 35 calendar days or up to 5 minutes in the future."
        raise errors.invalid("timestamp", message)
    identifier = forms.read_text(params, "identifier") or world.new_id("mtrevt", length=32)
    told_at = world.identifiers.get(identifier)
    if told_at is not None and world.at - told_at < cycles.DAY_S:
        raise errors.invalid("identifier", f"An event already exists with identifier {identifier}.")
    world.identifiers[identifier] = world.at
    world.usage.setdefault((meter["event_name"], customer), []).append(Usage(at, value or 0, identifier))
    return {
        "object": "billing.meter_event",
        "created": world.at,
        "event_name": meter["event_name"],
        "identifier": identifier,
        "livemode": False,
        "payload": payload,
        "timestamp": at,
    }


def adjust(world: World, params: Json) -> Json:
    """Take a meter event back, within a day."""
    forms.check_known(params, frozenset({"event_name", "type", "cancel", "expand"}))
    name = _active(world, forms.read_required(params, "event_name"))["event_name"]
    identifier = forms.read_required(forms.read_object(params, "cancel"), "identifier")
    told_at = world.identifiers.get(identifier)
    if told_at is None or world.at - told_at >= cycles.DAY_S:
        raise errors.missing(kind="meter event", id=identifier, param="cancel[identifier]")
    for key, told in world.usage.items():
        if key[0] == name:
            told[:] = [usage for usage in told if usage.identifier != identifier]
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": name,
        "livemode": False,
        "status": "complete",
        "type": "cancel",
    }


def summaries(world: World, id: str, params: Json) -> Json:
    """Give a customer's usage from start to end, newest window first, or as one sum."""
    forms.check_known(params, SUMMARY_FIELDS)
    meter = world.get(KIND, id)
    customer = forms.read_required(params, "customer")
    for name in ("start_time", "end_time"):
        forms.read_required(params, name)
    start, end = forms.read_int(params, "start_time") or 0, forms.read_int(params, "end_time") or 0
    window = forms.read_choice(params, "value_grouping_window", ("day", "hour"))
    step = {"day": cycles.DAY_S, "hour": cycles.HOUR_S, None: max(1, end - start)}[window]
    if start % cycles.MINUTE_S or end % cycles.MINUTE_S or end <= start:
        raise errors.invalid("start_time", "`start_time` and `end_time` are whole minutes, and time runs forward.")
    rows = []
    for begins in range(start, end, step):
        ends = min(begins + step, end)
        value = _aggregate(world, meter, customer=customer, period=(begins, ends))
        if value or window is None:
            rows.append(_summary(meter, customer=customer, value=value, period=(begins, ends)))
    url = f"/v1/billing/meters/{id}/event_summaries"
    return {"object": "list", "data": rows[::-1], "has_more": False, "url": url}


def used(world: World, item: Json, customer: str, *, period: tuple[int, int]) -> int:
    """Give what an item's customer used of its price's meter within a period; nothing without a meter, or below zero.

    Negative quantities correct what was told before (Stripe docs: configure meters, fix incorrect usage data).
    """
    meter = world.find(KIND, item["price"]["recurring"]["meter"])
    return 0 if meter is None else max(0, _aggregate(world, meter, customer=customer, period=period))


def _aggregate(world: World, meter: Json, *, customer: str, period: tuple[int, int]) -> int:
    told = [u for u in world.usage.get((meter["event_name"], customer), []) if period[0] <= u.at < period[1]]
    match meter["default_aggregation"]["formula"]:
        case "count":
            return len(told)
        case "last":
            return max(told, key=lambda usage: usage.at).value if told else 0
        case _:
            return sum(usage.value for usage in told)


def _summary(meter: Json, *, customer: str, value: int, period: tuple[int, int]) -> Json:
    return {
        "id": f"mtrusg_{meter['id'][4:12]}{customer[4:12]}{period[0]}",
        "object": "billing.meter_event_summary",
        "aggregated_value": value,
        "end_time": period[1],
        "livemode": False,
        "meter": meter["id"],
        "start_time": period[0],
    }


def _active(world: World, event_name: str) -> Json:
    for meter in _all(world):
        if meter["event_name"] == event_name and meter["status"] == "active":
            return meter
    raise errors.invalid("event_name", f"No active meter found with event name {event_name}.", code="resource_missing")


def _all(world: World) -> list[Json]:
    return [world.objects[id] for id in world.shelves.get(KIND, [])]


def _set_status(world: World, id: str, status: str, *, event: str) -> Json:
    meter = world.get(KIND, id)
    if meter["status"] == status:
        raise errors.invalid("id", f"The meter is {status} already.")
    meter.update(status=status, updated=world.at)
    meter["status_transitions"]["deactivated_at"] = world.at if status == "inactive" else None
    world.emit(f"billing.meter.{event}", meter)
    return meter
