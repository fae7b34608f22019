"""Plans: recurring prices by their older name, still read and made by clients that began with them."""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.products import catalog, prices
from paygrade.simulator.shapes import products as product_shapes
from paygrade.simulator.world import World

FIELDS = frozenset(
    [
        "active",
        "amount",
        "amount_decimal",
        "billing_scheme",
        "currency",
        "expand",
        "id",
        "interval",
        "interval_count",
        "metadata",
        "meter",
        "nickname",
        "product",
        "tiers",
        "tiers_mode",
        "transform_usage",
        "trial_period_days",
        "usage_type",
    ]
)
RECURRING = ("interval", "interval_count", "meter", "trial_period_days", "usage_type")
RENAMED = {"amount": "unit_amount", "amount_decimal": "unit_amount_decimal", "transform_usage": "transform_quantity"}
SAME = ("active", "billing_scheme", "currency", "metadata", "nickname", "tiers", "tiers_mode")


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    wanted = {name: params[name] for name in SAME if name in params}
    wanted.update({new: params[old] for old, new in RENAMED.items() if old in params})
    wanted["recurring"] = {name: params[name] for name in RECURRING if name in params}
    if params.get("id") in world.objects:
        raise errors.invalid("id", "Plan already exists.", code="resource_already_exists")
    if isinstance(params.get("product"), dict):
        product = catalog.create_product(world, params["product"])
    else:
        product = world.get("product", forms.read_required(params, "product"), param="product")
    price = prices.make(world, wanted, product=product)
    if id := forms.read_text(params, "id"):
        made, price["id"] = price["id"], id
        world.price_options[id] = world.price_options.pop(made)
        del world.plans[made]
        world.plans[id] = product_shapes.plan(price)
    world.put(price, price["product"])
    world.emit("plan.created", world.plans[price["id"]])
    world.emit("price.created", price)
    return world.plans[price["id"]]


def retrieve(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    return _plan(world, id)


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"active", "expand", "metadata", "nickname"}))
    _plan(world, id)
    catalog.update_price(world, id, params)
    return world.plans[id]


def delete(world: World, id: str, params: Json) -> Json:
    """Delete a plan: nobody can subscribe to it any more, and who did keeps it."""
    forms.check_known(params, frozenset({"expand"}))
    plan = _plan(world, id)
    price = world.objects[id]
    with world.changing(price):
        price["active"] = False
    plan.update(product_shapes.plan(price))
    world.emit("plan.deleted", plan)
    return {"id": id, "object": "plan", "deleted": True}


def _plan(world: World, id: str) -> Json:
    if id not in world.plans or id not in world.objects:
        raise errors.missing(kind="plan", id=id)
    return world.plans[id]
