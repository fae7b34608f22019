"""The page of a Checkout Session: what is bought, and buttons for the ways a payment can go."""

from __future__ import annotations

from html import escape

from paygrade.simulator import errors
from paygrade.simulator.checkout import ordering, paying, payment_links, sessions
from paygrade.simulator.forms import Json
from paygrade.simulator.http.pages import html
from paygrade.simulator.http.pages.cards import BANK_BUTTONS, CARD_BUTTONS
from paygrade.simulator.state.visits import Checkout
from paygrade.simulator.world import World

TITLES = {"payment": "Pay {}", "setup": "Save a payment method", "subscription": "Subscribe to {}"}
SAVED_MAX = 3
Form = dict[str, str]


def show(world: World, session: Json, *, message: str | None = None) -> tuple[int, str]:
    checkout = world.checkouts[session["id"]]
    if session["status"] == "complete":
        words = payment_links.thanks(world, session)
        return html.layout("All done", f"<p>{escape(words)}</p>" if words else "", _after(session, "Continue"))
    if session["status"] == "expired":
        return html.layout("This page has expired", _after(session, "Go back"), status=410)
    if waits(world, checkout):
        return html.challenge(session["amount_total"], session["currency"])
    body = [
        html.said(message or checkout.message),
        _bought(session, checkout),
        html.form(
            *_asked(world, session, checkout),
            *_ways(world, session, checkout),
        ),
        html.link("Go back without buying", session["cancel_url"]) if session["cancel_url"] else "",
        html.form(html.button("Let this page expire", "expire")),
    ]
    return html.layout(_title(session, checkout), *body, status=400 if message else 200)


def act(world: World, session: Json, typed: Form) -> str | None:
    """Do what the customer asked for; give where they go, or None: they stay at the page."""
    action = typed.get("action", "")
    checkout = world.checkouts[session["id"]]
    if action in ("confirm", "refuse"):
        attempt = paying.authenticate(world, session, succeeds=action == "confirm")
    elif action == "expire":
        sessions.expire(world, session["id"], {})
        return sessions.address_of(session, cancels=True)
    elif action == "reorder":
        ordering.reorder(world, session, quantities=_quantities(checkout, typed), code=typed.get("code", "").strip())
        return None
    elif action.startswith("pay:"):
        ordering.reorder(world, session, quantities=_quantities(checkout, typed), code=typed.get("code", "").strip())
        details = {name: value.strip() for name, value in typed.items() if value.strip() and name != "action"}
        attempt = paying.submit(world, session, method=action.removeprefix("pay:") or None, details=details)
    else:
        raise errors.invalid("action", "Choose one of the buttons.")
    return sessions.address_of(session, cancels=False) if attempt.outcome == "complete" else None


def waits(world: World, checkout: Checkout) -> bool:
    """Tell whether the customer has to confirm with their bank."""
    intent = world.objects.get(checkout.intent or "")
    return intent is not None and intent["status"] == "requires_action"


def _quantities(checkout: Checkout, typed: Form) -> dict[str, str]:
    return {item["id"]: typed[name] for item in checkout.line_items if (name := f"quantity_{item['id']}") in typed}


def _title(session: Json, checkout: Checkout) -> str:
    if session["mode"] == "payment":
        return TITLES["payment"].format(html.money(session["amount_total"], session["currency"]))
    names = [item["description"] for item in checkout.line_items if item["price"]["recurring"] is not None]
    return TITLES[session["mode"]].format(" and ".join(names[:2]))


def _after(session: Json, text: str) -> str:
    target = sessions.address_of(session, cancels=session["status"] == "expired")
    return html.link(text, target) if target else "<p>You can close this page.</p>"


def _bought(session: Json, checkout: Checkout) -> str:
    if session["mode"] == "setup":
        return "<p>Nothing is charged now.</p>"
    currency = session["currency"]
    rows = [(_line(item), html.money(item["amount_subtotal"], currency)) for item in checkout.line_items]
    if off := session["total_details"]["amount_discount"]:
        rows.append(("Discount", html.money(-off, currency)))
    if tax := session["total_details"]["amount_tax"]:
        rows.append(("Tax", html.money(tax, currency)))
    total = ("Due today", html.money(session["amount_total"], currency))
    return html.section("What you buy", html.sums(rows, total=total), _later(checkout))


