"""Invoice items: amounts a customer owes beside subscriptions, on a draft invoice or waiting for one.

Laws. An item is on at most one invoice, and only drafts take or lose items; an invoice's sums are those of its
lines. Items that wait come onto the next invoice that begins a period of any subscription of the customer in their
currency, or onto one made by hand when it says `include`; those of a subscription come onto its next invoice, and
onto no other. (Stripe docs: create an invoice item; subscriptions, `add_invoice_items`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import sums
from paygrade.simulator.forms import Json
from paygrade.simulator.products import amounts, discounts, prices, tax_rates
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.world import World

KIND = "invoiceitem"
PRICED_FIELDS = frozenset({"amount", "price_data", "pricing", "quantity", "unit_amount_decimal"})
UPDATE_FIELDS = PRICED_FIELDS | {
    "tax_rates",
    "description",
    "discounts",
    "discountable",
    "expand",
    "metadata",
    "period",
}
FIELDS = UPDATE_FIELDS | {"currency", "customer", "invoice", "subscription"}
ADDED_FIELDS = frozenset(
    {"tax_rates", "discountable", "discounts", "metadata", "period", "price", "price_data", "quantity"}
)
PREVIEW_FIELDS = frozenset(
    {
        "amount",
        "currency",
        "description",
        "discountable",
        "discounts",
        "metadata",
        "period",
        "price",
        "price_data",
        "quantity",
        "tax_rates",
        "unit_amount_decimal",
    }
)
ADDED_MAX = 20
PER_INVOICE_MAX = 250  # Stripe docs: create an invoice item


@dataclass(frozen=True, slots=True)
class Priced:
    """What an item costs, and by which price."""

    amount: int
    currency: str
    quantity: int
    unit: Decimal
    price: Json | None


def create(world: World, params: Json) -> Json:
    forms.check_known(params, FIELDS)
    invoice = _draft(world, params)
    owner = invoice["customer"] if invoice is not None else forms.read_required(params, "customer")
    customer = world.live_customer(owner)
    if "customer" in params and params["customer"] != customer["id"]:
        raise errors.invalid("invoice", "The invoice belongs to another customer.")
    subscription = _read_subscription(world, customer, params)
    likely = (invoice or subscription or customer)["currency"]
    wanted = dict(params)
    if pricing := forms.read_object(params, "pricing"):
        forms.check_known(pricing, frozenset({"price"}), within="pricing")
        wanted["price"] = pricing.get("price")
    priced = _read_priced(world, wanted, currency=params.get("currency") or likely)
    if invoice is not None and invoice["currency"] != priced.currency:
        message = f"The invoice is in `{invoice['currency']}`, the item in `{priced.currency}`."
        raise errors.invalid("currency", message)
    item = _make(world, customer, priced, params)
    if priced.price is not None:
        prices.keep(world, priced.price)
    item["description"] = forms.read_text(params, "description") or item["description"]
    if subscription is not None:
        item["parent"] = _parent(subscription)
    keep(world, [item])
    if invoice is not None:
        place(world, invoice, [item])
    return item


def update(world: World, id: str, params: Json) -> Json:
    """Change an item that is on no invoice yet, or on a draft."""
    forms.check_known(params, UPDATE_FIELDS)
    item = world.get(KIND, id)
    invoice = world.find("invoice", item["invoice"])
    if invoice is not None:
        _refuse_unless_draft(invoice, "This invoice item can no longer be updated: its invoice is finalized.")
    wanted = {"quantity": str(item["quantity"]), **params}
    if pricing := forms.read_object(params, "pricing"):
        wanted["price"] = pricing.get("price")
    elif not (PRICED_FIELDS - {"quantity"}) & set(params):
        wanted["unit_amount_decimal"] = item["pricing"]["unit_amount_decimal"]
    priced = _read_priced(world, wanted, currency=item["currency"]) if PRICED_FIELDS & set(params) else None
    with world.changing(item):
        item["metadata"] = forms.merge_metadata(item["metadata"], params)
        if "description" in params:
            item["description"] = forms.read_text(params, "description") or None
        discountable = forms.read_bool(params, "discountable")
        item["discountable"] = item["discountable"] if discountable is None else discountable
        if "period" in params:
            item["period"] = _read_period(world, params)
        rates = tax_rates.read(world, params, "tax_rates")
        item["tax_rates"] = item["tax_rates"] if rates is None else rates
        if priced is not None:
            item.update(amount=priced.amount, quantity=priced.quantity)
            item["quantity_decimal"] = str(priced.quantity)
            item["pricing"]["unit_amount_decimal"] = prices.plain(priced.unit)
            if priced.price is not None:
                item["pricing"]["price_details"] = _details(prices.keep(world, priced.price))
        _set_discounts(world, item, params)
        discounts.attach_to_items(world, [item])
    if invoice is not None:
        with world.changing(invoice):
            kept = [lines_of(world, [item])[0] if item_of(line) == id else line for line in invoice["lines"]["data"]]
            sum_up(world, invoice, [{**line, "invoice": invoice["id"]} for line in kept])
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
    if not wanted.get("price") and not wanted.get("price_data"):
        raise errors.missing_parameter(f"{param}[price]")
    priced = _read_priced(world, wanted, currency=subscription["currency"], within=param)
    if priced.currency != subscription["currency"]:
        raise errors.invalid(f"{param}[price]", f"The subscription is in `{subscription['currency']}`.")
    item = _make(world, customer, priced, wanted, within=param)
    if priced.price is not None:
        prices.keep(world, priced.price)
    item["parent"] = _parent(subscription)
    return item


def preview_lines(world: World, customer: Json, params: Json, *, currency: str) -> list[Json]:
    """Read the `invoice_items` of a preview into lines, without making anything."""
    items = []
    for index, wanted in enumerate(forms.read_objects(params, "invoice_items")):
        param = f"invoice_items[{index}]"
        forms.check_known(wanted, PREVIEW_FIELDS, within=param)
        priced = _read_priced(world, wanted, currency=wanted.get("currency") or currency, within=param)
        if priced.currency != currency:
            raise errors.invalid(f"{param}[currency]", f"The preview is in `{currency}`.")
        item = _make(world, customer, priced, wanted, within=param)
        item["description"] = forms.read_text(wanted, "description") or item["description"]
        items.append(item)
    return lines_of(world, items)


def _make(world: World, customer: Json, priced: Priced, params: Json, *, within: str = "") -> Json:
    discountable = forms.read_bool(params, "discountable")
    item = invoice_shapes.invoice_item(
        id=world.new_id("ii"),
        at=world.at,
        customer=customer,
        amount=priced.amount,
        currency=priced.currency,
        quantity=priced.quantity,
        description=priced.price and world.objects[priced.price["product"]]["name"],
        discountable=priced.amount >= 0 if discountable is None else discountable,
        metadata=forms.merge_metadata({}, params),
        period=_read_period(world, params),
    )
    item["pricing"]["unit_amount_decimal"] = prices.plain(priced.unit)
    item["tax_rates"] = tax_rates.read(world, params, "tax_rates") or []
    if priced.price is not None:
        item["pricing"]["price_details"] = _details(priced.price)
    _set_discounts(world, item, params, within=within)
    return item


def of_proration(world: World, line: Json) -> Json:
    """Give the invoice item of a proration that waits for an invoice."""
    details = line["parent"]["subscription_item_details"]
    subscription = world.objects[details["subscription"]]
    item = invoice_shapes.invoice_item(
        id=details["invoice_item"],
        at=line["period"]["start"],
        customer=world.objects[subscription["customer"]],
        amount=line["amount"],
        currency=line["currency"],
        quantity=line["quantity"],
        description=line["description"],
        discountable=False,
        metadata={},
        period=line["period"],
    )
    parent = _parent(subscription)
    parent["subscription_details"]["subscription_item"] = details["subscription_item"]
    item |= {"parent": parent, "pricing": line["pricing"], "proration": True}
    item["proration_details"] = {"credited_items": None, "discount_amounts": []}
    return item


def _set_discounts(world: World, item: Json, params: Json, *, within: str = "") -> None:
    """Read an item's own discounts, and say what they leave of it; they are kept when the item is."""
    owner = discounts.owner_of(item, customer=item["customer"], currency=item["currency"])
    made = discounts.read_of(world, params, owner, within=within)
    item["discounts"] = item["discounts"] if made is None else made
    item["net_amount"] = discounts.apply(world, lines_of(world, [item]), [])["total"]


