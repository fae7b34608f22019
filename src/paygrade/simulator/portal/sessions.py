"""Requests that make portal sessions: a page at which one customer manages their subscriptions, whole or for one flow.

(Stripe docs: create a portal session; portal deep links.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import lifecycle
from paygrade.simulator.forms import Json
from paygrade.simulator.portal import configurations
from paygrade.simulator.shapes import portal as shapes
from paygrade.simulator.state.visits import PortalVisit
from paygrade.simulator.world import World

KIND = "billing_portal.session"
URL = "/v1/billing_portal/sessions"
FIELDS = frozenset({"configuration", "customer", "expand", "flow_data", "locale", "return_url"})
# Each flow, and the feature of the configuration it needs.
FLOWS = {
    "payment_method_update": "payment_method_update",
    "subscription_cancel": "subscription_cancel",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
}
FLOW_FIELDS = {
    "subscription_cancel": frozenset({"subscription"}),
    "subscription_update": frozenset({"subscription"}),
    "subscription_update_confirm": frozenset({"discounts", "items", "subscription"}),
}
COMPLETIONS = ("hosted_confirmation", "portal_homepage", "redirect")


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    customer = world.live_customer(forms.read_required(params, "customer"))
    named = forms.read_text(params, "configuration")
    configuration = world.get(configurations.KIND, named, param="configuration") if named else None
    if configuration is not None and not configuration["active"]:
        raise errors.invalid("configuration", "The configuration is inactive.")
    return_url = forms.read_text(params, "return_url") or None
    if return_url and not return_url.startswith(("http://", "https://")):
        message = "Not a valid URL. URLs must begin with `http://` or `https://`."
        raise errors.invalid("return_url", message, code="url_invalid")
    configuration = configuration or configurations.default(world)
    flow = _read_flow(world, params, customer=customer, configuration=configuration)
    id = world.new_id("bps", length=40)
    made = shapes.session(
        id=id,
        at=world.at,
        customer=customer["id"],
        configuration=configuration["id"],
        url=f"{world.base_url}/p/session/{id}",
        flow=flow,
        locale=forms.read_text(params, "locale") or None,
        return_url=return_url or configuration["default_return_url"],
    )
    world.portal_visits[id] = PortalVisit()
    world.emit("billing_portal.session.created", world.put(made, customer["id"]))
    return made


def _read_flow(world: World, params: Json, *, customer: Json, configuration: Json) -> Json | None:
    wanted = forms.read_object(params, "flow_data")
    if not wanted:
        return None
    forms.check_known(wanted, frozenset({"after_completion", "type", *FLOW_FIELDS}), within="flow_data")
    kind = forms.read_choice(wanted, "type", tuple(FLOWS), within="flow_data")
    if kind is None:
        raise errors.missing_parameter("flow_data[type]")
    if not configuration["features"][FLOWS[kind]]["enabled"]:
        message = f"This flow needs the feature `{FLOWS[kind]}`, which the portal configuration does not enable."
        raise errors.invalid("flow_data[type]", message)
    flow: Json = {
        "after_completion": _read_completion(wanted),
        "customer_update": None,
        "subscription_cancel": None,
        "subscription_pause": None,
        "subscription_update": None,
        "subscription_update_confirm": None,
        "type": kind,
    }
    if kind in FLOW_FIELDS:
        flow[kind] = _read_subject(world, forms.read_object(wanted, kind), kind=kind, customer=customer)
    return flow


def _read_subject(world: World, wanted: Json, *, kind: str, customer: Json) -> Json:
    within = f"flow_data[{kind}]"
    forms.check_known(wanted, FLOW_FIELDS[kind], within=within)
    id = forms.read_text(wanted, "subscription")
    if not id:
        raise errors.missing_parameter(f"{within}[subscription]")
    subscription = world.get("subscription", id, param=f"{within}[subscription]")
    if subscription["customer"] != customer["id"] or subscription["status"] in lifecycle.ENDED:
        message = "The subscription is over, or is another customer's."
        raise errors.invalid(f"{within}[subscription]", message)
    if kind == "subscription_cancel":
        if subscription["cancel_at"] is not None:
            message = "The subscription cannot be canceled: it is already set to end."
            raise errors.invalid(f"{within}[subscription]", message)
        return {"retention": None, "subscription": id}
    if kind == "subscription_update":
        return {"subscription": id}
    return _read_confirmation(world, wanted, subscription=subscription, within=within)


def _read_confirmation(world: World, wanted: Json, *, subscription: Json, within: str) -> Json:
    items = []
    known = {item["id"] for item in subscription["items"]["data"]}
    for n, one in enumerate(forms.read_objects(wanted, "items")):
        param = f"{within}[items][{n}]"
        forms.check_known(one, frozenset({"id", "price", "quantity"}), within=param)
        if forms.read_text(one, "id") not in known:
            raise errors.missing(kind="subscription_item", id=str(one.get("id")), param=f"{param}[id]")
        price = forms.read_text(one, "price")
        if price:
            world.get("price", price, param=f"{param}[price]")
        items.append({"id": one["id"], "price": price or None, "quantity": forms.read_int(one, "quantity")})
    if len(items) != 1:
        raise errors.invalid(f"{within}[items]", "Give the one item of the subscription that changes.")
    discounts = [
        {"coupon": one.get("coupon"), "promotion_code": one.get("promotion_code")}
        for one in forms.read_objects(wanted, "discounts")
    ]
    return {"discounts": discounts or None, "items": items, "subscription": subscription["id"]}


def _read_completion(wanted: Json) -> Json:
    completion = forms.read_object(wanted, "after_completion")
    within = "flow_data[after_completion]"
    forms.check_known(completion, frozenset({"hosted_confirmation", "redirect", "type"}), within=within)
    kind = forms.read_choice(completion, "type", COMPLETIONS, within=within) or "portal_homepage"
    address = forms.read_text(forms.read_object(completion, "redirect"), "return_url") or None
    if kind == "redirect" and not address:
        raise errors.missing_parameter(f"{within}[redirect][return_url]")
    message = forms.read_text(forms.read_object(completion, "hosted_confirmation"), "custom_message") or None
    return {
        "hosted_confirmation": {"custom_message": message} if kind == "hosted_confirmation" else None,
        "redirect": {"return_url": address} if kind == "redirect" else None,
        "type": kind,
    }
