"""What a Checkout Session sells, and what is due for it today.

Law. What a session shows as due is worked out by what bills it: the first invoice of the subscription it would make,
or its one-time prices less discounts.
"""

from __future__ import annotations

from dataclasses import dataclass

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import invoice_items, sums
from paygrade.simulator.billing import subscriptions as subs
from paygrade.simulator.forms import Json
from paygrade.simulator.products import amounts, catalog, discounts, prices, tax_rates
from paygrade.simulator.shapes import checkout as shapes
from paygrade.simulator.state.visits import Checkout
from paygrade.simulator.world import World

FIELDS = frozenset({"adjustable_quantity", "metadata", "price", "price_data", "quantity", "tax_rates"})
PRODUCT_FIELDS = frozenset({"description", "images", "metadata", "name", "tax_code", "unit_label"})
QUANTITY_MAX = 999_999
LINE_ITEMS_MAX = 100  # Stripe docs: create a session: line_items
RECURRING_MAX = 20
NOBODY: Json = {
    "id": None,
    "address": None,
    "balance": 0,
    "currency": None,
    "tax_exempt": "none",
    "test_clock": None,
}
# What of `subscription_data` makes a subscription as it is.
PASSED_ON = (
    "billing_cycle_anchor",
    "billing_mode",
    "default_tax_rates",
    "description",
    "invoice_settings",
    "metadata",
    "proration_behavior",
    "trial_end",
    "trial_period_days",
    "trial_settings",
)


@dataclass(frozen=True, slots=True)
class Due:
    """What is due today, by line item and in all."""

    currency: str
    subtotal: int
    tax: int
    total: int
    parts: list[tuple[int, int, int]]  # of each line item: before discounts, what discounts take off, taxes on top
    discounts: list[Json]  # what each discount takes off in all: amount and discount


def read(world: World, params: Json, *, mode: str) -> tuple[list[Json], dict[str, list[str]]]:
    """Read the line items, and the tax rates of those that have their own."""
    wanted = forms.read_objects(params, "line_items")
    if not wanted:
        raise errors.missing_parameter("line_items")
    if len(wanted) > LINE_ITEMS_MAX:
        raise errors.invalid("line_items", f"You may pass up to {LINE_ITEMS_MAX} line items.")
    items = [_read_one(world, one, param=f"line_items[{n}]") for n, one in enumerate(wanted)]
    recurring = [item for item in items if item["price"]["recurring"] is not None]
    if mode == "payment" and recurring:
        message = (
            "You specified `payment` mode but passed a recurring price. "
            "Either switch to `subscription` mode or use only one-time prices."
        )
        raise errors.invalid("line_items", message)
    if mode == "subscription" and not recurring:
        message = "You must provide at least one recurring price in `subscription` mode when using prices."
        raise errors.invalid("line_items", message)
    if len(recurring) > RECURRING_MAX:
        raise errors.invalid("line_items", f"A subscription has at most {RECURRING_MAX} recurring prices.")
    for item, one in zip(items, wanted, strict=True):
        _keep_inline(world, item, forms.read_object(one, "price_data"))
    rates = {item["id"]: forms.read_list(one, "tax_rates") for item, one in zip(items, wanted, strict=True)}
    return items, {id: named for id, named in rates.items() if named}


def _read_one(world: World, wanted: Json, *, param: str) -> Json:
    forms.check_known(wanted, FIELDS, within=param)
    price, name = _read_price(world, wanted, param=param)
    metered = price["recurring"] is not None and price["recurring"]["usage_type"] == "metered"
    tax_rates.read(world, wanted, "tax_rates", within=param)
    quantity = forms.read_int(wanted, "quantity")
    if metered and quantity is not None:
        raise errors.invalid(f"{param}[quantity]", "A metered price takes no quantity.")
    if not metered and quantity is None:
        raise errors.missing_parameter(f"{param}[quantity]")
    if quantity is not None and not 1 <= quantity <= QUANTITY_MAX:
        message = f"This value must be between 1 and {QUANTITY_MAX}."
        raise errors.invalid(f"{param}[quantity]", message)
    return shapes.line_item(
        id=world.new_id("li"),
        price=price,
        quantity=quantity,
        adjustable_quantity=_read_adjustable(wanted, param=param),
        description=name,
        metadata=forms.merge_metadata({}, wanted),
    )


