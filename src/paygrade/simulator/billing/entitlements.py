"""Entitlements: features of products, and those that a customer's live subscriptions give.

Law. A customer has each feature of each product they are subscribed to once, while the subscription is active,
trialing or past due, and a change of what they have is told once. (Stripe docs: entitlements.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

FEATURE, OF_PRODUCT, ACTIVE = "entitlements.feature", "product_feature", "entitlements.active_entitlement"
LIVE = ("active", "trialing", "past_due")
LOOKUP_KEY_MAX, NAME_MAX = 80, 80
SUMMARY_MAX = 10


def create_feature(world: World, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand", "lookup_key", "metadata", "name"}))
    key, name = forms.read_required(params, "lookup_key"), forms.read_required(params, "name")
    for param, text, most in (("lookup_key", key, LOOKUP_KEY_MAX), ("name", name, NAME_MAX)):
        if len(text) > most:
            raise errors.invalid(param, f"`{param}` can be at most {most} characters long.")
    if any(feature["lookup_key"] == key for feature in features(world)):
        message = f"A feature with the lookup key `{key}` already exists."
        raise errors.invalid("lookup_key", message, code="resource_already_exists")
    feature: Json = {
        "id": world.new_id("feat"),
        "object": FEATURE,
        "active": True,
        "livemode": False,
        "lookup_key": key,
        "metadata": forms.merge_metadata({}, params),
        "name": name,
    }
    return world.put(feature)


def update_feature(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"active", "expand", "metadata", "name"}))
    feature = world.get(FEATURE, id)
    feature["name"] = forms.read_text(params, "name") or feature["name"]
    active = forms.read_bool(params, "active")
    feature["active"] = feature["active"] if active is None else active
    feature["metadata"] = forms.merge_metadata(feature["metadata"], params)
    return feature


def attach(world: World, product: str, params: Json) -> Json:
    """Let a product give a feature."""
    forms.check_known(params, frozenset({"entitlement_feature", "expand"}))
    world.get("product", product)
    feature = world.get(FEATURE, forms.read_required(params, "entitlement_feature"), param="entitlement_feature")
    if not feature["active"]:
        raise errors.invalid("entitlement_feature", "The feature is archived; use an active one.")
    if any(one["entitlement_feature"]["id"] == feature["id"] for one in world.owned(OF_PRODUCT, product)):
        message = "This feature is already attached to this product."
        raise errors.invalid("entitlement_feature", message, code="resource_already_exists")
    made: Json = {
        "id": world.new_id("prodft"),
        "object": OF_PRODUCT,
        "entitlement_feature": feature,
        "livemode": False,
    }
    world.put(made, product)
    _note_customers(world, product)
    return made


def retrieve_attached(world: World, product: str, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    if all(one["id"] != id for one in world.owned(OF_PRODUCT, product)):
        raise errors.missing(kind=OF_PRODUCT, id=id)
    return world.objects[id]


def detach(world: World, product: str, id: str, params: Json) -> Json:
    retrieve_attached(world, product, id, params)
    del world.objects[id]
    _note_customers(world, product)
    return {"id": id, "object": OF_PRODUCT, "deleted": True}


def features(world: World) -> list[Json]:
    return [world.objects[id] for id in world.shelves.get(FEATURE, []) if id in world.objects]


def active(world: World, customer: str) -> list[Json]:
    """Give what a customer has now, ordered by lookup key."""
    found: dict[str, Json] = {}
    for subscription in world.owned("subscription", customer):
        if subscription["status"] not in LIVE:
            continue
        for item in subscription["items"]["data"]:
            for attached in world.owned(OF_PRODUCT, item["price"]["product"]):
                feature = attached["entitlement_feature"]
                found[feature["id"]] = {
                    "id": f"ent_test_{customer[4:]}{feature['id'][5:15]}",
                    "object": ACTIVE,
                    "feature": feature["id"],
                    "livemode": False,
                    "lookup_key": feature["lookup_key"],
                }
    return sorted(found.values(), key=lambda one: str(one["lookup_key"]))


def list_active(world: World, params: Json) -> Json:
    forms.check_known(params, frozenset({"customer", "ending_before", "expand", "limit", "starting_after"}))
    customer = world.live_customer(forms.read_required(params, "customer"))
    limit = forms.read_int(params, "limit") or 10
    rows = active(world, customer["id"])
    ids = [row["id"] for row in rows]
    after, before = forms.read_text(params, "starting_after"), forms.read_text(params, "ending_before")
    start = ids.index(after) + 1 if after in ids else 0
    end = ids.index(before) if before in ids else len(ids)
    shown = rows[start:end][:limit]
    more = start + len(shown) < end
    return {"object": "list", "data": shown, "has_more": more, "url": "/v1/entitlements/active_entitlements"}


def retrieve_active(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    for customer in world.shelves.get("customer", []):
        for row in active(world, customer):
            if row["id"] == id:
                return row
    raise errors.missing(kind=ACTIVE, id=id)


def tell_changes(world: World) -> None:
    """Tell of each customer whose features changed since they were last told."""
    customers, world.subscribers_touched = world.subscribers_touched, set()
    for id in sorted(customers) if features(world) else []:
        rows = active(world, id)
        keys = tuple(row["lookup_key"] for row in rows)
        before = world.entitled.get(id, ())
        if keys == before:
            continue
        world.entitled[id] = keys
        shown = rows[:SUMMARY_MAX]
        summary: Json = {
            "object": "entitlements.active_entitlement_summary",
            "customer": id,
            "entitlements": {
                "object": "list",
                "data": shown,
                "has_more": len(rows) > len(shown),
                "url": f"/v1/customers/{id}/entitlements",
            },
            "livemode": False,
        }
        world.emit(f"{summary['object']}.updated", summary, previous={})


def _note_customers(world: World, product: str) -> None:
    for id in world.shelves.get("subscription", []):
        subscription = world.objects[id]
        if any(item["price"]["product"] == product for item in subscription["items"]["data"]):
            world.subscribers_touched.add(subscription["customer"])
