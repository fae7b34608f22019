"""The customer portal's page: plans, cancellation, the card that pays, invoices; or one flow of these alone."""

from __future__ import annotations

from html import escape

from paygrade.simulator import errors
from paygrade.simulator.forms import Json
from paygrade.simulator.http.pages import html
from paygrade.simulator.http.pages.cards import CARD_BUTTONS
from paygrade.simulator.portal import acting
from paygrade.simulator.state.visits import Attempt
from paygrade.simulator.world import World

Form = dict[str, str]
INVOICES_MAX = 24
WHY = {
    "too_expensive": "It's too expensive",
    "missing_features": "I need more features",
    "switched_service": "I found an alternative",
    "unused": "I no longer need it",
    "customer_service": "Customer service was less than expected",
    "too_complex": "Ease of use was less than expected",
    "low_quality": "Quality was less than expected",
    "other": "Other reason",
}


def show(world: World, session: Json, *, message: str | None = None) -> tuple[int, str]:
    visit = world.portal_visits[session["id"]]
    intent = world.objects.get(visit.intent or "")
    if intent is not None and intent["status"] == "requires_action":
        return html.challenge(intent.get("amount"), intent.get("currency"))
    told = html.said(message) or html.said(visit.message, good=visit.done)
    flow = acting.flow_of(session)
    if flow is not None and not visit.done:
        title, body = _FLOWS[flow](world, session)
        return html.layout(title, told, body, _back(session), status=400 if message else 200)
    if visit.done and flow is not None and session["flow"]["after_completion"]["type"] == "hosted_confirmation":
        custom = session["flow"]["after_completion"]["hosted_confirmation"]["custom_message"]
        return html.layout("All done", html.said(custom or visit.message, good=True), _back(session))
    features = acting.features_of(world, session)
    parts = [_subscription(world, session, one) for one in acting.live_subscriptions(world, session)]
    if not parts:
        parts = [html.section("Subscriptions", "<p>None at the moment.</p>")]
    if features["payment_method_update"]["enabled"]:
        parts.append(html.section("Payment method", _card_now(world, session), _card_form()))
    if features["customer_update"]["enabled"]:
        parts.append(_details(world, session, features["customer_update"]["allowed_updates"]))
    if features["invoice_history"]["enabled"]:
        parts.append(html.section("Invoices", _invoices(world, session)))
    return html.layout("Your subscription and billing", told, *parts, _back(session), status=400 if message else 200)


def act(world: World, session: Json, typed: Form) -> str | None:
    """Do what the customer asked for; give where they go, or None: they stay in the portal."""
    visit = world.portal_visits[session["id"]]
    visit.message = None
    attempt = _do(world, session, typed)
    visit.done = attempt.outcome == "complete"
    if attempt.outcome == "complete":
        visit.message = "Your change is made."
        return acting.way_back(session)
    visit.message = attempt.message
    return None


def _do(world: World, session: Json, typed: Form) -> Attempt:
    action, id = typed.get("action", ""), typed.get("subscription", "")
    if action in ("confirm", "refuse"):
        return acting.authenticate(world, session, succeeds=action == "confirm")
    if action.startswith("card:"):
        return acting.set_card(world, session, action.removeprefix("card:"))
    if action == "plan":
        quantity = typed.get("quantity", "")
        if quantity and (not quantity.isdecimal() or len(quantity) > 6):
            raise errors.invalid("quantity", "The quantity is a whole number.")
        wanted = int(quantity) if quantity else None
        return acting.change_plan(world, session, id, price=typed.get("price") or None, quantity=wanted)
    if action == "confirm_plan":
        return confirm_plan(world, session)
    if action == "cancel":
        feedback = typed.get("feedback") or None
        return acting.cancel(world, session, id, feedback=feedback if feedback in WHY else None)
    if action == "stay":
        return acting.stay(world, session, id)
    if action == "details":
        return acting.update_details(world, session, {name: typed[name] for name in ("email", "name") if name in typed})
    raise errors.invalid("action", "Choose one of the buttons.")


def confirm_plan(world: World, session: Json) -> Attempt:
    """Make the change that the session's flow asks to confirm."""
    confirm = session["flow"] and session["flow"]["subscription_update_confirm"]
    if not confirm:
        raise errors.invalid("session", "This portal session has no change to confirm.")
    [item] = confirm["items"]
    return acting.change_plan(
        world, session, confirm["subscription"], price=item["price"], quantity=item["quantity"], item=item["id"]
    )


def _back(session: Json) -> str:
    return html.link("Go back", session["return_url"]) if session["return_url"] else ""


def _subject(world: World, session: Json) -> Json:
    subscription: Json = world.objects[acting.subject_of(session) or ""]
    return subscription


def _name(world: World, subscription: Json) -> str:
    products = [world.objects[item["price"]["product"]]["name"] for item in subscription["items"]["data"]]
    return " and ".join(products[:2])


def _subscription(world: World, session: Json, subscription: Json) -> str:
    features = acting.features_of(world, session)
    rows = [
        (world.objects[item["price"]["product"]]["name"] + _times(item), html.cost(item["price"], item["quantity"]))
        for item in subscription["items"]["data"]
    ]
    parts = [html.sums(rows), f"<p class=soft>{escape(_state(subscription))}</p>"]
    if features["subscription_update"]["enabled"] and len(subscription["items"]["data"]) == 1:
        parts.append(_plan_form(world, session, subscription))
    if features["subscription_cancel"]["enabled"]:
        ends = subscription["cancel_at"] is not None
        parts.append(_stay_form(subscription) if ends else _cancel_form(world, session, subscription))
    return html.section(_name(world, subscription), *parts)


