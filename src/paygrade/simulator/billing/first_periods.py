"""Where a new subscription begins: its start, its trial, its anchor, its first periods, and what they cost.

Laws. The anchor lies between now and the end of a natural first period. Time before a first whole period, after a
start in the past or up to an anchor in the future, is billed by its share. (Stripe docs: billing cycle; backdate
subscriptions.)
"""

from __future__ import annotations

from typing import Any

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import lines
from paygrade.simulator.forms import Json
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

TRIAL_DAYS_MAX = 730  # Stripe docs: create a subscription


def place(world: World, subscription: Json, params: Json) -> None:
    """Set trial, anchor and the first periods."""
    days, trial_end = _read_trial_days(subscription, params), read_trial_end(world, params)
    anchor = _read_anchor(world, params)
    if (start := _read_backdate(world, params)) is not None:
        subscription["start_date"] = start
    if days and params.get("trial_end"):
        raise errors.invalid("trial_end", "Set either `trial_end` or `trial_period_days`.")
    if days:
        trial_end = world.at + days * cycles.DAY_S
    if trial_end is not None:
        subscription.update(
            trial_start=world.at, trial_end=trial_end, status="trialing", billing_cycle_anchor=trial_end
        )
    elif anchor is not None:
        subscription["billing_cycle_anchor"] = anchor
    for item in subscription["items"]["data"]:
        item["current_period_start"] = world.at
        item["current_period_end"] = trial_end or _first_period_end(world, item, anchor=anchor)


def bill(world: World, subscription: Json, *, prorate: bool) -> list[Json]:
    billed = []
    start = subscription["start_date"]
    for item in subscription["items"]["data"]:
        anchored = subscription["billing_cycle_anchor"] > world.at and subscription["status"] != "trialing"
        if start < world.at and prorate and not lines.is_metered(item):
            end = item["current_period_end"] if anchored else world.at
            billed.append(lines.elapsed_line(world, subscription, item, period=(start, end)))
            if anchored:
                continue
        period = (item["current_period_start"], item["current_period_end"])
        if subscription["status"] == "trialing":
            billed.append(lines.trial_line(world, subscription, item, period=period))
        elif subscription["billing_cycle_anchor"] <= world.at:
            billed += lines.cycle_lines(world, subscription, item, period=period)
        elif prorate:
            whole = {**item, "current_period_start": _grid_start(item, subscription)}
            billed.extend(filter(None, [lines.debit_line(world, subscription, whole, at=world.at)]))
    return billed


def read_trial_end(world: World, params: Json) -> int | None:
    """Read when a trial shall end; None: no trial is asked for, or it shall end now."""
    if params.get("trial_end") in (None, "", "now"):
        return None
    end = forms.read_int(params, "trial_end") or 0
    if end <= world.at:
        raise errors.invalid("trial_end", "Invalid timestamp: `trial_end` must be in the future or `now`.")
    return end


def _read_trial_days(subscription: Json, params: Json) -> int | None:
    """Read how long a trial is, which the price tells with `trial_from_plan`."""
    days = forms.read_int(params, "trial_period_days")
    if forms.read_bool(params, "trial_from_plan"):
        if days is not None or params.get("trial_end"):
            raise errors.invalid(
                "trial_from_plan", "Set only one of `trial_from_plan`, `trial_period_days`, `trial_end`."
            )
        items = subscription["items"]["data"]
        days = next((d for item in items if (d := item["price"]["recurring"]["trial_period_days"])), None)
    if days is not None and not 0 <= days <= TRIAL_DAYS_MAX:
        raise errors.invalid("trial_period_days", f"A trial can have at most {TRIAL_DAYS_MAX} days.")
    return days


def _read_backdate(world: World, params: Json) -> int | None:
    start = forms.read_int(params, "backdate_start_date")
    if start is not None and start > world.at:
        raise errors.invalid("backdate_start_date", "`backdate_start_date` must be in the past.")
    return start


def _read_anchor(world: World, params: Json) -> int | None:
    """Read the anchor: an instant, or the next one of a day of the month (`billing_cycle_anchor_config`)."""
    config = forms.read_object(params, "billing_cycle_anchor_config")
    if not config:
        return forms.read_int(params, "billing_cycle_anchor")
    param = "billing_cycle_anchor_config"
    if params.get("billing_cycle_anchor"):
        raise errors.invalid(param, "Set either `billing_cycle_anchor` or `billing_cycle_anchor_config`.")
    forms.check_known(config, frozenset({"day_of_month", "hour", "minute", "month", "second"}), within=param)
    bounds = {"day_of_month": (1, 31), "hour": (0, 23), "minute": (0, 59), "month": (1, 12), "second": (0, 59)}
    given: dict[str, int] = {}
    for name, (least, most) in bounds.items():
        value = forms.read_int(config, name)
        if value is not None and not least <= value <= most:
            raise errors.invalid(f"{param}[{name}]", f"This value must be from {least} to {most}.")
        if value is not None:
            given[name] = value
    if "day_of_month" not in given:
        raise errors.missing_parameter(f"{param}[day_of_month]")
    return cycles.next_on(world.at, **given)


def _first_period_end(world: World, item: Json, *, anchor: int | None) -> int:
    recurring = item["price"]["recurring"]
    every: dict[str, Any] = {"interval": recurring["interval"], "count": recurring["interval_count"]}
    natural_end = cycles.boundary_after(world.at, **every, after=world.at)
    if anchor is None:
        return natural_end
    if not world.at <= anchor <= natural_end:
        message = "`billing_cycle_anchor` must lie between now and the next natural billing date."
        raise errors.invalid("billing_cycle_anchor", message)
    return cycles.boundary_after(anchor, **every, after=world.at)


def _grid_start(item: Json, subscription: Json) -> int:
    recurring = item["price"]["recurring"]
    return cycles.boundary_upto(
        subscription["billing_cycle_anchor"],
        interval=recurring["interval"],
        count=recurring["interval_count"],
        upto=item["current_period_start"],
    )