def _details(price: Json) -> Json:
    return {"price": price["id"], "product": price["product"]}


def _parent(subscription: Json) -> Json:
    return {
        "subscription_details": {"subscription": subscription["id"]},
        "type": "subscription_details",
    }


def _read_priced(world: World, params: Json, *, currency: str | None, within: str = "") -> Priced:
    """Read what an item costs: an amount, a unit amount, a price or the data of one."""
    named = f"{within}[price]" if within else "price"
    quantity = forms.read_int(params, "quantity")
    quantity = 1 if quantity is None else quantity
    if quantity < 0:
        raise errors.invalid("quantity", "Invalid non-negative integer", code="parameter_invalid_integer")
    price = None
    if data := forms.read_object(params, "price_data"):
        price = prices.make_inline(world, data, param=named.replace("price", "price_data"), recurs=False)
    elif params.get("price"):
        price = world.get("price", forms.read_required(params, "price"), param=named)
    if price is not None:
        if price["recurring"] is not None:
            message = "The price is recurring; what is billed once needs a one-time price."
            raise errors.invalid(named, message)
        currency = currency if currency and amounts.offers(world, price, currency) else price["currency"]
        [part] = amounts.parts(world, price, quantity, currency=currency)
        return Priced(amounts.rounded(part.amount), currency, quantity, part.unit, price)
    currency = forms.read_currency({"currency": currency})
    if params.get("unit_amount_decimal"):
        unit = prices.read_decimal(params, "unit_amount_decimal") or Decimal(0)
        return Priced(amounts.rounded(Fraction(unit) * quantity), currency, quantity, unit, None)
    forms.read_required(params, "amount")
    amount = forms.read_int(params, "amount") or 0
    return Priced(amount, currency, quantity, Decimal(amount), None)


