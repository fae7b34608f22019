"""The customer in the portal: they change plans, cancel or stay, and set the card that pays.

Laws. Nobody does what the configuration does not enable, and nothing to another customer's subscriptions. A change
that has to be paid now takes effect once it is paid. (Stripe docs: configure the customer portal.)
"""

from __future__ import annotations

from paygrade.simulator import errors
from paygrade.simulator.billing import changes, invoices, lifecycle, schedules
from paygrade.simulator.billing import subscriptions as subs
from paygrade.simulator.customers import customers
from paygrade.simulator.forms import Json
from paygrade.simulator.intents import payment_intents, setup_intents
from paygrade.simulator.payments import payments, setups
from paygrade.simulator.portal import configurations, sessions
from paygrade.simulator.state.visits import Attempt
from paygrade.simulator.world import World

INTERVAL_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
DONE = Attempt("complete")


def features_of(world: World, session: Json) -> Json:
    """What this session's customer may do."""
    features: Json = world.objects[session["configuration"]]["features"]
    return features


def live_subscriptions(world: World, session: Json) -> list[Json]:
    return [one for one in world.owned("subscription", session["customer"]) if one["status"] not in lifecycle.ENDED]


def prices_for(world: World, session: Json) -> list[Json]:
    """The prices a subscription may change to."""
    listed = features_of(world, session)["subscription_update"]["products"] or []
    prices = [world.objects[id] for product in listed for id in product["prices"]]
    return [price for price in prices if price["active"]]


def set_card(world: World, session: Json, method: str) -> Attempt:
    """Set the card that pays from now on: the customer's default, and that of subscriptions that have their own."""
    _need(world, session, "payment_method_update")
    intent = setups.make(world, customer=session["customer"])
    visit = world.portal_visits[session["id"]]
    try:
        setups.confirm(world, intent, method)
    except errors.RefusedByStripe as refused:
        if refused.status != 402:
            raise
        return Attempt("declined", str(refused))
    if intent["status"] == "requires_action":
        visit.intent = intent["id"]
        return Attempt("requires_action")
    _use_card(world, session, intent["payment_method"])
    return DONE


def authenticate(world: World, session: Json, *, succeeds: bool) -> Attempt:
    """Play the customer who confirms with their bank, or fails to."""
    visit = world.portal_visits[session["id"]]
    intent = world.objects.get(visit.intent or "")
    if intent is None or intent["status"] != "requires_action":
        raise errors.invalid("session", "Nothing in this portal session waits for the customer's confirmation.")
    visit.intent = None
    if intent["object"] == setups.KIND:
        setup_intents.authenticate(world, intent, succeeds=succeeds)
        if succeeds:
            _use_card(world, session, intent["payment_method"])
    else:
        payment_intents.authenticate(world, intent, succeeds=succeeds)
        if not succeeds and (invoice := payment_intents.invoice_of(world, intent)) is not None:
            invoices.void(world, invoice)
    return DONE if succeeds else Attempt("declined", "The customer could not be authenticated.")


def _use_card(world: World, session: Json, method: str) -> None:
    wanted = {"invoice_settings": {"default_payment_method": method}}
    customers.update_customer(world, session["customer"], wanted)
    for subscription in live_subscriptions(world, session):
        if subscription["default_payment_method"] not in (None, method):
            changes.update(world, subscription["id"], {"default_payment_method": method})


def update_details(world: World, session: Json, details: Json) -> Attempt:
    """Change the customer's own data, as far as the configuration lists it."""
    allowed = _need(world, session, "customer_update")["allowed_updates"]
    wanted = {name: value for name, value in details.items() if name in allowed}
    customers.update_customer(world, session["customer"], wanted)
    return DONE


def change_plan(
    world: World, session: Json, id: str, *, price: str | None, quantity: int | None = None, item: str | None = None
) -> Attempt:
    """Change the price or quantity of a subscription's item: its only one, unless one is named."""
    feature = _need(world, session, "subscription_update")
    subscription = _subscription(world, session, id)
    items = {one["id"]: one for one in subscription["items"]["data"]}
    if item is None and len(items) > 1:
        message = "The portal does not change subscriptions with several items, unless it is told which."
        raise errors.invalid("subscription", message)
    chosen = items[item or next(iter(items))]
    _refuse_change(world, session, feature, chosen, price=price, quantity=quantity)
    wanted: Json = {"id": chosen["id"], "price": price or chosen["price"]["id"]}
    if quantity is not None or chosen["quantity"] is not None:
        wanted["quantity"] = str(chosen["quantity"] if quantity is None else quantity)
    if _waits(world, feature, chosen, wanted):
        _schedule(world, subscription, wanted)
        return DONE
    return _change_now(world, session, subscription, feature, wanted)


def _refuse_change(
    world: World, session: Json, feature: Json, item: Json, *, price: str | None, quantity: int | None
) -> None:
    allowed = feature["default_allowed_updates"]
    confirms = session["flow"] is not None and session["flow"]["type"] == "subscription_update_confirm"
    if price not in (None, item["price"]["id"]):
        listed = price in {one["id"] for one in prices_for(world, session)}
        if not confirms and not ("price" in allowed and listed):
            raise errors.invalid("price", "The portal configuration does not offer a change to this price.")
    if quantity not in (None, item["quantity"]) and not confirms and "quantity" not in allowed:
        raise errors.invalid("quantity", "The portal configuration does not allow a change of the quantity.")
    if quantity is not None and quantity < 1:
        raise errors.invalid("quantity", "This value must be greater than or equal to 1.")


