"""What a Checkout Session sells, and what is due for it today.

Law. What a session shows as due is worked out by what bills it: the first invoice of the subscription it would make,
or its one-time prices less discounts.
"""

from __future__ import annotations

from dataclasses import dataclass

from paygrade.simulator import errors, forms
from paygrade.simulator.billing import invoice_items
from paygrade.simulator.billing import subscriptions as subs
from paygrade.simulator.forms import Json
from paygrade.simulator.products import catalog, discounts
from paygrade.simulator.shapes import checkout as shapes
from paygrade.simulator.state.visits import Checkout
from paygrade.simulator.world import World

FIELDS = frozenset({"adjustable_quantity", "metadata", "price", "price_data", "quantity"})
LINE_ITEMS_MAX = 100  # Stripe docs: create a session: line_items
RECURRING_MAX = 20
ONE_TIME_MAX = 100
NOBODY: Json = {"id": None, "currency": None, "balance": 0, "test_clock": None}
# What of `subscription_data` makes a subscription as it is.
PASSED_ON = (
    "billing_cycle_anchor",
    "billing_mode",
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
    total: int
    parts: list[tuple[int, int]]  # of each line item: before discounts, what discounts take off
    discounts: list[Json]  # what each discount takes off in all: amount and discount


def read(world: World, params: Json, *, mode: str) -> list[Json]:
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
    if len({item["price"]["currency"] for item in items}) > 1:
        raise errors.invalid("line_items", "All prices of a Checkout Session must have the same currency.")
    return items


def _read_one(world: World, wanted: Json, *, param: str) -> Json:
    forms.check_known(wanted, FIELDS, within=param)
    price = _read_price(world, wanted, param=param)
    metered = price["recurring"] is not None and price["recurring"]["usage_type"] == "metered"
    quantity = forms.read_int(wanted, "quantity")
    if metered and quantity is not None:
        raise errors.invalid(f"{param}[quantity]", "A metered price takes no quantity.")
    if not metered and quantity is None:
        raise errors.missing_parameter(f"{param}[quantity]")
    if quantity is not None and quantity < 1:
        raise errors.invalid(f"{param}[quantity]", "This value must be greater than or equal to 1.")
    return shapes.line_item(
        id=world.new_id("li"),
        price=price,
        quantity=quantity,
        adjustable_quantity=_read_adjustable(wanted, param=param),
        description=world.objects[price["product"]]["name"],
        metadata=forms.merge_metadata({}, wanted),
    )


def _read_price(world: World, wanted: Json, *, param: str) -> Json:
    inline = forms.read_object(wanted, "price_data")
    if not inline:
        price = world.get("price", forms.read_required(wanted, "price"), param=f"{param}[price]")
        if not price["active"]:
            message = f"The price specified is inactive. This field only accepts active prices: `{price['id']}`."
            raise errors.invalid(f"{param}[price]", message)
        return price
    if "price" in wanted:
        raise errors.invalid(f"{param}[price]", "Give either `price` or `price_data`.")
    return catalog.create_price(world, inline)


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


def subscription_params(checkout: Checkout) -> Json:
    """Give the parameters of the subscription this session makes, but for who pays and how."""
    data = forms.read_object(checkout.wanted, "subscription_data")
    params: Json = {name: data[name] for name in PASSED_ON if name in data}
    params["items"] = [_item(item) for item in checkout.line_items if item["price"]["recurring"] is not None]
    added = [_item(item) for item in checkout.line_items if item["price"]["recurring"] is None]
    if added:
        params["add_invoice_items"] = added
    if checkout.discounts:
        params["discounts"] = checkout.discounts
    return params


def _item(item: Json) -> Json:
    wanted: Json = {"price": item["price"]["id"], "metadata": dict(item["metadata"])}
    if item["quantity"] is not None:
        wanted["quantity"] = str(item["quantity"])
    return wanted


def due_today(world: World, checkout: Checkout, *, customer: Json | None, mode: str) -> Due:
    """Work out what is due, without making anything; refuses what could not be sold so."""
    payer = customer or NOBODY
    currency = checkout.line_items[0]["price"]["currency"]
    if mode == "subscription":
        params = subscription_params(checkout)
        subscription, billed = subs.prepare(world, payer, params)
        active = discounts.running(world, subscription)
    else:
        params = {"add_invoice_items": [_item(item) for item in checkout.line_items]}
        subscription = {"id": None, "currency": currency, "customer": payer["id"], "discounts": []}
        active = discounts.read(world, {"discounts": checkout.discounts}, subscription) or []
        billed = []
    added = invoice_items.lines_of(world, invoice_items.read_added(world, payer, subscription, params))
    sums = discounts.apply(world, [*billed, *added], active)
    recurring = {item["id"]: line for line in billed if (item := _item_of(subscription, line))}
    recurring_lines = iter(
        [recurring.get(item["id"]) for item in subscription["items"]["data"]] if mode == "subscription" else []
    )
    once = iter(added)
    lines = [next(recurring_lines if item["price"]["recurring"] else once) for item in checkout.line_items]
    return Due(
        currency=currency,
        subtotal=sums["subtotal"],
        total=sums["total"],
        parts=[_part(line) for line in lines],
        discounts=[{**one, "discount": _named(active, one["discount"])} for one in sums["total_discount_amounts"]],
    )


def invoice_items_of(world: World, checkout: Checkout, customer: Json) -> list[Json]:
    """The line items as items of an invoice that is made by hand."""
    params = {"add_invoice_items": [_item(item) for item in checkout.line_items]}
    nothing = {"id": None, "currency": checkout.line_items[0]["price"]["currency"]}
    items = invoice_items.read_added(world, customer, nothing, params)
    for item in items:
        item["parent"] = None
    return items


def _item_of(subscription: Json, line: Json) -> Json | None:
    details = line["parent"]["subscription_item_details"]
    items = {item["id"]: item for item in subscription["items"]["data"]}
    return items.get(details["subscription_item"]) if details else None


def _part(line: Json | None) -> tuple[int, int]:
    """What one line costs today; None: nothing is billed for it yet, as before a later billing cycle anchor."""
    return (0, 0) if line is None else (line["amount"], sum(off["amount"] for off in line["discount_amounts"]))


def _named(active: list[Json], id: str) -> Json:
    return next(discount for discount in active if discount["id"] == id)