def _line(item: Json) -> str:
    price, quantity = item["price"], item["quantity"]
    times = f" × {quantity}" if quantity not in (None, 1) else ""
    later = f", {html.cost(price, quantity)}" if price["recurring"] is not None else ""
    return f"{item['description']}{times}{later}"


def _later(checkout: Checkout) -> str:
    """When the first payment follows, where nothing is due for a trial."""
    data = checkout.wanted.get("subscription_data") or {}
    if days := data.get("trial_period_days"):
        return f"<p class=soft>The first payment follows after {escape(str(days))} days of trial.</p>"
    if data.get("trial_end"):
        return f"<p class=soft>The first payment follows on {html.day(int(data['trial_end']))}.</p>"
    return ""


def _asked(world: World, session: Json, checkout: Checkout) -> list[str]:
    """The fields the customer fills in."""
    known = session["customer_details"] or {}
    parts = []
    if known.get("email"):
        parts.append(f"<p>{escape(known['email'])}</p>")
    else:
        typed = checkout.details.get("email", "")
        parts.append(
            html.field("email", "Email", value=typed, type="email", required=True, extra=" autocomplete=email")
        )
    if session["customer"] is None:
        name = checkout.details.get("name", "")
        parts.append(html.field("name", "Name", value=name, extra=" autocomplete=name"))
    if session["automatic_tax"]["status"] == "requires_location_inputs":
        countries = [("US", "United States"), ("GB", "United Kingdom"), ("DE", "Germany"), ("FR", "France")]
        parts.append(html.choice("country", "Country", countries))
        parts.append(html.field("postal_code", "Postal code", required=True, extra=" autocomplete=postal-code"))
    if (session["phone_number_collection"] or {}).get("enabled"):
        parts.append(html.field("phone", "Phone", type="tel", required=True, extra=" autocomplete=tel"))
    parts += [_custom(field) for field in session["custom_fields"]]
    reorders = [_quantity(item) for item in checkout.line_items if (item["adjustable_quantity"] or {}).get("enabled")]
    if session["allow_promotion_codes"]:
        reorders.append(html.field("code", "Promotion code", value=ordering.code_of(world, checkout)))
    if reorders:
        parts += [*reorders, html.button("Update the order", "reorder", skips_checks=True)]
    if (session["consent_collection"] or {}).get("terms_of_service") == "required":
        parts.append(html.tick("terms", "I agree to the terms of service."))
    return parts


def _custom(field: Json) -> str:
    name, label, kind = f"field_{field['key']}", field["label"]["custom"], field["type"]
    default = field[kind]["default_value"]
    if kind == "dropdown":
        return html.choice(name, label, [(o["value"], o["label"]) for o in field[kind]["options"]], chosen=default)
    digits = " inputmode=numeric pattern='[0-9]*'" if kind == "numeric" else ""
    return html.field(name, label, value=default or "", required=not field["optional"], extra=digits)


def _quantity(item: Json) -> str:
    bounds = item["adjustable_quantity"]
    extra = f" min={bounds['minimum']} max={bounds['maximum']}"
    label = f"How many of {item['description']}"
    return html.field(
        f"quantity_{item['id']}", label, value=item["quantity"], type="number", required=True, extra=extra
    )


def _ways(world: World, session: Json, checkout: Checkout) -> list[str]:
    if not sessions.asks_for_card(session):
        return [html.button("Continue without a card", "pay:", main=True)]
    customer = checkout.customer or session["customer"]
    saved = world.owned("payment_method", customer)[:SAVED_MAX] if customer else []
    buttons = [(f"Pay with your {html.card(method)}", f"pay:{method['id']}") for method in saved]
    takes = (
        session["payment_method_types"] if "payment_method_types" in checkout.wanted else ["card", "us_bank_account"]
    )
    if "card" in takes:
        buttons += [(text, f"pay:{id}") for text, id in CARD_BUTTONS]
    if "us_bank_account" in takes and session["currency"] in (None, "usd"):
        buttons += [(text, f"pay:{id}") for text, id in BANK_BUTTONS]
    drawn = [html.button(text, action, main=n == 0) for n, (text, action) in enumerate(buttons)]
    return [f"<fieldset><legend>How you pay</legend>{''.join(drawn)}</fieldset>"]