def _waits(world: World, feature: Json, item: Json, wanted: Json) -> bool:
    """Tell whether the configuration lets this change wait for the period's end."""
    conditions = {one["type"] for one in feature["schedule_at_period_end"]["conditions"]}
    old, new = item["price"], world.objects[wanted["price"]]
    before = (old["unit_amount"] or 0) * (item["quantity"] or 1)
    after = (new["unit_amount"] or 0) * int(wanted.get("quantity", 1))
    shorter = _days(new) < _days(old)
    return ("decreasing_item_amount" in conditions and after < before and not shorter) or (
        "shortening_interval" in conditions and shorter
    )


def _days(price: Json) -> int:
    recurring = price["recurring"]
    return INTERVAL_DAYS[recurring["interval"]] * int(recurring["interval_count"])


def _schedule(world: World, subscription: Json, wanted: Json) -> None:
    """Let the change begin with the next period, by a subscription schedule."""
    schedule = schedules.create(world, {"from_subscription": subscription["id"]})
    now = schedule["phases"][0]
    held = [
        {"price": one["price"]["id"], **({"quantity": str(one["quantity"])} if one["quantity"] is not None else {})}
        for one in subscription["items"]["data"]
    ]
    position = [one["id"] for one in subscription["items"]["data"]].index(wanted["id"])
    later = {name: wanted[name] for name in ("price", "quantity") if name in wanted}
    then = [later if n == position else one for n, one in enumerate(held)]
    phases = [
        {"items": held, "start_date": str(now["start_date"]), "end_date": str(now["end_date"])},
        {"items": then, "iterations": "1", "proration_behavior": "none"},
    ]
    schedules.update(world, schedule["id"], {"phases": phases, "end_behavior": "release"})


def _change_now(world: World, session: Json, subscription: Json, feature: Json, wanted: Json) -> Attempt:
    params: Json = {"items": [wanted], "proration_behavior": feature["proration_behavior"]}
    if feature["billing_cycle_anchor"] == "now":
        params["billing_cycle_anchor"] = "now"
    if subscription["status"] == "trialing" and feature["trial_update_behavior"] == "end_trial":
        params["trial_end"] = "now"
    confirm = session["flow"] and session["flow"]["subscription_update_confirm"]
    if confirm and confirm["discounts"]:
        params["discounts"] = [{name: id for name, id in one.items() if id} for one in confirm["discounts"]]
    if subscription["collection_method"] == "charge_automatically":
        params["payment_behavior"] = "pending_if_incomplete"
    changes.update(world, subscription["id"], params)
    held = world.held_changes.get(subscription["id"])
    if held is None:
        return DONE
    invoice = world.objects[held.invoice]
    payment = payments.payment_of(world, invoice)
    if payment is not None and payment[1]["status"] == "requires_action":
        world.portal_visits[session["id"]].intent = payment[1]["id"]
        return Attempt("requires_action")
    error = (payment[1]["last_payment_error"] if payment is not None else None) or {}
    invoices.void(world, invoice)
    return Attempt("declined", error.get("message", "The payment failed."))


def cancel(world: World, session: Json, id: str, *, feedback: str | None = None, comment: str | None = None) -> Attempt:
    """Cancel now or at the period's end, as the configuration says."""
    feature = _need(world, session, "subscription_cancel")
    subscription = _subscription(world, session, id)
    details = {name: value for name, value in (("feedback", feedback), ("comment", comment)) if value}
    if feature["mode"] == "immediately":
        prorates = feature["proration_behavior"] != "none"
        now = feature["proration_behavior"] == "always_invoice"
        params: Json = {"prorate": str(prorates).lower(), "invoice_now": str(now).lower()}
        subs.cancel(world, id, {**params, "cancellation_details": details})
        return DONE
    # Stripe: in flexible billing mode the portal sets `cancel_at` and leaves `cancel_at_period_end` false.
    flexible = subscription["billing_mode"]["type"] == "flexible"
    params = {"cancel_at": "min_period_end"} if flexible else {"cancel_at_period_end": "true"}
    changes.update(world, id, {**params, "cancellation_details": details})
    return DONE


def stay(world: World, session: Json, id: str) -> Attempt:
    """Take back a cancellation that has not happened yet."""
    _need(world, session, "subscription_cancel")
    subscription = _subscription(world, session, id)
    if subscription["cancel_at"] is None:
        raise errors.invalid("subscription", "The subscription is not set to end.")
    changes.update(world, id, {"cancel_at": ""})
    return DONE


def _subscription(world: World, session: Json, id: str) -> Json:
    subscription = world.get("subscription", id, param="subscription")
    if subscription["customer"] != session["customer"] or subscription["status"] in lifecycle.ENDED:
        raise errors.missing(kind="subscription", id=id, param="subscription")
    return subscription


def _need(world: World, session: Json, feature: str) -> Json:
    found: Json = features_of(world, session)[feature]
    if not found["enabled"]:
        message = f"The portal configuration does not enable `{feature}`; update it to allow this."
        raise errors.invalid("session", message)
    return found


def configuration_of(world: World, session: Json) -> Json:
    return world.get(configurations.KIND, session["configuration"])


def way_back(session: Json) -> str | None:
    """Where the customer goes when their flow is through; None: they stay in the portal."""
    flow = session["flow"]
    if flow is not None and flow["after_completion"]["type"] == "redirect":
        return str(flow["after_completion"]["redirect"]["return_url"])
    return None


def flow_of(session: Json) -> str | None:
    return str(session["flow"]["type"]) if session["flow"] is not None else None


def subject_of(session: Json) -> str | None:
    """The subscription a session's flow is about."""
    kind = flow_of(session)
    about = session["flow"][kind] if kind in sessions.FLOW_FIELDS else None
    return about and str(about["subscription"])
