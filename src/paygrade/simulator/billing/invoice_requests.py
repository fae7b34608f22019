"""Requests about one invoice: make one by hand, change it, pay, finalize, void, write off, delete."""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import invoice_items, invoices, sums
from paygrade.simulator.forms import Json
from paygrade.simulator.products import discounts, tax_rates
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.time import cycles
from paygrade.simulator.world import World

PAY_FIELDS = frozenset({"payment_method", "paid_out_of_band", "off_session", "forgive", "expand"})


PRINTED_FIELDS = frozenset(
    {
        "automatic_tax",
        "custom_fields",
        "default_tax_rates",
        "due_date",
        "effective_at",
        "number",
        "payment_settings",
        "statement_descriptor",
    }
)
"""What a draft says of itself, beside its lines."""
NUMBER_MAX, CUSTOM_FIELDS_MAX = 26, 4  # Stripe docs: create an invoice
DESCRIPTOR_MAX = 22
CREATE_FIELDS = PRINTED_FIELDS | frozenset(
    {
        "auto_advance",
        "collection_method",
        "currency",
        "customer",
        "subscription",
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
LINE_FIELDS = frozenset(
    {"amount", "description", "discountable", "discounts", "invoice_item", "metadata", "period"}
) | {
    "price_data",
    "pricing",
    "quantity",
    "tax_rates",
}
UPDATE_FIELDS = PRINTED_FIELDS | {
    "auto_advance",
    "collection_method",
    "days_until_due",
    "default_payment_method",
    "description",
    "discounts",
    "expand",
    "footer",
    "metadata",
}


def create_invoice(world: World, params: Json) -> Json:
    """Draft an invoice of no subscription; it stays a draft unless told to advance (Stripe docs: create an invoice)."""
    forms.check_known(params, CREATE_FIELDS)
    if params.get("subscription"):
        return _invoice_subscription(world, params)
    customer = world.live_customer(forms.read_required(params, "customer"))
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
    _set_due(world, invoice, params)
    _set_printed(world, invoice, customer, params)
    made = _read_discounts(world, invoice, params)
    with world.holding(world.put(invoice, customer["id"])):
        discounts.attach(world, invoice, made or [])
        if pending == "include":
            invoice_items.place(world, invoice, invoice_items.waiting(world, customer["id"], invoice["currency"]))
        if invoice["auto_advance"]:
            invoices.wait_to_finalize(world, invoice)
    world.emit("invoice.created", invoice)
    return invoice


def _invoice_subscription(world: World, params: Json) -> Json:
    """Invoice now what waits for a subscription's next invoice (Stripe docs: create an invoice, `subscription`)."""
    id = forms.read_required(params, "subscription")
    subscription = world.get("subscription", id, param="subscription")
    customer = world.live_customer(subscription["customer"])
    if params.get("customer", customer["id"]) != customer["id"]:
        raise errors.invalid("subscription", "The subscription belongs to another customer.")
    if params.get("pending_invoice_items_behavior") == "exclude":
        waiting = []
    else:
        items = invoice_items.waiting(world, customer["id"], subscription["currency"], subscription=id)
        waiting = invoice_items.lines_of(world, [item for item in items if item["parent"] is not None])
    billed = [*world.pending_lines.get(id, []), *waiting]
    if not billed:
        message = "Nothing to invoice for subscription: no invoice items wait for it."
        raise errors.invalid("subscription", message, code="invoice_no_subscription_line_items")
    wanted = {name: value for name, value in params.items() if name not in ("customer", "subscription", "currency")}
    with world.changing(subscription):
        world.pending_lines.pop(id, None)
        invoice = invoices.draft(world, subscription, billed, reason="manual", period=(world.at, world.at))
    invoice["auto_advance"] = False
    return update_invoice(world, invoice["id"], {name: wanted[name] for name in wanted if name in UPDATE_FIELDS})


def _set_due(world: World, invoice: Json, params: Json) -> None:
    """Set when a sent invoice is due: at an instant, or some days from now."""
    days, date = forms.read_int(params, "days_until_due"), forms.read_int(params, "due_date")
    if invoice["collection_method"] != "send_invoice":
        if days is not None or date is not None:
            param = "days_until_due" if days is not None else "due_date"
            raise errors.invalid(param, f"`{param}` needs `collection_method=send_invoice`.")
        invoice["due_date"] = None
        return
    if days is not None and date is not None:
        raise errors.invalid("due_date", "Set either `days_until_due` or `due_date`.")
    if date is not None and date <= world.at:
        raise errors.invalid("due_date", "`due_date` must be in the future.")
    if days is not None:
        invoice["due_date"] = world.at + days * cycles.DAY_S
    elif date is not None:
        invoice["due_date"] = date
    elif invoice["due_date"] is None:
        raise errors.missing_parameter("days_until_due")


def _set_printed(world: World, invoice: Json, customer: Json, params: Json) -> None:
    rates, automatic = tax_rates.read(world, params, "default_tax_rates"), sums.read_automatic(params)
    invoice["default_tax_rates"] = invoice["default_tax_rates"] if rates is None else rates
    enabled = invoice["automatic_tax"]["enabled"] if automatic is None else automatic
    invoice["automatic_tax"] = sums.automatic_tax(customer, enabled=enabled)
    invoice.update(sums.about_customer(world, customer))
    for name, most in (("number", NUMBER_MAX), ("statement_descriptor", DESCRIPTOR_MAX)):
        if name in params:
            text = forms.read_text(params, name) or None
            if text and len(text) > most:
                raise errors.invalid(name, f"`{name}` can be at most {most} characters long.")
            invoice[name] = text
    if "effective_at" in params:
        invoice["effective_at"] = forms.read_int(params, "effective_at")
    if "custom_fields" in params:
        fields = forms.read_objects(params, "custom_fields")
        if len(fields) > CUSTOM_FIELDS_MAX:
            raise errors.invalid("custom_fields", f"You may pass up to {CUSTOM_FIELDS_MAX} custom fields.")
        pairs = [{name: forms.read_required(one, name) for name in ("name", "value")} for one in fields]
        invoice["custom_fields"] = pairs or None
    paying = forms.read_object(params, "payment_settings")
    forms.check_known(paying, frozenset({"payment_method_types"}), within="payment_settings")
    if "payment_method_types" in paying:
        types = forms.read_list(paying, "payment_method_types")
        invoice["payment_settings"]["payment_method_types"] = types or None


def update_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, UPDATE_FIELDS)
    invoice = world.get("invoice", id)
    if invoice["status"] != "draft" and set(params) - {"auto_advance", "metadata", "expand"}:
        message = "Finalized invoices can't be updated in this way."
        raise errors.invalid("invoice", message, code="invoice_not_editable")
    customer = world.live_customer(invoice["customer"])
    made = _read_discounts(world, invoice, params)
    with world.changing(invoice):
        if made is not None:
            _set_discounts(world, invoice, made)
        method = forms.read_choice(params, "collection_method", ("charge_automatically", "send_invoice"))
        if invoice["status"] == "draft":
            invoice["collection_method"] = method or invoice["collection_method"]
            _set_due(world, invoice, params)
            _set_printed(world, invoice, customer, params)
            invoice_items.sum_up(world, invoice, invoice["lines"]["data"])
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


def _read_discounts(world: World, invoice: Json, params: Json) -> list[Json] | None:
    owner = discounts.owner_of(invoice, customer=invoice["customer"], currency=invoice["currency"])
    return discounts.read_of(world, params, owner)


def _set_discounts(world: World, invoice: Json, made: list[Json]) -> None:
    """Give an invoice these discounts; those of its subscription stay with the subscription."""
    invoice["discounts"] = [id for id in invoice["discounts"] if world.objects[id]["invoice"] is not None]
    discounts.attach(world, invoice, made)


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
    _refuse_untold_taxes(world, invoice)
    named = forms.read_text(params, "payment_method")
    if named and world.get("payment_method", named, param="payment_method")["customer"] != invoice["customer"]:
        message = "The payment method is not attached to this invoice's customer."
        raise errors.invalid("payment_method", message, code="resource_missing")
    out_of_band = bool(forms.read_bool(params, "paid_out_of_band"))
    invoices.pay(world, invoice, payment_method=named, out_of_band=out_of_band)
    return invoice


def _refuse_untold_taxes(world: World, invoice: Json) -> None:
    """Refuse to finalize a draft whose automatic tax does not know where the customer is; look again first."""
    if invoice["status"] == "draft" and invoice["automatic_tax"]["enabled"]:
        customer = world.objects[invoice["customer"]]
        sums.refuse_unlocated(customer, param="automatic_tax")
        with world.changing(invoice):
            invoice["automatic_tax"] = sums.automatic_tax(customer, enabled=True)
            invoice_items.sum_up(world, invoice, invoice["lines"]["data"])


def send_invoice(world: World, id: str, params: Json) -> Json:
    """Send an invoice to its customer by hand; a draft is finalized first (Stripe docs: send an invoice)."""
    forms.check_known(params, frozenset({"expand"}))
    invoice = world.get("invoice", id)
    if invoice["collection_method"] != "send_invoice":
        message = "You can only manually send an invoice if its collection method is 'send_invoice'."
        raise errors.invalid("invoice", message)
    if invoice["status"] == "draft":
        finalize_invoice(world, id, {})
    if invoice["status"] not in ("open", "paid"):
        raise errors.invalid("invoice", f"You can't send an invoice that is {invoice['status']}.")
    world.emit("invoice.sent", invoice)
    return invoice


def add_lines(world: World, id: str, params: Json) -> Json:
    """Put lines on a draft: items that wait for an invoice, or new ones."""
    forms.check_known(params, frozenset({"expand", "invoice_metadata", "lines"}))
    invoice = world.get("invoice", id)
    if invoice["status"] != "draft":
        raise errors.invalid("invoice", "Only draft invoices take lines.", code="invoice_not_editable")
    lines = forms.read_objects(params, "lines")
    if not lines:
        raise errors.missing_parameter("lines")
    for n, line in enumerate(lines):
        forms.check_known(line, LINE_FIELDS, within=f"lines[{n}]")
        if named := forms.read_text(line, "invoice_item"):
            item = world.get(invoice_items.KIND, named, param=f"lines[{n}][invoice_item]")
            if item["customer"] != invoice["customer"] or item["invoice"] is not None:
                message = "The invoice item is on an invoice already, or belongs to another customer."
                raise errors.invalid(f"lines[{n}][invoice_item]", message)
            invoice_items.place(world, invoice, [item])
        else:
            own = {"currency": invoice["currency"]} if "amount" in line else {}
            invoice_items.create(world, {"customer": invoice["customer"], "invoice": id, **own, **line})
    told = forms.merge_metadata(invoice["metadata"], {"metadata": forms.read_object(params, "invoice_metadata")})
    with world.changing(invoice):
        invoice["metadata"] = told
    return invoice


def finalize_invoice(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"auto_advance", "expand"}))
    invoice = world.get("invoice", id)
    world.live_customer(invoice["customer"])
    _refuse_untold_taxes(world, invoice)
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
