"""Tax ids of customers, and of the account itself: kept, shown on invoices, and never verified."""

from __future__ import annotations

import re

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import taxes as tax_shapes
from paygrade.simulator.world import World

KIND = "tax_id"
TYPE = re.compile(r"[a-z]{2}_[a-z0-9]{2,8}")
VALUE_MAX = 50


def create(world: World, params: Json, *, customer: str | None = None) -> Json:
    forms.check_known(params, frozenset({"expand", "owner", "type", "value"}))
    owner = forms.read_object(params, "owner")
    if forms.read_choice(owner, "type", ("account", "application", "customer", "self")) == "customer":
        customer = str(world.live_customer(forms.read_required(owner, "customer"), param="owner[customer]")["id"])
    type, value = forms.read_required(params, "type"), forms.read_required(params, "value")
    if not TYPE.fullmatch(type):
        raise errors.invalid("type", f"Invalid type: `{type}` is no type of tax id, such as `eu_vat`.")
    if len(value) > VALUE_MAX:
        raise errors.invalid("value", f"Invalid value for {type}.", code="tax_id_invalid")
    made = tax_shapes.tax_id(id=world.new_id("txi"), at=world.at, type=type, value=value, customer=customer)
    world.put(made, *filter(None, [customer]))
    if customer is not None:
        world.emit("customer.tax_id.created", made)
    return made


def create_of_customer(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand", "type", "value"}))
    return create(world, params, customer=str(world.live_customer(id, param="id")["id"]))


def retrieve_of_customer(world: World, customer: str, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    found = world.get(KIND, id)
    if found["customer"] != customer:
        raise errors.missing(kind=KIND, id=id)
    return found


def delete(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    gone = world.get(KIND, id)
    del world.objects[id]
    if gone["customer"] is not None:
        world.emit("customer.tax_id.deleted", gone)
    return {"id": id, "object": KIND, "deleted": True}


def delete_of_customer(world: World, customer: str, id: str, params: Json) -> Json:
    retrieve_of_customer(world, customer, id, {})
    return delete(world, id, params)
