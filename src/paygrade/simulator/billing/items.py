"""Requests about one subscription item: each is an update of its subscription that names only that item."""

from __future__ import annotations

from paygrade.simulator import forms
from paygrade.simulator.billing import changes
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

OF_THE_UPDATE = frozenset({"payment_behavior", "proration_behavior", "proration_date", "off_session"})


def create(world: World, params: Json) -> Json:
    subscription = forms.read_required(params, "subscription")
    before = {item["id"] for item in world.get("subscription", subscription)["items"]["data"]}
    _update(world, subscription, params)
    items = world.get("subscription", subscription)["items"]["data"]
    return next((item for item in items if item["id"] not in before), items[-1])


def update(world: World, id: str, params: Json) -> Json:
    _update(world, world.get("subscription_item", id)["subscription"], params, id=id)
    return world.get("subscription_item", id)


def delete(world: World, id: str, params: Json) -> Json:
    _update(world, world.get("subscription_item", id)["subscription"], params, id=id, deleted="true")
    return {"id": id, "object": "subscription_item", "deleted": True}


def _update(world: World, subscription: str, params: Json, **item: str) -> None:
    shared = {name: value for name, value in params.items() if name in OF_THE_UPDATE}
    wanted = {name: value for name, value in params.items() if name not in OF_THE_UPDATE | {"subscription", "expand"}}
    changes.update(world, subscription, {**shared, "items": [{**wanted, **item}]})
