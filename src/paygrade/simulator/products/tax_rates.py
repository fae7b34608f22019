"""Tax rates: shares of an amount that a merchant adds to it (exclusive) or that are part of it (inclusive).

Law. Percentage, country and whether it is inclusive stay as they were made. (Stripe docs: tax rates.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.products import prices
from paygrade.simulator.shapes import taxes as tax_shapes
from paygrade.simulator.world import World

KIND = "tax_rate"
TEXTS = ("country", "description", "jurisdiction", "state", "tax_type")
UPDATE_FIELDS = frozenset({"active", "display_name", "expand", "metadata", *TEXTS})
FIELDS = UPDATE_FIELDS | {"inclusive", "percentage"}
OF_ONE_MAX = 5  # Stripe docs: subscriptions, `default_tax_rates`: up to five apply


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    inclusive = forms.read_bool(params, "inclusive")
    if inclusive is None:
        raise errors.missing_parameter("inclusive")
    percentage = prices.read_decimal(params, "percentage")
    if percentage is None:
        raise errors.missing_parameter("percentage")
    if not 0 <= percentage <= 100:
        raise errors.invalid("percentage", "`percentage` must be between 0 and 100.")
    rate = tax_shapes.tax_rate(
        id=world.new_id("txr"),
        at=world.at,
        display_name=forms.read_required(params, "display_name"),
        percentage=float(percentage),
        inclusive=inclusive,
    )
    _set(rate, params)
    rate.update(effective_percentage=rate["percentage"], rate_type="percentage")
    world.emit("tax_rate.created", world.put(rate))
    return rate


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, UPDATE_FIELDS)
    rate = world.get(KIND, id)
    with world.changing(rate):
        rate["display_name"] = forms.read_text(params, "display_name") or rate["display_name"]
        _set(rate, params)
    return rate


def read(world: World, params: Json, name: str, *, within: str = "") -> list[Json] | None:
    """Read a list of tax rates; None: nothing is said about them."""
    if name not in params:
        return None
    param = f"{within}[{name}]" if within else name
    ids = forms.read_list(params, name)
    if len(ids) > OF_ONE_MAX:
        raise errors.invalid(param, f"You may pass up to {OF_ONE_MAX} tax rates.")
    rates = [world.get(KIND, str(id), param=f"{param}[{place}]") for place, id in enumerate(ids)]
    for place, rate in enumerate(rates):
        if not rate["active"]:
            raise errors.invalid(f"{param}[{place}]", f"The tax rate `{rate['id']}` is inactive; use an active one.")
    return rates


def _set(rate: Json, params: Json) -> None:
    rate["metadata"] = forms.merge_metadata(rate["metadata"], params)
    active = forms.read_bool(params, "active")
    rate["active"] = rate["active"] if active is None else active
    for name in TEXTS:
        if name in params:
            rate[name] = forms.read_text(params, name) or None
