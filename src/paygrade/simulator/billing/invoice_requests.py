"""Requests about one invoice: make one by hand, change it, pay, finalize, void, write off, delete."""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import invoice_items, invoices
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

PAY_FIELDS = frozenset({"payment_method", "paid_out_of_band", "off_session", "forgive", "expand"})


CREATE_FIELDS = frozenset(
    {
        "auto_advance",
        "collection_method",
        "currency",
        "customer",
        "days_until_due",
        "default_payment_method",
        "description",
        "discounts",
        "expand",
        "footer",
        "metadata",
        "pending_invoice_items_behavior",
    }
)
UPDATE_FIELDS = frozenset({"auto_advance", "default_payment_method", "description", "expand", "footer", "metadata"})


def create_invoice(world: World, params: Json) -> Json:
    """Draft an invoice of no subscription; it stays a draft unless told to advance (Stripe docs: create an invoice)."""
    forms.check_known(params, CREATE_FIELDS)
    customer = world.live_customer(forms.read_required(params, "customer"))
    if forms.read_list(params, "discounts"):
        raise errors.invalid("discounts", "The simulator discounts invoices of subscriptions only.")
    method = forms.read_choice(params, "collection_method", ("charge_automatically", "send_invoice"))
    pending = forms.read_choice(params, "pending_invoice_items_behavior", ("exclude", "include"))
    currency = forms.read_currency(params) if params.get("currency") else customer["currency"] or "usd"
    invoice = invoice_shapes.manual_invoice(
        id=world.new_id("in"),
        at=world.at,
        customer=customer,
        auto_advance=forms.read_bool(params, "auto_advance") is True,
        collection_method=method or "charge_automatically",
        currency=currency,
        default_payment_method=_own_card(world, customer, params),
        description=forms.read_text(params, "description") or None,
        footer=forms.read_text(params, "footer") or None,
        metadata=forms.merge_metadata({}, params),
    )
    if method == "send_invoice":
        days = forms.read_int(params, "days_until_due")
        if days is None:
            raise errors.missing_parameter("days_until_due")
        invoice["due_date"] = world.at + days * cycles.DAY_S
    with world.holding(world.put(invoice, customer["id"])):
        if pending == "include":
            invoice_items.place(world, invoice, invoice_items.waiting(world, customer["id"], invoice["currency"]))
        if invoice["auto_advance"]:
            invoices.wait_to_finalize(world, invoice)
    world.emit("invoice.created", invoice)
    return invoice


def update_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, UPDATE_FIELDS)
    invoice = world.get("invoice", id)
    if invoice["status"] != "draft" and set(params) - {"auto_advance", "metadata", "expand"}:
        message = "Finalized invoices can't be updated in this way."
        raise errors.invalid("invoice", message, code="invoice_not_editable")
    customer = world.live_customer(invoice["customer"])
    with world.changing(invoice):
        invoice["metadata"] = forms.merge_metadata(invoice["metadata"], params)
        for name in ("description", "footer"):
            if name in params:
                invoice[name] = forms.read_text(params, name) or None
        if "default_payment_method" in params:
            invoice["default_payment_method"] = _own_card(world, customer, params)
        advances = forms.read_bool(params, "auto_advance")
        if advances is not None:
            invoice["auto_advance"] = advances
            if advances and invoice["status"] == "draft":
                invoices.wait_to_finalize(world, invoice)
    return invoice


def delete_invoice(world: World, id: str, params: Json) -> Json:
    """Delete a draft that was made by hand, with the items on it."""
    forms.check_known(params, frozenset({"expand"}))
    invoice = world.get("invoice", id)
    if invoice["status"] != "draft" or invoice["parent"] is not None:
        message = "You can only delete draft invoices that are not of a subscription."
        raise errors.invalid("invoice", message, code="invoice_not_editable")
    invoice_items.release(world, invoice)
    del world.objects[id]
    world.emit("invoice.deleted", invoice)
    return {"id": id, "object": "invoice", "deleted": True}


def _own_card(world: World, customer: Json, params: Json) -> str | None:
    named = forms.read_text(params, "default_payment_method") or None
    method = world.get("payment_method", named, param="default_payment_method") if named else None
    if method is not None and method["customer"] != customer["id"]:
        raise errors.invalid("default_payment_method", "The payment method belongs to another customer.")
    return named


def pay_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, PAY_FIELDS)
    invoice = world.get("invoice", id)
    world.live_customer(invoice["customer"])
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
    world.live_customer(invoice["customer"])
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
