"""Requests that make, read and end Checkout Sessions; `paying` plays the customer who is at the page.

Laws. A session is open until it is complete or expired, and neither is ever undone. It sells nothing before it is
complete but what an attempt to pay has begun: a subscription that is `incomplete`. (Stripe docs: the Checkout
Session object.)
"""

from __future__ import annotations

from typing import Any

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import sums
from paygrade.simulator.checkout import line_items
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import checkout as shapes
from paygrade.simulator.state.visits import Checkout
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

KIND = "checkout.session"
URL = "/v1/checkout/sessions"
MODES = ("payment", "setup", "subscription")
UI_MODES = ("elements", "embedded_page", "form", "hosted_page")
LIFE_MIN_S, LIFE_MAX_S = 30 * cycles.MINUTE_S, 24 * cycles.HOUR_S  # Stripe docs: expires_at
LONGEST_TRIAL_DAYS = 730
CUSTOM_FIELDS_MAX = 3
RECOVERY_S = 30 * cycles.DAY_S  # Stripe docs: recover abandoned carts
TEMPLATE = "{CHECKOUT_SESSION_ID}"

# Shown on the session as they came; they change what Stripe's page looks like or asks for.
SHOWN = frozenset(
    {
        "billing_address_collection",
        "consent_collection",
        "custom_text",
        "locale",
        "name_collection",
        "origin_context",
        "phone_number_collection",
        "redirect_on_completion",
        "saved_payment_method_options",
        "submit_type",
        "wallet_options",
    }
)
# The parts of these that were not sent are shown as well.
WHOLE: dict[str, Json] = {
    "consent_collection": dict.fromkeys(("payment_method_reuse_agreement", "promotions", "terms_of_service")),
    "custom_text": dict.fromkeys(("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")),
    "saved_payment_method_options": dict.fromkeys(
        ("allow_redisplay_filters", "payment_method_remove", "payment_method_save")
    ),
}
TAKEN = SHOWN | {
    "adaptive_pricing",
    "after_expiration",
    "allow_promotion_codes",
    "automatic_tax",
    "cancel_url",
    "client_reference_id",
    "currency",
    "custom_fields",
    "customer",
    "customer_creation",
    "customer_email",
    "customer_update",
    "discounts",
    "expand",
    "expires_at",
    "invoice_creation",
    "line_items",
    "metadata",
    "mode",
    "payment_intent_data",
    "payment_method_collection",
    "payment_method_data",
    "payment_method_options",
    "payment_method_types",
    "return_url",
    "setup_intent_data",
    "subscription_data",
    "success_url",
    "tax_id_collection",
    "ui_mode",
}
DATA_FIELDS = {
    "subscription_data": frozenset(line_items.PASSED_ON),
    "payment_intent_data": frozenset({"description", "metadata", "receipt_email", "setup_future_usage"}),
    "setup_intent_data": frozenset({"description", "metadata"}),
}
MODE_OF_DATA = {"subscription_data": "subscription", "payment_intent_data": "payment", "setup_intent_data": "setup"}


def create(world: World, params: Json) -> Json:
    session, checkout = prepare(world, params)
    if session["ui_mode"] == "hosted_page":
        session["url"] = f"{world.base_url}/c/pay/{session['id']}"
    else:
        session["client_secret"] = f"{session['id']}_secret_{world.new_id('s', length=24)[2:]}"
    world.checkouts[session["id"]] = checkout
    world.schedule(session["expires_at"], "expire_checkout", session["id"])
    return world.put(session, *filter(None, [session["customer"]]))


def prepare(world: World, params: Json) -> tuple[Json, Checkout]:
    """Work out a session and what it sells, without opening it; what is priced inline is made."""
    forms.check_known(params, TAKEN)
    mode = forms.read_choice(params, "mode", MODES) or _mode_missing()
    customer = _read_customer(world, params)
    _refuse_data_of_another_mode(params, mode)
    _refuse_untaxable(params, customer)
    urls = _read_urls(params)
    expires_at = _read_expiry(world, params)
    sold, rates = line_items.read(world, params, mode=mode) if mode != "setup" else (_no_line_items(params), {})
    checkout = Checkout(
        wanted=params,
        line_items=sold,
        rates=rates,
        discounts=_read_discounts(params),
        customer=customer["id"] if customer is not None else None,
    )
    session = shapes.session(
        id=world.new_id("cs_test", length=58),
        at=world.at,
        mode=mode,
        expires_at=expires_at,
        customer=checkout.customer,
        customer_email=forms.read_text(params, "customer_email") or None,
        client_reference_id=forms.read_text(params, "client_reference_id") or None,
        metadata=forms.merge_metadata({}, params),
        **urls,
    )
    _set_modes(session, params)
    session["after_expiration"] = _read_recovery(params)
    _show(session, params)
    price_up(world, session, checkout)
    session["customer_details"] = customer_details(world, session, checkout)
    return session, checkout


