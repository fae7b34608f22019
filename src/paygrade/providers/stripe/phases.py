"""The phases of a schedule that changes a subscription at a date: the present one as it is, then what is wanted.

Law: nothing but what the order asks for differs between the phases; whatever the present one says of payment, taxes and
discounts is said of the next again, since a phase that is silent about it takes the customer's defaults
(https://docs.stripe.com/api/subscription_schedules/update).
"""

from collections.abc import Callable, Mapping
from typing import Any

from paygrade.changes.order import ChangeOrder
from paygrade.changes.quote import ItemChange
from paygrade.providers.stripe.changed_items import BEHAVIORS, change_refused, has_other_price, price_id, quantity_after
from paygrade.providers.stripe.fields import Payload

MARK = "paygrade_change"
"""The metadata that names the order: on a subscription what was done last, on a schedule what it is there for."""


# Any: Stripe's own parameters.
def planned(order: ChangeOrder, source: Payload, schedule: Payload, ids: Mapping[str, str]) -> dict[str, Any]:
    """What makes the schedule do what the order asks for, at its time. Refused `provider_refused_change`."""
    assert order.effective_at is not None
    at, ends_at = int(order.effective_at.timestamp()), source.integer("cancel_at")
    present = present_phase(schedule)
    if ends_at is not None and ends_at <= at:
        raise change_refused("the subscription ends before the change")
    last = {"duration": {"interval": "month", "interval_count": 1}} if ends_at is None else {"end_date": ends_at}
    settings = _settings(present)
    trial_end, trials = present.integer("trial_end"), {}
    if trial_end is not None and trial_end > at:
        trials = {"trial_end": trial_end}
    anchor = {"billing_cycle_anchor": "phase_start"} if order.anchor_reset else {}
    discounts = {"discounts": [*settings.get("discounts", []), {"coupon": order.coupon}]} if order.coupon else {}
    following = {
        **settings, **trials, **anchor, **discounts, **last,
        "items": _items_after(order, source, present, ids),
        "proration_behavior": BEHAVIORS[order.proration],
        "metadata": {**_words(present.child("metadata")), MARK: order.id},
    }  # fmt: skip
    return {
        "phases": [as_it_is(present, until=at), following],
        "end_behavior": "release" if ends_at is None else "cancel",
        "proration_behavior": "none",
        "metadata": {MARK: order.id, "paygrade_account": order.account},
    }


def present_phase(schedule: Payload) -> Payload:
    from_at = schedule.child("current_phase").integer("start_date")
    found = (phase for phase in schedule.listed("phases") if phase.integer("start_date") == from_at)
    return next(found, None) or schedule.refuse("current_phase", "one of its phases")


def plans_nothing(schedule: Payload) -> bool:
    """Whether nothing is planned after the present phase but perhaps an end, which stays: anybody may use it, or let it
    go."""
    from_at = present_phase(schedule).integer("start_date") or 0
    later = any((phase.integer("start_date") or 0) > from_at for phase in schedule.listed("phases"))
    return not later and schedule.text("end_behavior") != "renew"


def is_planned(schedule: Payload, order: ChangeOrder) -> bool:
    """Whether one of the phases, begun or not, is the order's."""
    return any(phase.child("metadata").text(MARK) == order.id for phase in schedule.listed("phases"))


# Any: Stripe's own parameters.
def as_it_is(phase: Payload, *, until: int) -> dict[str, Any]:
    """The parameters that leave a phase as it is but for its end."""
    trial_end = phase.integer("trial_end")
    return {
        **_settings(phase),
        **({"trial_end": trial_end} if trial_end is not None else {}),
        "start_date": phase.integer("start_date"),
        "end_date": until,
        "items": [_item(line) for line in phase.listed("items")],
        "metadata": _words(phase.child("metadata")),
        "proration_behavior": phase.text("proration_behavior") or "none",
    }


def _items_after(order: ChangeOrder, source: Payload, present: Payload, ids: Mapping[str, str]) -> list[dict[str, Any]]:
    """The items as they are when the order is carried out; those it does not name stay as they are."""
    changes = {item.id: item for item in order.items if item.id is not None}
    lines = {line.id_of("price"): line for line in present.listed("items")}
    after = []
    for item in source.listed("items"):
        change = changes.get(item.required_text("id"))
        if change is not None and change.how == "removed":
            continue
        line = lines.get(item.id_of("price"), item)
        after.append(_item(line) if change is None or change.how == "kept" else _changed(line, change, ids))
    added = [item for item in order.items if item.how == "added"]
    return after + [{"price": price_id(item, ids), **quantity_after(item)} for item in added]


def _changed(line: Payload, change: ItemChange, ids: Mapping[str, str]) -> dict[str, Any]:
    said = _item(line)
    if has_other_price(change):
        said["price"] = price_id(change, ids)
    return {**said, **quantity_after(change)}


def _item(line: Payload) -> dict[str, Any]:
    said: dict[str, Any] = {"price": line.id_of("price") or line.id_of("plan")}
    if line.has("quantity"):
        said["quantity"] = line.integer("quantity")
    if metadata := _words(line.child("metadata")):
        said["metadata"] = metadata
    if rates := [rate.text("id") for rate in line.listed("tax_rates")]:
        said["tax_rates"] = rates
    if discounts := [_discount(one) for one in _objects(line, "discounts")]:
        said["discounts"] = discounts
    return said


def _settings(phase: Payload) -> dict[str, Any]:
    """What a phase says beside its items and dates. Refused where it says what is not known here."""
    for name in ("billing_thresholds", "transfer_data"):
        if phase.has(name):
            raise change_refused(f"the subscription has `{name}`, which would be lost in a schedule")
    found = {name: read(phase, name) for name, read in _SETTINGS.items() if phase.has(name)}
    if discounts := [_discount(one) for one in phase.listed("discounts")]:
        found["discounts"] = discounts
    if rates := [rate.text("id") for rate in phase.listed("default_tax_rates")]:
        found["default_tax_rates"] = rates
    if phase.child("automatic_tax").flag("enabled"):
        found["automatic_tax"] = {"enabled": True}
    days = phase.child("invoice_settings").integer("days_until_due")
    if days is not None:
        found["invoice_settings"] = {"days_until_due": days}
    return found


def _discount(one: Payload) -> dict[str, Any]:
    found = ((name, one.id_of(name)) for name in ("discount", "promotion_code", "coupon"))
    named = next(((name, id) for name, id in found if id), None)
    return dict([named]) if named else one.refuse("discount", "a discount, a promotion code or a coupon")


def _objects(line: Payload, key: str) -> list[Payload]:
    """Those under `key` that are objects; an item of a subscription names its discounts by their ids."""
    value = line.fields.get(key)
    return list(line.listed(key)) if isinstance(value, list) and not any(isinstance(v, str) for v in value) else []


def _words(metadata: Payload) -> dict[str, str]:
    return {key: metadata.text(key) or "" for key in metadata.fields if key != MARK}


# Any: plain JSON.
_SETTINGS: dict[str, Callable[[Payload, str], Any]] = {
    "collection_method": Payload.text,
    "default_payment_method": Payload.id_of,
    "description": Payload.text,
    "on_behalf_of": Payload.id_of,
    "application_fee_percent": lambda phase, name: phase.fields[name],
}
