"""Products and prices."""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import products as product_shapes
from paygrade.simulator.world import World

PRODUCT_FIELDS = frozenset(
    [
        "id",
        "name",
        "active",
        "description",
        "images",
        "metadata",
        "statement_descriptor",
        "tax_code",
        "unit_label",
        "url",
        "shippable",
        "default_price",
        "expand",
    ]
)
PRICE_FIELDS = frozenset(
    [
        "currency",
        "unit_amount",
        "unit_amount_decimal",
        "product",
        "product_data",
        "recurring",
        "lookup_key",
        "transfer_lookup_key",
        "nickname",
        "metadata",
        "active",
        "tax_behavior",
        "billing_scheme",
        "expand",
    ]
)
PRICE_UPDATE_FIELDS = frozenset(
    ["active", "lookup_key", "transfer_lookup_key", "metadata", "nickname", "tax_behavior", "expand"]
)
INTERVALS_MAX = {"day": 1095, "week": 156, "month": 36, "year": 3}  # Stripe docs: create a price: three years
INTERVALS = tuple(INTERVALS_MAX)
USAGE_TYPES = ("licensed", "metered")


def create_product(world: World, params: Json) -> Json:
    forms.check_known(params, PRODUCT_FIELDS)
    id = forms.read_text(params, "id") or world.new_id("prod", length=14)
    if id in world.objects:
        raise errors.invalid("id", f"Product already exists: {id}", code="resource_already_exists")
    product = product_shapes.product(id=id, at=world.at, name=forms.read_required(params, "name"))
    _set_product(product, params)
    world.emit("product.created", world.put(product))
    return product


def update_product(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, PRODUCT_FIELDS - {"id"})
    product = world.get("product", id)
    with world.changing(product):
        _set_product(product, params)
        product["updated"] = world.at
    return product


def _set_product(product: Json, params: Json) -> None:
    active = forms.read_bool(params, "active")
    product["active"] = product["active"] if active is None else active
    product["metadata"] = forms.merge_metadata(product["metadata"], params)
    for name in ("description", "statement_descriptor", "tax_code", "unit_label", "url", "default_price"):
        if name in params:
            product[name] = forms.read_text(params, name) or None
    product["name"] = forms.read_text(params, "name") or product["name"]
    if "images" in params:
        product["images"] = forms.read_list(params, "images")


def create_price(world: World, params: Json) -> Json:
    forms.check_known(params, PRICE_FIELDS)
    currency = forms.read_currency(params)
    amount = _read_amount(params)
    recurring = _read_recurring(world, params)
    product = _read_product(world, params)
    _claim_lookup_key(world, params, by=None)
    price = product_shapes.price(
        id=world.new_id("price"),
        at=world.at,
        product=product["id"],
        recurring=recurring,
        currency=currency,
        unit_amount=amount,
        unit_amount_decimal=str(amount),
        lookup_key=forms.read_text(params, "lookup_key") or None,
        nickname=forms.read_text(params, "nickname") or None,
        metadata=forms.merge_metadata({}, params),
        tax_behavior=forms.read_text(params, "tax_behavior") or "unspecified",
        active=forms.read_bool(params, "active") is not False,
    )
    world.put(price, product["id"])
    if recurring is not None:
        world.plans[price["id"]] = product_shapes.plan(price)
    world.emit("price.created", price)
    return price


def update_price(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, PRICE_UPDATE_FIELDS)
    price = world.get("price", id)
    _claim_lookup_key(world, params, by=id)
    with world.changing(price):
        active = forms.read_bool(params, "active")
        price["active"] = price["active"] if active is None else active
        price["metadata"] = forms.merge_metadata(price["metadata"], params)
        for name in ("lookup_key", "nickname", "tax_behavior"):
            if name in params:
                price[name] = forms.read_text(params, name) or None
    if id in world.plans:
        world.plans[id].update(product_shapes.plan(price))
    return price


def _read_amount(params: Json) -> int:
    if "unit_amount" not in params and "unit_amount_decimal" not in params:
        raise errors.missing_parameter("unit_amount")
    name = "unit_amount" if "unit_amount" in params else "unit_amount_decimal"
    amount = forms.read_int(params, name)
    if amount is None or amount < 0:
        raise errors.invalid(name, "Invalid non-negative integer: the simulator bills whole minor units.")
    if params.get("billing_scheme", "per_unit") != "per_unit":
        raise errors.invalid("billing_scheme", "The simulator has no tiered prices.")
    return amount


def _read_recurring(world: World, params: Json) -> Json | None:
    if "recurring" not in params:
        return None
    wanted = forms.read_object(params, "recurring")
    known = frozenset({"interval", "interval_count", "usage_type", "meter", "trial_period_days"})
    forms.check_known(wanted, known, within="recurring")
    interval = forms.read_choice(wanted, "interval", INTERVALS)
    if interval is None:
        raise errors.missing_parameter("recurring[interval]")
    count = forms.read_int(wanted, "interval_count")
    usage_type = forms.read_choice(wanted, "usage_type", USAGE_TYPES) or "licensed"
    if meter := forms.read_text(wanted, "meter"):
        world.get("billing.meter", meter, param="recurring[meter]")
        if usage_type != "metered":
            raise errors.invalid("recurring[meter]", "A meter goes with `usage_type=metered`.")
    if count is not None and count < 1:
        raise errors.invalid("recurring[interval_count]", "This value must be greater than or equal to 1.")
    if count is not None and count > INTERVALS_MAX[interval]:
        message = f"The interval can be at most three years: {INTERVALS_MAX[interval]} × {interval}."
        raise errors.invalid("recurring[interval_count]", message)
    return product_shapes.recurring(
        interval=interval,
        interval_count=count or 1,
        usage_type=usage_type,
        meter=meter or None,
    )


def _read_product(world: World, params: Json) -> Json:
    if data := forms.read_object(params, "product_data"):
        return create_product(world, data)
    return world.get("product", forms.read_required(params, "product"), param="product")


def _claim_lookup_key(world: World, params: Json, *, by: str | None) -> None:
    """Refuse a lookup key in use, or take it over with `transfer_lookup_key`."""
    key = forms.read_text(params, "lookup_key")
    for id in world.shelves.get("price", []) if key else []:
        holder = world.objects[id]
        if holder["lookup_key"] != key or id == by:
            continue
        if not forms.read_bool(params, "transfer_lookup_key"):
            message = f"A price (`{id}`) already uses that lookup key."
            raise errors.invalid("lookup_key", message, code="resource_already_exists")
        with world.changing(holder):
            holder["lookup_key"] = None