def price_up(world: World, session: Json, checkout: Checkout) -> None:
    """Write onto a session and its line items what is due today."""
    if session["mode"] == "setup":
        return
    customer = world.find("customer", checkout.customer)
    if line_items.taxes_itself(checkout):
        payer = line_items.payer_of(checkout, customer)
        taxed = sums.automatic_tax(payer, enabled=True)
        session["automatic_tax"] = {name: taxed[name] for name in session["automatic_tax"]}
    due = line_items.due_today(world, checkout, customer=customer, mode=session["mode"])
    for item, (amount, off, tax) in zip(checkout.line_items, due.parts, strict=True):
        item.update(currency=due.currency, amount_subtotal=amount, amount_discount=off, amount_tax=tax)
        item["amount_total"] = amount - off + tax
    off = sum(one["amount"] for one in due.discounts)
    session.update(
        currency=due.currency,
        amount_subtotal=due.subtotal,
        amount_total=due.total,
        total_details={"amount_discount": off, "amount_shipping": 0, "amount_tax": due.tax},
        discounts=[
            {
                "coupon": None if one["discount"]["promotion_code"] else one["discount"]["source"]["coupon"],
                "promotion_code": one["discount"]["promotion_code"],
            }
            for one in due.discounts
        ],
    )


def retrieve_line_items(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"limit", "starting_after", "ending_before", "expand"}))
    world.get(KIND, id)
    return line_items_of(world, id)


def line_items_of(world: World, id: str) -> Json:
    """All line items of a session: at most 100, on one page."""
    data = world.checkouts[id].line_items
    return {"object": "list", "data": data, "has_more": False, "url": f"{URL}/{id}/line_items"}


def update(world: World, id: str, params: Json) -> Json:
    """Change what may change after a session was made: metadata, and quantities of an open one."""
    forms.check_known(params, frozenset({"expand", "metadata"}))
    session = world.get(KIND, id)
    session["metadata"] = forms.merge_metadata(session["metadata"], params)
    return session


def expire(world: World, id: str, params: Json) -> Json:
    """End an open session, as the merchant may at any time."""
    forms.check_known(params, frozenset({"expand"}))
    session = world.get(KIND, id)
    if session["status"] != "open":
        message = f"Only open Checkout Sessions can be expired; this one has a status of `{session['status']}`."
        raise errors.invalid("session", message)
    _end(world, session)
    return session


def expire_due(world: World, session: Json) -> None:
    if session["status"] == "open" and session["expires_at"] == world.at:
        _end(world, session)


def _end(world: World, session: Json) -> None:
    session.update(status="expired", url=None)
    if session["after_expiration"] is not None:
        address = f"{world.base_url}/c/recover/{session['id']}"
        session["after_expiration"]["recovery"].update(url=address, expires_at=world.at + RECOVERY_S)
    world.emit("checkout.session.expired", session)


def recover(world: World, expired: Json) -> Json:
    """Open the same session again, for a customer who comes back to one that expired."""
    recovery = (expired["after_expiration"] or {}).get("recovery")
    if expired["status"] != "expired" or not recovery or recovery["expires_at"] <= world.at:
        raise errors.invalid("session", "This Checkout Session can't be recovered.")
    wanted = {name: value for name, value in world.checkouts[expired["id"]].wanted.items() if name != "expires_at"}
    if recovery["allow_promotion_codes"] and "discounts" not in wanted:
        wanted["allow_promotion_codes"] = "true"
    session = create(world, wanted)
    session["recovered_from"] = expired["id"]
    return session


