"""Products and prices."""

from __future__ import annotations

from typing import Any

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.products import prices
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
        "tax_details",
        "unit_label",
        "url",
        "shippable",
        "default_price",
        "marketing_features",
        "package_dimensions",
        "type",
        "expand",
    ]
)
PRODUCT_DATA_FIELDS = frozenset(
    {"active", "id", "metadata", "name", "statement_descriptor", "tax_code", "tax_details", "unit_label"}
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
        "currency_options",
        "custom_unit_amount",
        "tiers",
        "tiers_mode",
        "transform_quantity",
        "expand",
    ]
)
PRICE_UPDATE_FIELDS = frozenset(
    [
        "active",
        "currency_options",
        "lookup_key",
        "transfer_lookup_key",
        "metadata",
        "nickname",
        "tax_behavior",
        "expand",
    ]
)
DESCRIPTOR_MAX, IMAGES_MAX, FEATURES_MAX = 22, 8, 15  # Stripe docs: create a product
DATA_FIELDS = frozenset(  # `default_price_data` of a product
    [
        "currency",
        "currency_options",
        "custom_unit_amount",
        "metadata",
        "recurring",
        "tax_behavior",
        "unit_amount",
        "unit_amount_decimal",
    ]
)


def create_product(world: World, params: Json) -> Json:
    forms.check_known(params, PRODUCT_FIELDS | {"default_price_data"})
    product = _make_product(world, params)
    price = None
    if data := forms.read_object(params, "default_price_data"):
        forms.check_known(data, DATA_FIELDS, within="default_price_data")
        price = prices.make(world, data, product=product, within="default_price_data")
        product["default_price"] = price["id"]
    world.emit("product.created", world.put(product))
    if price is not None:
        prices.keep(world, price)
    return product


def _make_product(world: World, params: Json) -> Json:
    """Work out a product, without keeping it."""
    id = forms.read_text(params, "id") or world.new_id("prod", length=14)
    if id in world.objects:
        raise errors.invalid("id", f"Product already exists: {id}", code="resource_already_exists")
    product = product_shapes.product(id=id, at=world.at, name=forms.read_required(params, "name"))
    _set_product(world, product, params)
    return product


def update_product(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, PRODUCT_FIELDS - {"id"})
    product = world.get("product", id)
    with world.changing(product):
        _set_product(world, product, params)
        product["updated"] = world.at
    return product


def _set_product(world: World, product: Json, params: Json) -> None:
    for name in ("active", "shippable"):
        given = forms.read_bool(params, name)
        product[name] = product[name] if given is None else given
    product["metadata"] = forms.merge_metadata(product["metadata"], params)
    for name in ("description", "statement_descriptor", "tax_code", "unit_label", "url"):
        if name in params:
            product[name] = forms.read_text(params, name) or None
    if "default_price" in params:
        product["default_price"] = _own_price(world, product, params)
    product["name"] = forms.read_text(params, "name") or product["name"]
    if len(product["statement_descriptor"] or "") > DESCRIPTOR_MAX:
        message = f"The statement descriptor must be at most {DESCRIPTOR_MAX} characters."
        raise errors.invalid("statement_descriptor", message)
    if "images" in params:
        product["images"] = _at_most(forms.read_list(params, "images"), IMAGES_MAX, param="images")
    if "marketing_features" in params:
        features = _at_most(forms.read_objects(params, "marketing_features"), FEATURES_MAX, param="marketing_features")
        product["marketing_features"] = [{"name": forms.read_required(one, "name")} for one in features]
    if "package_dimensions" in params:
        sides = forms.read_object(params, "package_dimensions")
        names = ("height", "length", "weight", "width")
        product["package_dimensions"] = {n: float(prices.read_decimal(sides, n) or 0) for n in names} if sides else None
    if details := forms.read_object(params, "tax_details"):
        product["tax_code"] = forms.read_text(details, "tax_code") or product["tax_code"]
    product["type"] = forms.read_choice(params, "type", ("good", "service")) or product["type"]


def _at_most(values: list[Any], most: int, *, param: str) -> list[Any]:
    if len(values) > most:
        raise errors.invalid(param, f"You may pass up to {most} values.")
    return values


def _own_price(world: World, product: Json, params: Json) -> str | None:
    id = forms.read_text(params, "default_price")
    if id and world.get("price", id, param="default_price")["product"] != product["id"]:
        raise errors.invalid("default_price", f"The price `{id}` belongs to another product.")
    return id or None


def delete_product(world: World, id: str, params: Json) -> Json:
    """Delete a product that never had a price (Stripe docs: delete a product)."""
    forms.check_known(params, frozenset({"expand"}))
    product = world.get("product", id)
    if world.owned("price", id):
        message = "This product cannot be deleted because it has one or more user-created prices."
        raise errors.invalid("id", message)
    del world.objects[id]
    world.emit("product.deleted", product)
    return {"id": id, "object": "product", "deleted": True}


def create_price(world: World, params: Json) -> Json:
    forms.check_known(params, PRICE_FIELDS)
    data = forms.read_object(params, "product_data")
    if data:
        forms.check_known(data, PRODUCT_DATA_FIELDS, within="product_data")
        product = _make_product(world, data)
    else:
        product = world.get("product", forms.read_required(params, "product"), param="product")
    price = prices.make(world, params, product=product)
    _claim_lookup_key(world, params, by=None)
    if data:
        world.emit("product.created", world.put(product))
    return prices.keep(world, price)


def update_price(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, PRICE_UPDATE_FIELDS)
    price = world.get("price", id)
    _claim_lookup_key(world, params, by=id)
    prices.add_options(world, price, params)
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