def _times(item: Json) -> str:
    return f" × {item['quantity']}" if item["quantity"] not in (None, 1) else ""


def _state(subscription: Json) -> str:
    end = min(item["current_period_end"] for item in subscription["items"]["data"])
    if subscription["cancel_at"] is not None:
        return f"Ends on {html.day(subscription['cancel_at'])}."
    if subscription["status"] == "trialing":
        return f"In trial until {html.day(subscription['trial_end'])}."
    if subscription["status"] in ("past_due", "unpaid", "incomplete"):
        return "A payment is due: see your invoices below."
    return f"Renews on {html.day(end)}."


def _about(subscription: Json) -> str:
    return f"<input type=hidden name=subscription value='{escape(subscription['id'])}'>"


def _plan_form(world: World, session: Json, subscription: Json) -> str:
    allowed = acting.features_of(world, session)["subscription_update"]["default_allowed_updates"]
    [item] = subscription["items"]["data"]
    parts = [_about(subscription)]
    if "price" in allowed:
        offered = [item["price"], *(p for p in acting.prices_for(world, session) if p["id"] != item["price"]["id"])]
        options = [(p["id"], f"{world.objects[p['product']]['name']}, {html.cost(p, 1)}") for p in offered]
        parts.append(html.choice("price", "Plan", options, chosen=item["price"]["id"], of=item["id"]))
    if "quantity" in allowed and item["quantity"] is not None:
        parts.append(
            html.field(
                "quantity",
                "Quantity",
                value=item["quantity"],
                type="number",
                required=True,
                extra=" min=1",
                of=item["id"],
            )
        )
    return html.form(*parts, html.button("Change the plan", "plan", main=True)) if len(parts) > 1 else ""


def _cancel_form(world: World, session: Json, subscription: Json, *, main: bool = False) -> str:
    feature = acting.features_of(world, session)["subscription_cancel"]
    parts = [_about(subscription)]
    if feature["cancellation_reason"]["enabled"]:
        options = [("", "Prefer not to say"), *((why, WHY[why]) for why in feature["cancellation_reason"]["options"])]
        parts.append(html.choice("feedback", "Why do you cancel?", options, of=subscription["id"]))
    now = feature["mode"] == "immediately"
    return html.form(*parts, html.button(f"Cancel {'now' if now else 'at the end of the period'}", "cancel", main=main))


def _stay_form(subscription: Json) -> str:
    return html.form(_about(subscription), html.button("Don't cancel", "stay", main=True))


def _card_now(world: World, session: Json) -> str:
    default = world.objects[session["customer"]]["invoice_settings"]["default_payment_method"]
    method = world.find("payment_method", default)
    return f"<p>{escape(html.card(method))}</p>" if method is not None else "<p>No default card yet.</p>"


def _card_form() -> str:
    drawn = [html.button(text, f"card:{id}") for text, id in CARD_BUTTONS]
    return html.form(f"<fieldset><legend>Pay from now on with</legend>{''.join(drawn)}</fieldset>")


def _details(world: World, session: Json, allowed: list[str]) -> str:
    customer = world.objects[session["customer"]]
    parts = []
    if "email" in allowed:
        parts.append(html.field("email", "Email", value=customer["email"], type="email", extra=" autocomplete=email"))
    if "name" in allowed:
        parts.append(html.field("name", "Name", value=customer["name"], extra=" autocomplete=name"))
    return html.section("Your details", html.form(*parts, html.button("Save", "details"))) if parts else ""


def _invoices(world: World, session: Json) -> str:
    made = [one for one in world.owned("invoice", session["customer"]) if one["status"] != "draft"][:INVOICES_MAX]
    rows = "".join(
        f"<tr><td>{html.link(invoice['number'], invoice['hosted_invoice_url'], as_button=False)}<br>"
        f"<small>{html.day(invoice['created'])}, {escape(invoice['status'])}</small></td>"
        f"<td>{html.money(invoice['total'], invoice['currency'])}</td></tr>"
        for invoice in made
    )
    return f"<table>{rows}</table>" if rows else "<p>None yet.</p>"


def _update_card(_world: World, _session: Json) -> tuple[str, str]:
    return "Change your payment method", _card_form()


def _cancel(world: World, session: Json) -> tuple[str, str]:
    subscription = _subject(world, session)
    return f"Cancel {_name(world, subscription)}?", _cancel_form(world, session, subscription, main=True)


def _update_plan(world: World, session: Json) -> tuple[str, str]:
    return "Change your plan", _plan_form(world, session, _subject(world, session))


def _confirm_plan(world: World, session: Json) -> tuple[str, str]:
    subscription = _subject(world, session)
    [wanted] = session["flow"]["subscription_update_confirm"]["items"]
    items = {item["id"]: item for item in subscription["items"]["data"]}
    item = items[wanted["id"]]
    price = world.objects[wanted["price"]] if wanted["price"] else item["price"]
    quantity = item["quantity"] if wanted["quantity"] is None else wanted["quantity"]
    rows = [
        ("Now", html.cost(item["price"], item["quantity"])),
        (
            f"Then: {world.objects[price['product']]['name']}{_times({'quantity': quantity})}",
            html.cost(price, quantity),
        ),
    ]
    confirm = html.form(html.button("Confirm the change", "confirm_plan", main=True))
    return "Confirm the change of your plan", html.section("Your plan", html.sums(rows)) + confirm


_FLOWS = {
    "payment_method_update": _update_card,
    "subscription_cancel": _cancel,
    "subscription_update": _update_plan,
    "subscription_update_confirm": _confirm_plan,
}