def _read_recovery(params: Json) -> Json | None:
    wanted = forms.read_object(forms.read_object(params, "after_expiration"), "recovery")
    if not forms.read_bool(wanted, "enabled"):
        return None
    codes = bool(forms.read_bool(wanted, "allow_promotion_codes"))
    return {"recovery": {"allow_promotion_codes": codes, "enabled": True, "expires_at": None, "url": None}}


def address_of(session: Json, *, cancels: bool) -> str | None:
    """Give where the page sends the customer: back, or on to the merchant's own page with the session's id."""
    if cancels:
        return session["cancel_url"] and str(session["cancel_url"])
    target = session["success_url"] or session.get("return_url")
    return target and str(target).replace(TEMPLATE, session["id"])


def _mode_missing() -> str:
    raise errors.missing_parameter("mode")


def _no_line_items(params: Json) -> list[Json]:
    if "line_items" in params:
        raise errors.invalid("line_items", "You can not pass `line_items` in `setup` mode.")
    return []


def _read_customer(world: World, params: Json) -> Json | None:
    if "customer" in params and "customer_email" in params:
        message = "You may only specify one of these parameters: customer, customer_email."
        raise errors.invalid("customer_email", message)
    id = forms.read_text(params, "customer")
    return world.live_customer(id) if id else None


def _refuse_data_of_another_mode(params: Json, mode: str) -> None:
    for name, its_mode in MODE_OF_DATA.items():
        data = forms.read_object(params, name)
        if data and mode != its_mode:
            raise errors.invalid(name, f"You can not pass `{name}` in `{mode}` mode.")
        forms.check_known(data, DATA_FIELDS[name], within=name)
    days = forms.read_int(forms.read_object(params, "subscription_data"), "trial_period_days")
    if days is not None and not 1 <= days <= LONGEST_TRIAL_DAYS:
        message = f"The number of free trial period days must be between 1 and {LONGEST_TRIAL_DAYS}."
        raise errors.invalid("subscription_data[trial_period_days]", message)
    if set(forms.read_list(params, "payment_method_types")) - {"card", "us_bank_account"}:
        raise errors.invalid("payment_method_types", "The simulator takes `card` and `us_bank_account` only.")


def _refuse_untaxable(params: Json, customer: Json | None) -> None:
    """Refuse automatic tax for a customer whose place is unknown and, by the session, not to be changed."""
    saves = forms.read_object(params, "customer_update")
    forms.check_known(saves, frozenset({"address", "name", "shipping"}), within="customer_update")
    if saves and customer is None:
        raise errors.invalid("customer_update", "`customer_update` can only be used with `customer`.")
    if sums.read_automatic(params) and customer is not None and saves.get("address") != "auto":
        sums.refuse_unlocated(customer)


def _read_urls(params: Json) -> Json:
    ui_mode = forms.read_choice(params, "ui_mode", UI_MODES) or "hosted_page"
    hosted = ui_mode == "hosted_page"
    for name in ("success_url", "cancel_url", "return_url"):
        url = forms.read_text(params, name)
        if url and not url.startswith(("http://", "https://")):
            message = "Not a valid URL. URLs must begin with `http://` or `https://`."
            raise errors.invalid(name, message, code="url_invalid")
        if url and (name == "return_url") == hosted:
            raise errors.invalid(name, f"`{name}` can not be used with `ui_mode={ui_mode}`.")
    if hosted:
        forms.read_required(params, "success_url")
    urls = {name: forms.read_text(params, name) or None for name in ("success_url", "cancel_url", "return_url")}
    if hosted:
        del urls["return_url"]
    else:
        urls["redirect_on_completion"] = "always"
    return {"ui_mode": ui_mode, **urls}


def _read_expiry(world: World, params: Json) -> int:
    wanted = forms.read_int(params, "expires_at")
    if wanted is None:
        return world.at + LIFE_MAX_S
    if not LIFE_MIN_S <= wanted - world.at <= LIFE_MAX_S:
        message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation."
        raise errors.invalid("expires_at", message)
    return wanted


def _read_discounts(params: Json) -> list[Json]:
    wanted = forms.read_objects(params, "discounts")
    if len(wanted) > 1:
        raise errors.invalid("discounts", "You may pass up to 1 discount.")
    for one in wanted:
        forms.check_known(one, frozenset({"coupon", "promotion_code"}), within="discounts[0]")
    if wanted and forms.read_bool(params, "allow_promotion_codes"):
        message = "You may only specify one of these parameters: allow_promotion_codes, discounts."
        raise errors.invalid("allow_promotion_codes", message)
    return wanted


