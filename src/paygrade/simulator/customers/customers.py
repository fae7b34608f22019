"""Customers and their payment methods."""

from __future__ import annotations

import re

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import lifecycle
from paygrade.simulator.customers import tax_ids
from paygrade.simulator.forms import Json
from paygrade.simulator.payments import balances, payments
from paygrade.simulator.shapes import customers as customer_shapes
from paygrade.simulator.state.cards import card_of_number, magic_card
from paygrade.simulator.world import World

EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
TEXTS = ("name", "email", "description", "phone")
CUSTOMER_FIELDS = frozenset(
    {
        *TEXTS,
        "tax",
        "tax_exempt",
        "invoice_prefix",
        "next_invoice_sequence",
        "address",
        "balance",
        "invoice_settings",
        "metadata",
        "preferred_locales",
        "shipping",
        "expand",
    }
)
CREATE_FIELDS = CUSTOMER_FIELDS | {"payment_method", "tax_id_data", "test_clock"}
PREFIX = re.compile(r"[A-Z0-9]{3,12}")
TAX_IDS_MAX = 5
METHOD_UPDATE_FIELDS = frozenset({"allow_redisplay", "billing_details", "card", "expand", "metadata"})
PAYMENT_METHOD_FIELDS = METHOD_UPDATE_FIELDS | {"type"}
EXPIRY = frozenset({"exp_month", "exp_year"})
BILLING_DETAILS = frozenset({"address", "email", "name", "phone", "tax_id"})


def create_customer(world: World, params: Json) -> Json:
    forms.check_known(params, CREATE_FIELDS)
    _refuse_email(params)
    tax_data = forms.read_objects(params, "tax_id_data")
    if len(tax_data) > TAX_IDS_MAX:
        raise errors.invalid("tax_id_data", f"You may pass up to {TAX_IDS_MAX} tax ids.")
    prefix = world.new_id("p", length=8)[2:].upper()
    clock = _read_clock(world, params)
    customer = customer_shapes.customer(id=world.new_id("cus", length=14), at=world.at, prefix=prefix, test_clock=clock)
    attached = None
    if id := forms.read_text(params, "payment_method"):
        attached = payments.attach(world, id, customer=customer, param="payment_method")
        wanted = forms.read_object(params, "invoice_settings")
        if wanted.get("default_payment_method") == id:
            wanted["default_payment_method"] = attached["id"]  # the magic id names the one just made
    _set_customer(world, customer, params)
    world.emit("customer.created", world.put(customer, *filter(None, [clock])))
    for one in tax_data:
        tax_ids.create_of_customer(world, customer["id"], one)
    return customer


def _refuse_email(params: Json) -> None:
    email = forms.read_text(params, "email")
    if email and not EMAIL.fullmatch(email):
        raise errors.invalid("email", f"Invalid email address: {email}", code="email_invalid")


def _read_clock(world: World, params: Json) -> str | None:
    id = forms.read_text(params, "test_clock") or None
    return id and str(world.get("test_helpers.test_clock", id, param="test_clock")["id"])


def update_customer(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, CUSTOMER_FIELDS)
    _refuse_email(params)
    customer = world.live_customer(id, param="id")
    with world.changing(customer):
        _set_customer(world, customer, params)
    return customer


def delete_customer(world: World, id: str, params: Json) -> Json:
    """Delete a customer: subscriptions end at once, and only a stub stays behind."""
    forms.check_known(params, frozenset({"expand"}))
    customer = world.live_customer(id, param="id")
    return lifecycle.delete_customer(world, customer)


def _set_customer(world: World, customer: Json, params: Json) -> None:
    default = forms.read_text(forms.read_object(params, "invoice_settings"), "default_payment_method")
    if default:
        payment_method = world.get("payment_method", default, param="invoice_settings[default_payment_method]")
        if payment_method["customer"] != customer["id"]:
            message = "The payment method must be attached to the customer first."
            raise errors.invalid("invoice_settings[default_payment_method]", message, code="resource_missing")
    balance = forms.read_int(params, "balance")
    customer["metadata"] = forms.merge_metadata(customer["metadata"], params)
    settings = forms.read_object(params, "invoice_settings")
    known = frozenset({"custom_fields", "default_payment_method", "footer", "rendering_options"})
    forms.check_known(settings, known, within="invoice_settings")
    if "footer" in settings:
        customer["invoice_settings"]["footer"] = forms.read_text(settings, "footer") or None
    if "custom_fields" in settings:
        fields = forms.read_objects(settings, "custom_fields")
        customer["invoice_settings"]["custom_fields"] = fields or None
    if default is not None:
        customer["invoice_settings"]["default_payment_method"] = default or None
    if balance is not None and balance != customer["balance"]:
        type = "adjustment" if customer["id"] in world.objects else "initial"
        balances.move(world, customer, balance - customer["balance"], type=type)
    exempt = forms.read_choice(params, "tax_exempt", ("", "exempt", "none", "reverse"))
    if exempt is not None:
        customer["tax_exempt"] = exempt or "none"
    prefix, sequence = forms.read_text(params, "invoice_prefix"), forms.read_int(params, "next_invoice_sequence")
    if prefix:
        if not PREFIX.fullmatch(prefix):
            raise errors.invalid("invoice_prefix", "The prefix must be 3 to 12 uppercase letters or numbers.")
        customer["invoice_prefix"] = prefix
    if sequence is not None:
        customer["next_invoice_sequence"] = sequence
    for name in TEXTS:
        if name in params:
            customer[name] = forms.read_text(params, name) or None
    if "address" in params:
        customer["address"] = {**customer_shapes.NO_ADDRESS, **forms.read_object(params, "address")}
    if "shipping" in params:
        customer["shipping"] = _read_shipping(params)
    if "preferred_locales" in params:
        customer["preferred_locales"] = forms.read_list(params, "preferred_locales")


