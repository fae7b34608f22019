"""Invoice items: amounts a customer owes beside subscriptions, on a draft invoice or waiting for one.

Laws. An item is on at most one invoice, and only drafts take or lose items; an invoice's sums are those of its
lines. Items that wait come onto an invoice made by hand when it says `include`, and onto no other; those that were
added to a subscription come onto its next invoice, and onto no other. (Stripe docs: invoice items; subscriptions,
`add_invoice_items`.)
"""

from __future__ import annotations

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.world import World

KIND = "invoiceitem"
FIELDS = frozenset(
    {
        "amount",
        "currency",
        "customer",
        "description",
        "discountable",
        "expand",
        "invoice",
        "metadata",
        "period",
        "quantity",
    }
)
ADDED_FIELDS = frozenset({"metadata", "period", "price", "quantity"})
ADDED_MAX = 20


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    invoice = _draft(world, params)
    owner = invoice["customer"] if invoice is not None else forms.read_required(params, "customer")
    customer = world.live_customer(owner)
    if "customer" in params and params["customer"] != customer["id"]:
        raise errors.invalid("invoice", "The invoice belongs to another customer.")
    forms.read_required(params, "amount")
    quantity = forms.read_int(params, "quantity") or 1
    currency = forms.read_currency(params) if params.get("currency") else customer["currency"]
    if currency is None:
        raise errors.missing_parameter("currency")
    if invoice is not None and invoice["currency"] != currency:
        raise errors.invalid("currency", f"The invoice is in `{invoice['currency']}`, the item in `{currency}`.")
    item = invoice_shapes.invoice_item(
        id=world.new_id("ii"),
        at=world.at,
        customer=customer,
        amount=forms.read_int(params, "amount") or 0,
        currency=currency,
        quantity=quantity,
        description=forms.read_text(params, "description") or None,
        discountable=forms.read_bool(params, "discountable") is not False,
        metadata=forms.merge_metadata({}, params),
        period=_read_period(world, params),
    )
    keep(world, [item])
    if invoice is not None:
        place(world, invoice, [item])
    return item


def read_added(world: World, customer: Json, subscription: Json, params: Json) -> list[Json]:
    """Read what is added once to a subscription's next invoice (`add_invoice_items`), without making anything."""
    wanted = forms.read_objects(params, "add_invoice_items")
    if len(wanted) > ADDED_MAX:
        raise errors.invalid("add_invoice_items", f"You may pass up to {ADDED_MAX} items.")
    return [
        _read_added(world, customer, subscription, one, param=f"add_invoice_items[{index}]")
        for index, one in enumerate(wanted)
    ]


def _read_added(world: World, customer: Json, subscription: Json, wanted: Json, *, param: str) -> Json:
    forms.check_known(wanted, ADDED_FIELDS, within=param)
    price = world.get("price", forms.read_required(wanted, "price"), param=f"{param}[price]")
    if price["recurring"] is not None:
        raise errors.invalid(f"{param}[price]", "The price is recurring; what is added once needs a one-time price.")
    if price["currency"] != subscription["currency"]:
        raise errors.invalid(f"{param}[price]", f"The subscription is in `{subscription['currency']}`.")
    quantity = forms.read_int(wanted, "quantity")
    quantity = 1 if quantity is None else quantity
    product = world.objects[price["product"]]
    item = invoice_shapes.invoice_item(
        id=world.new_id("ii"),
        at=world.at,
        customer=customer,
        amount=price["unit_amount"] * quantity,
        currency=price["currency"],
        quantity=quantity,
        description=product["name"],
        discountable=True,
        metadata=forms.merge_metadata({}, wanted),
        period=_read_period(world, wanted),
    )
    item["parent"] = {
        "subscription_details": {"subscription": subscription["id"], "subscription_item": None},
        "type": "subscription_details",
    }
    item["pricing"] = {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": str(price["unit_amount"]),
    }
    return item


def _read_period(world: World, params: Json) -> Json:
    span = forms.read_object(params, "period")
    return {name: forms.read_int(span, name) or world.at for name in ("end", "start")}


def keep(world: World, items: list[Json]) -> None:
    """Make these items objects of their own, which wait for an invoice."""
    for item in items:
        world.put(item, item["customer"])
        world.emit("invoiceitem.created", item)


def lines_of(world: World, items: list[Json]) -> list[Json]:
    return [invoice_shapes.item_line(id=world.new_id("il"), item=item) for item in items]


def note_invoice(world: World, invoice: Json) -> None:
    """Say on each item that is on this invoice that it is."""
    for line in invoice["lines"]["data"]:
        item = world.objects.get(item_of(line))
        if item is not None:
            with world.changing(item):
                item["invoice"] = invoice["id"]


def delete(world: World, id: str, params: Json) -> Json:
    forms.check_known(params, frozenset({"expand"}))
    item = world.get(KIND, id)
    if item["invoice"] is not None:
        invoice = world.objects[item["invoice"]]
        _refuse_unless_draft(invoice, "This invoice item can no longer be deleted: its invoice is finalized.")
        with world.changing(invoice):
            kept = [line for line in invoice["lines"]["data"] if item_of(line) != id]
            _sum_up(world, invoice, kept)
    del world.objects[id]
    world.emit("invoiceitem.deleted", item)
    return {"id": id, "object": KIND, "deleted": True}


def waiting(world: World, customer: str, currency: str) -> list[Json]:
    """Give the customer's items that are on no invoice yet, oldest first."""
    free = (item for item in world.owned(KIND, customer) if item["invoice"] is None and item["parent"] is None)
    return [item for item in free if item["currency"] == currency][::-1]


def place(world: World, invoice: Json, items: list[Json]) -> None:
    """Put items onto a draft."""
    with world.changing(invoice):
        added = [{**line, "invoice": invoice["id"]} for line in lines_of(world, items)]
        _sum_up(world, invoice, [*invoice["lines"]["data"], *added])
        note_invoice(world, invoice)


def release(world: World, invoice: Json) -> None:
    """Let the items of a draft that is deleted go with it."""
    for line in invoice["lines"]["data"]:
        world.objects.pop(item_of(line), None)


def _sum_up(world: World, invoice: Json, lines: list[Json]) -> None:
    customer = world.objects[invoice["customer"]]
    total = sum(line["amount"] for line in lines)
    due = max(0, total + customer["balance"])
    invoice["lines"].update(data=lines, total_count=len(lines))
    invoice.update(
        subtotal=total,
        subtotal_excluding_tax=total,
        total=total,
        total_excluding_tax=total,
        amount_due=due,
        amount_remaining=due,
    )


def _draft(world: World, params: Json) -> Json | None:
    id = forms.read_text(params, "invoice")
    if not id:
        return None
    invoice = world.get("invoice", id, param="invoice")
    _refuse_unless_draft(invoice, "Invoice items can only be added to draft invoices.")
    if invoice["parent"] is not None:
        raise errors.invalid("invoice", "The simulator adds items to invoices made by hand only.")
    return invoice


def _refuse_unless_draft(invoice: Json, message: str) -> None:
    if invoice["status"] != "draft":
        raise errors.invalid("invoice", message, code="invoice_not_editable")


def item_of(line: Json) -> str:
    details = line["parent"]["invoice_item_details"]
    return str(details["invoice_item"]) if details else ""