def _read_price(world: World, wanted: Json, *, param: str) -> tuple[Json, str]:
    """Give a price and what its product is called; one given inline is not kept yet."""
    data = forms.read_object(wanted, "price_data")
    if data and "price" in wanted:
        raise errors.invalid(f"{param}[price]", "Give either `price` or `price_data`.")
    if data:
        return _read_inline(world, data, param=f"{param}[price_data]")
    if not wanted.get("price"):
        raise errors.missing_parameter(f"{param}[price]")
    price = world.get("price", forms.read_required(wanted, "price"), param=f"{param}[price]")
    if not price["active"]:
        message = f"The price specified is inactive. This field only accepts active prices: `{price['id']}`."
        raise errors.invalid(f"{param}[price]", message)
    return price, str(world.objects[price["product"]]["name"])


def _read_inline(world: World, data: Json, *, param: str) -> tuple[Json, str]:
    forms.check_known(data, prices.INLINE_FIELDS | {"product_data"}, within=param)
    named, new = forms.read_text(data, "product"), forms.read_object(data, "product_data")
    if bool(named) == bool(new):
        raise errors.invalid(param, "Give either `product` or `product_data`.")
    terms = {name: value for name, value in data.items() if name not in ("product", "product_data")}
    if named:
        product = world.get("product", named, param=f"{param}[product]")
    else:
        forms.check_known(new, PRODUCT_FIELDS, within=f"{param}[product_data]")
        product = {"id": world.new_id("prod", length=14), "name": forms.read_required(new, "name")}
    return prices.make(world, terms, product=product, within=param), str(product["name"])


def _keep_inline(world: World, item: Json, data: Json) -> None:
    """Keep a price that was given inline, and its product."""
    if new := forms.read_object(data, "product_data"):
        catalog.create_product(world, {**new, "id": item["price"]["product"]})
    prices.keep(world, item["price"])


def _read_adjustable(wanted: Json, *, param: str) -> Json | None:
    adjustable = forms.read_object(wanted, "adjustable_quantity")
    if not adjustable:
        return None
    forms.check_known(adjustable, frozenset({"enabled", "maximum", "minimum"}), within=f"{param}[adjustable_quantity]")
    if not forms.read_bool(adjustable, "enabled"):
        return {"enabled": False, "maximum": None, "minimum": None}
    lowest, highest = forms.read_int(adjustable, "minimum"), forms.read_int(adjustable, "maximum")
    # Stripe docs: create a session: up to 999,999, and 99 and 0 unless told.
    return {"enabled": True, "maximum": 99 if highest is None else highest, "minimum": lowest or 0}


def subscription_params(world: World, checkout: Checkout, customer: Json | None) -> Json:
    """Give the parameters of the subscription this session makes, but for who pays and how."""
    data = forms.read_object(checkout.wanted, "subscription_data")
    params: Json = {name: data[name] for name in PASSED_ON if name in data}
    params["currency"] = currency_of(world, checkout, customer)
    params["items"] = [_item(checkout, item) for item in checkout.line_items if item["price"]["recurring"] is not None]
    added = [_item(checkout, item) for item in checkout.line_items if item["price"]["recurring"] is None]
    if added:
        params["add_invoice_items"] = added
    if checkout.discounts:
        params["discounts"] = checkout.discounts
    return params


def _item(checkout: Checkout, item: Json) -> Json:
    wanted: Json = {"price": item["price"]["id"], "metadata": dict(item["metadata"])}
    if rates := checkout.rates.get(item["id"]):
        wanted["tax_rates"] = rates
    if item["quantity"] is not None:
        wanted["quantity"] = str(item["quantity"])
    return wanted