def _read_shipping(params: Json) -> Json | None:
    shipping = forms.read_object(params, "shipping")
    if not shipping:
        return None
    whole = {**customer_shapes.NO_ADDRESS, **forms.read_object(shipping, "address")}
    return {"name": None, "phone": None, **shipping, "address": whole}


def create_payment_method(world: World, params: Json) -> Json:
    forms.check_known(params, PAYMENT_METHOD_FIELDS)
    if forms.read_required(params, "type") != "card":
        raise errors.not_one_of("type", value=params["type"], choices=("card",))
    wanted = forms.read_object(params, "card")
    number, token = forms.read_text(wanted, "number"), forms.read_text(wanted, "token")
    card = card_of_number(number) if number else magic_card(token or "tok_visa")
    if card is None and number:
        raise errors.invalid("card[number]", "Your card number is incorrect.", code="incorrect_number")
    if card is None:
        raise errors.missing(kind="token", id=token or "", param="card[token]")
    payment_method = payments.make_payment_method(world, card, customer=None)
    _set_payment_method(payment_method, params, EXPIRY | {"cvc", "number", "token"})
    return payment_method


def update_payment_method(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, METHOD_UPDATE_FIELDS)
    payment_method = world.get("payment_method", id)
    if payment_method["customer"] is None:
        message = "You must attach this PaymentMethod to a customer before you can update it."
        raise errors.invalid("payment_method", message)
    with world.changing(payment_method):
        _set_payment_method(payment_method, params)
    return payment_method


def _set_payment_method(payment_method: Json, params: Json, known_of_card: frozenset[str] = EXPIRY) -> None:
    payment_method["metadata"] = forms.merge_metadata(payment_method["metadata"], params)
    redisplay = forms.read_choice(params, "allow_redisplay", ("always", "limited", "unspecified"))
    payment_method["allow_redisplay"] = redisplay or payment_method["allow_redisplay"]
    told, details = forms.read_object(params, "billing_details"), payment_method["billing_details"]
    forms.check_known(told, BILLING_DETAILS, within="billing_details")
    for name in BILLING_DETAILS & set(told):
        if name == "address":
            details["address"] = {**details["address"], **forms.read_object(told, "address")}
        else:
            details[name] = forms.read_text(told, name) or None
    expiry = forms.read_object(params, "card")
    forms.check_known(expiry, known_of_card, within="card")
    for name, least, most in (("exp_month", 1, 12), ("exp_year", 1970, 2100)):
        if (number := forms.read_int(expiry, name)) is None:
            continue
        if not least <= number <= most:
            what = "month" if name == "exp_month" else "year"
            raise errors.invalid(name, f"Your card's expiration {what} is invalid.", code=f"invalid_expiry_{what}")
        payment_method["card"][name] = number


def attach_payment_method(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"customer", "expand"}))
    customer = world.live_customer(forms.read_required(params, "customer"))
    return payments.attach(world, id, customer=customer, param="id")


def detach_payment_method(world: World, id: str, params: Json) -> Json:
    """Take a card away from its customer, and from everything that used it by default."""
    forms.check_known(params, frozenset({"expand"}))
    payment_method = world.get("payment_method", id)
    owner = payment_method["customer"]
    if owner is None:
        raise errors.invalid("payment_method", "The payment method is not attached to a customer.")
    with world.changing(payment_method, "payment_method.detached"):
        payment_method["customer"] = None
    customer = world.objects[owner]
    with world.changing(customer):
        if customer["invoice_settings"]["default_payment_method"] == id:
            customer["invoice_settings"]["default_payment_method"] = None
    for subscription in world.owned("subscription", owner):
        if subscription["default_payment_method"] == id:
            with world.changing(subscription):
                subscription["default_payment_method"] = None
    return payment_method
