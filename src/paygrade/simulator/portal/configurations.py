"""What customers may do in the portal: configurations, one of which is the default.

Law. There is one default from the first portal session on. (Stripe docs: portal configurations; at Stripe a person
saves the default in the dashboard first.)
"""

from __future__ import annotations

from copy import deepcopy

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import portal as shapes
from paygrade.simulator.world import World

KIND = "billing_portal.configuration"
URL = "/v1/billing_portal/configurations"
FIELDS = frozenset({"business_profile", "default_return_url", "expand", "features", "login_page", "metadata", "name"})
PRODUCTS_MAX = 10
CHOICES = {
    "mode": ("at_period_end", "immediately"),
    "proration_behavior": ("always_invoice", "create_prorations", "none"),
    "billing_cycle_anchor": ("now", "unchanged"),
    "trial_update_behavior": ("continue_trial", "end_trial"),
}
CONDITIONS = ("decreasing_item_amount", "shortening_interval")


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    if not forms.read_object(params, "features"):
        raise errors.missing_parameter("features")
    made = shapes.configuration(id=world.new_id("bpc"), at=world.at)
    _set(world, made, params)
    world.emit(f"{KIND}.created", world.put(made))
    return made


def update(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, FIELDS | {"active"})
    made = world.get(KIND, id)
    active = forms.read_bool(params, "active")
    if made["is_default"] and active is False:
        raise errors.invalid("active", "The default configuration can't be made inactive.")
    rehearsed = deepcopy(made)
    _set(world, rehearsed, params)
    with world.changing(made):
        made.update(rehearsed)
        made["active"] = made["active"] if active is None else active
    return made


def default(world: World) -> Json:
    """Give the default configuration, which is made when it is first needed: all but a change of plans is allowed."""
    for id in world.shelves.get(KIND, []):
        if world.objects[id]["is_default"]:
            return world.objects[id]
    made = shapes.configuration(id=world.new_id("bpc"), at=world.at, is_default=True)
    features = made["features"]
    features["customer_update"].update(enabled=True, allowed_updates=["email", "name"])
    for name in ("invoice_history", "payment_method_update", "subscription_cancel"):
        features[name]["enabled"] = True
    return world.put(made)


def _set(world: World, made: Json, params: Json) -> None:
    made["metadata"] = forms.merge_metadata(made["metadata"], params)
    for name in ("default_return_url", "name"):
        if name in params:
            made[name] = forms.read_text(params, name) or None
    profile = forms.read_object(params, "business_profile")
    forms.check_known(profile, frozenset(made["business_profile"]), within="business_profile")
    made["business_profile"].update({name: value or None for name, value in profile.items()})
    login = forms.read_object(params, "login_page")
    forms.check_known(login, frozenset({"enabled"}), within="login_page")
    if forms.read_bool(login, "enabled"):
        raise errors.invalid("login_page[enabled]", "The simulator's portal has no log-in page; make a session.")
    features = forms.read_object(params, "features")
    forms.check_known(features, frozenset(made["features"]), within="features")
    for name, wanted in features.items():
        if not isinstance(wanted, dict):
            raise errors.invalid(f"features[{name}]", f"Invalid object: features[{name}]")
        _set_feature(world, made["features"][name], wanted, within=f"features[{name}]")


def _set_feature(world: World, feature: Json, wanted: Json, *, within: str) -> None:
    forms.check_known(wanted, frozenset(feature), within=within)
    enabled = forms.read_bool(wanted, "enabled")
    if enabled is not None:
        feature["enabled"] = enabled
    for name, choices in CHOICES.items():
        if name in feature and (choice := forms.read_choice(wanted, name, choices, within=within)):
            feature[name] = choice
    for name in ("allowed_updates", "default_allowed_updates"):
        if name in wanted:
            feature[name] = forms.read_list(wanted, name)
    if "payment_method_configuration" in wanted:
        feature["payment_method_configuration"] = forms.read_text(wanted, "payment_method_configuration") or None
    if "cancellation_reason" in wanted:
        _set_reasons(feature["cancellation_reason"], forms.read_object(wanted, "cancellation_reason"), within=within)
    if "products" in wanted:
        feature["products"] = _read_products(world, wanted, within=within)
    if "schedule_at_period_end" in wanted:
        conditions = forms.read_objects(forms.read_object(wanted, "schedule_at_period_end"), "conditions")
        for one in conditions:
            forms.read_choice(one, "type", CONDITIONS, within=f"{within}[schedule_at_period_end][conditions]")
        feature["schedule_at_period_end"] = {"conditions": [{"type": one.get("type")} for one in conditions]}
    if "duration" in wanted:
        raise errors.invalid(f"{within}[duration]", "The simulator's portal does not pause subscriptions.")


def _set_reasons(reason: Json, wanted: Json, *, within: str) -> None:
    within = f"{within}[cancellation_reason]"
    forms.check_known(wanted, frozenset({"enabled", "options"}), within=within)
    reason["enabled"] = bool(forms.read_bool(wanted, "enabled"))
    options = forms.read_list(wanted, "options")
    if unknown := [option for option in options if option not in shapes.REASONS]:
        raise errors.not_one_of(f"{within}[options]", value=unknown[0], choices=tuple(shapes.REASONS))
    reason["options"] = options or reason["options"]


def _read_products(world: World, wanted: Json, *, within: str) -> list[Json]:
    products = forms.read_objects(wanted, "products")
    if len(products) > PRODUCTS_MAX:
        raise errors.invalid(f"{within}[products]", f"You may pass up to {PRODUCTS_MAX} products.")
    found = []
    for n, one in enumerate(products):
        param = f"{within}[products][{n}]"
        forms.check_known(one, frozenset({"adjustable_quantity", "prices", "product"}), within=param)
        product = world.get("product", forms.read_required(one, "product"), param=f"{param}[product]")
        prices = [world.get("price", str(id), param=f"{param}[prices]") for id in forms.read_list(one, "prices")]
        if strange := [price for price in prices if price["product"] != product["id"] or price["recurring"] is None]:
            message = f"The price `{strange[0]['id']}` is not a recurring price of the product `{product['id']}`."
            raise errors.invalid(f"{param}[prices]", message)
        adjustable = forms.read_object(one, "adjustable_quantity")
        found.append(
            {
                "adjustable_quantity": {
                    "enabled": bool(forms.read_bool(adjustable, "enabled")),
                    "maximum": forms.read_int(adjustable, "maximum"),
                    "minimum": forms.read_int(adjustable, "minimum") or 1,
                },
                "prices": [price["id"] for price in prices],
                "product": product["id"],
            }
        )
    return found