def _read_subscription(world: World, customer: Json, params: Json) -> Json | None:
    id = forms.read_text(params, "subscription")
    if not id:
        return None
    subscription = world.get("subscription", id, param="subscription")
    if subscription["customer"] != customer["id"]:
        raise errors.invalid("subscription", "The subscription belongs to another customer.")
    return subscription


def _read_period(world: World, params: Json) -> Json:
    span = forms.read_object(params, "period")
    return {name: forms.read_int(span, name) or world.at for name in ("end", "start")}


def keep(world: World, items: list[Json]) -> None:
    """Make these items objects of their own, which wait for an invoice."""
    for item in items:
        discounts.attach_to_items(world, [item])
        world.put(item, item["customer"])
        world.emit("invoiceitem.created", item)


def lines_of(world: World, items: list[Json]) -> list[Json]:
    lines = [invoice_shapes.item_line(id=world.new_id("il"), item=item) for item in items]
    for line, item in zip(lines, items, strict=True):
        if item["tax_rates"]:
            world.line_rates[line["id"]] = item["tax_rates"]
    return lines


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
            sum_up(world, invoice, kept)
    del world.objects[id]
    world.emit("invoiceitem.deleted", item)
    return {"id": id, "object": KIND, "deleted": True}


def waiting(world: World, customer: str, currency: str, *, subscription: str | None = None) -> list[Json]:
    """Give the customer's items that are on no invoice yet, oldest first: free ones, and those of a subscription."""
    found = []
    for item in world.owned(KIND, customer):
        owner = item["parent"] and item["parent"]["subscription_details"]["subscription"]
        waits = item["invoice"] is None and item["currency"] == currency and owner in (None, subscription)
        if waits and all(item_of(line) != item["id"] for line in world.pending_lines.get(owner or "", [])):
            found.append(item)
    return found[::-1]


def lines_waiting(world: World, subscription: Json) -> list[Json]:
    """Give lines for what waits to come onto an invoice that begins a period of this subscription."""
    ready = waiting(world, subscription["customer"], subscription["currency"], subscription=subscription["id"])
    return lines_of(world, ready)


def place(world: World, invoice: Json, items: list[Json]) -> None:
    """Put items onto a draft."""
    with world.changing(invoice):
        added = [{**line, "invoice": invoice["id"]} for line in lines_of(world, items)]
        sum_up(world, invoice, [*invoice["lines"]["data"], *added])
        note_invoice(world, invoice)


def release(world: World, invoice: Json) -> None:
    """Let the items of a draft that is deleted go with it."""
    for line in invoice["lines"]["data"]:
        world.objects.pop(item_of(line), None)


def sum_up(world: World, invoice: Json, lines: list[Json]) -> None:
    if len(lines) > PER_INVOICE_MAX:
        raise errors.invalid("invoice", f"An invoice can have at most {PER_INVOICE_MAX} items.")
    customer = world.objects[invoice["customer"]]
    active = [world.objects[id] for id in invoice["discounts"]]
    totals = sums.total_up(world, customer, invoice, lines, active)
    due = max(0, totals["total"] + customer["balance"])
    invoice["lines"].update(data=lines, total_count=len(lines))
    invoice.update(**totals, amount_due=due, amount_remaining=due)


def _draft(world: World, params: Json) -> Json | None:
    id = forms.read_text(params, "invoice")
    if not id:
        return None
    invoice = world.get("invoice", id, param="invoice")
    _refuse_unless_draft(invoice, "Invoice items can only be added to draft invoices.")
    return invoice


def _refuse_unless_draft(invoice: Json, message: str) -> None:
    if invoice["status"] != "draft":
        raise errors.invalid("invoice", message, code="invoice_not_editable")


def item_of(line: Json) -> str:
    details = line["parent"]["invoice_item_details"]
    return str(details["invoice_item"]) if details else ""