def _set_modes(session: Json, params: Json) -> None:
    """Set the fields whose meaning hangs on the session's mode."""
    mode = session["mode"]
    collects = forms.read_choice(params, "payment_method_collection", ("always", "if_required"))
    if collects and mode != "subscription":
        raise errors.invalid("payment_method_collection", "You can only set this in `subscription` mode.")
    session["payment_method_collection"] = collects or ("if_required" if mode == "payment" else "always")
    creates = forms.read_choice(params, "customer_creation", ("always", "if_required"))
    if creates and (mode == "subscription" or session["customer"]):
        message = "`customer_creation` can only be used in `payment` and `setup` mode, without a `customer`."
        raise errors.invalid("customer_creation", message)
    if session["customer"] is None:
        session["customer_creation"] = creates or ("always" if mode == "subscription" else "if_required")
    if mode == "setup":
        session.update(payment_status="no_payment_required", currency=forms.read_text(params, "currency") or None)
    if mode == "payment":
        wanted = forms.read_object(params, "invoice_creation")
        forms.check_known(wanted, frozenset({"enabled", "invoice_data"}), within="invoice_creation")
        data = forms.read_object(wanted, "invoice_data")
        forms.check_known(
            data, frozenset({"description", "footer", "metadata"}), within="invoice_creation[invoice_data]"
        )
        enabled = bool(forms.read_bool(wanted, "enabled"))
        session["invoice_creation"] = shapes.invoice_creation(enabled=enabled, **data)
    types = forms.read_list(params, "payment_method_types")
    session["payment_method_types"] = types or ["card"]


def _show(session: Json, params: Json) -> None:
    fields = forms.read_objects(params, "custom_fields")
    if len(fields) > CUSTOM_FIELDS_MAX:
        raise errors.invalid("custom_fields", f"You may pass up to {CUSTOM_FIELDS_MAX} custom fields.")
    for name in SHOWN & set(params):
        session[name] = {**WHOLE.get(name, {}), **shown} if isinstance(shown := _typed(params[name]), dict) else shown
    session["allow_promotion_codes"] = forms.read_bool(params, "allow_promotion_codes")
    session["custom_fields"] = [_read_field(one, param=f"custom_fields[{n}]") for n, one in enumerate(fields)]


def _read_field(wanted: Json, *, param: str) -> Json:
    kind = forms.read_choice(wanted, "type", ("dropdown", "numeric", "text"))
    if kind is None:
        raise errors.missing_parameter(f"{param}[type]")
    label = forms.read_required(forms.read_object(wanted, "label"), "custom")
    told = forms.read_object(wanted, kind)
    details: Json = {"default_value": told.get("default_value") or None, "value": None}
    if kind == "dropdown":
        details["options"] = [
            {name: one.get(name) for name in ("label", "value")} for one in forms.read_objects(told, "options")
        ]
    else:
        details.update({name: forms.read_int(told, name) for name in ("maximum_length", "minimum_length")})
    return {
        "key": forms.read_required(wanted, "key"),
        "label": {"custom": label, "type": "custom"},
        "optional": bool(forms.read_bool(wanted, "optional")),
        "type": kind,
        kind: details,
    }


def _typed(value: Any) -> Any:
    """Give a parameter as Stripe shows it: truth as truth, absent inside of objects as it came."""
    match value:
        case dict():
            return {name: _typed(inner) for name, inner in value.items()}
        case list():
            return [_typed(inner) for inner in value]
        case "true" | "false":
            return value == "true"
        case "":
            return None
        case _:
            return value


def customer_details(world: World, session: Json, checkout: Checkout) -> Json | None:
    """Who buys, as far as it is known; None: nobody knows them before they are at the page."""
    customer = world.find("customer", checkout.customer) or {}
    known = {name: customer.get(name) or checkout.details.get(name) for name in ("email", "name", "phone")}
    email = session["customer_email"] or known["email"]
    if email is None and not customer:
        return None
    return shapes.customer_details(
        email=email, name=known["name"], address=customer.get("address"), phone=known["phone"]
    )


def asks_for_card(session: Json) -> bool:
    """Tell whether the page asks for a payment method even where nothing is due."""
    return session["payment_method_collection"] == "always" or bool(session["amount_total"])
