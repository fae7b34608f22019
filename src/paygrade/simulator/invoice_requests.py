"""Requests about one invoice: pay, finalize, void, write off."""

from __future__ import annotations

from paygrade.simulator import errors, forms, invoices, subscriptions
from paygrade.simulator.forms import Json
from paygrade.simulator.world import World

PAY_FIELDS = frozenset({"payment_method", "paid_out_of_band", "off_session", "forgive", "expand"})


def pay_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, PAY_FIELDS)
    invoice = world.get("invoice", id)
    subscriptions.live_customer(world, invoice["customer"])
    named = forms.read_text(params, "payment_method")
    if named and world.get("payment_method", named, param="payment_method")["customer"] != invoice["customer"]:
        message = "The payment method is not attached to this invoice's customer."
        raise errors.invalid("payment_method", message, code="resource_missing")
    out_of_band = bool(forms.read_bool(params, "paid_out_of_band"))
    invoices.pay(world, invoice, payment_method=named, out_of_band=out_of_band)
    return invoice


def finalize_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"auto_advance", "expand"}))
    invoice = world.get("invoice", id)
    subscriptions.live_customer(world, invoice["customer"])
    if invoice["status"] != "draft":
        raise errors.invalid("invoice", "Only draft invoices can be finalized.", code="invoice_not_editable")
    if forms.read_bool(params, "auto_advance") is True:
        invoice["auto_advance"] = True
        invoices.finalize_and_collect(world, invoice)
    else:
        invoices.finalize(world, invoice)
    return invoice


def void_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    invoice = world.get("invoice", id)
    invoices.void(world, invoice)
    return invoice


def mark_invoice_uncollectible(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    invoice = world.get("invoice", id)
    invoices.mark_uncollectible(world, invoice)
    return invoice