def currency_of(world: World, checkout: Checkout, customer: Json | None) -> str:
    """What is paid in: the currency asked for, else the customer's if all is offered in it, else the prices' own."""
    if wanted := checkout.wanted.get("currency"):
        return forms.read_currency({"currency": wanted})
    own = customer["currency"] if customer is not None else None
    if own and all(amounts.offers(world, item["price"], own) for item in checkout.line_items):
        return str(own)
    return str(checkout.line_items[0]["price"]["currency"])


def taxes_itself(checkout: Checkout) -> bool:
    return bool(sums.read_automatic(checkout.wanted))


def payer_of(checkout: Checkout, customer: Json | None) -> Json:
    """Who pays, with the address that was typed at the page."""
    typed = {name: checkout.details[name] for name in ("country", "postal_code") if checkout.details.get(name)}
    payer = customer or NOBODY
    return {**payer, "address": {**(payer["address"] or {}), **typed}} if typed else payer


def due_today(world: World, checkout: Checkout, *, customer: Json | None, mode: str) -> Due:
    """Work out what is due, without making anything; refuses what could not be sold so."""
    payer, currency = payer_of(checkout, customer), currency_of(world, checkout, customer)
    if mode == "subscription":
        params = subscription_params(world, checkout, customer)
        subscription, billed = subs.prepare(world, payer, params)
        active = discounts.running(world, subscription)
    else:
        params = {"add_invoice_items": [_item(checkout, item) for item in checkout.line_items]}
        subscription = {
            "id": None,
            "currency": currency,
            "customer": payer["id"],
            "discounts": [],
            "automatic_tax": {},
            "default_tax_rates": [],
        }
        active = discounts.read(world, {"discounts": checkout.discounts}, subscription) or []
        billed = []
    added = invoice_items.lines_of(world, invoice_items.read_added(world, payer, subscription, params))
    subscription["automatic_tax"]["enabled"] = taxes_itself(checkout)
    totals = sums.total_up(world, payer, subscription, [*billed, *added], active)
    once, recurring = iter(added), iter(subscription["items"]["data"] if mode == "subscription" else [])
    parts = [
        _part(_lines_of(next(recurring), billed) if item["price"]["recurring"] is not None else [next(once)])
        for item in checkout.line_items
    ]
    return Due(
        currency=currency,
        subtotal=totals["subtotal"],
        tax=sum(tax["amount"] for tax in totals["total_taxes"]),
        total=totals["total"],
        parts=parts,
        discounts=[{**one, "discount": _named(active, one["discount"])} for one in totals["total_discount_amounts"]],
    )


def invoice_items_of(world: World, checkout: Checkout, customer: Json) -> list[Json]:
    """The line items as items of an invoice that is made by hand."""
    params = {"add_invoice_items": [_item(checkout, item) for item in checkout.line_items]}
    nothing = {"id": None, "currency": currency_of(world, checkout, customer)}
    items = invoice_items.read_added(world, customer, nothing, params)
    for item in items:
        item["parent"] = None
    return items


def _lines_of(item: Json, billed: list[Json]) -> list[Json]:
    """The lines that bill one subscription item: several for tiers, none before a later billing cycle anchor."""
    details = [(line, line["parent"]["subscription_item_details"]) for line in billed]
    return [line for line, about in details if about and about["subscription_item"] == item["id"]]


def _part(lines: list[Json]) -> tuple[int, int, int]:
    amount = sum(line["amount"] for line in lines)
    off = sum(off["amount"] for line in lines for off in line["discount_amounts"])
    added = (tax["amount"] for line in lines for tax in line["taxes"] if tax["tax_behavior"] == "exclusive")
    return amount, off, sum(added)


def _named(active: list[Json], id: str) -> Json:
    return next(discount for discount in active if discount["id"] == id)
