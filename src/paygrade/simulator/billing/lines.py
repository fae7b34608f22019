"""The lines of an invoice: what a period costs, and the prorations of a change in its middle.

Laws. Each line is `± unit × quantity × remaining / whole period`, to the second, rounded on its own to the
nearest minor unit. Flexible billing credits what was last debited, classic billing what the item costs now;
both are net of discounts by percentage. Metered prices are never prorated, and nothing is during a trial.
(Stripe docs: prorations; billing mode compare.)
"""

from __future__ import annotations

from datetime import UTC, datetime

from paygrade.simulator.billing import meters
from paygrade.simulator.forms import Json
from paygrade.simulator.products import discounts
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.world import World

SIGNS = {"usd": "$", "eur": "€", "gbp": "£"}
# Stripe docs: currencies, zero-decimal
WHOLE_UNITS = frozenset(
    [
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "ugx",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    ]
)


def is_metered(item: Json) -> bool:
    return bool(item["price"]["recurring"]["usage_type"] == "metered")


def cycle_line(world: World, item: Json, *, period: tuple[int, int]) -> Json:
    """Bill one item for one whole period, or a metered one for what was used in it."""
    price = item["price"]
    quantity = meters.used(world, item, period=period) if is_metered(item) else item["quantity"]
    item = {**item, "quantity": quantity}
    return _line(
        world,
        item,
        amount=price["unit_amount"] * quantity,
        period=period,
        description=f"{_what(world, item)} (at {_money(price)} / {_interval(price)})",
    )


def trial_line(world: World, item: Json, *, period: tuple[int, int]) -> Json:
    line = _line(world, item, amount=0, period=period, description=f"Free trial for {_what(world, item)}")
    line["pricing"]["unit_amount_decimal"] = "0"
    return line


def credit_line(world: World, subscription: Json, item: Json, *, at: int) -> Json | None:
    """Give back what is left of the current period; None if there is nothing to give back."""
    start, end = item["current_period_start"], item["current_period_end"]
    debit = world.debits.get(item["id"])
    if is_metered(item) or at >= end:
        return None
    if subscription["billing_mode"]["type"] == "flexible":
        if debit is None or debit.period_end <= at:
            return None
        start, end = debit.period_start, debit.period_end
        amount = share(debit.amount, part=end - at, whole=end - start)
        item = {**item, "quantity": debit.quantity}
    else:
        amount = _prorated(world, subscription, item, part=end - at, whole=end - start)
    line = _proration(world, item, amount=-amount, period=(at, end), word="Unused")
    if debit is not None and debit.invoice is not None:
        details = line["parent"]["subscription_item_details"]["proration_details"]
        details["credited_items"] = {"invoice": debit.invoice, "invoice_line_items": [debit.line]}
    return line


def debit_line(world: World, subscription: Json, item: Json, *, at: int) -> Json | None:
    """Bill what is left of the current period."""
    start, end = item["current_period_start"], item["current_period_end"]
    if is_metered(item) or at >= end:
        return None
    amount = _prorated(world, subscription, item, part=end - at, whole=end - start)
    return _proration(world, item, amount=amount, period=(at, end), word="Remaining")


def _prorated(world: World, subscription: Json, item: Json, *, part: int, whole: int) -> int:
    """Give a part of an item's price, net of the percentages its subscription is spared."""
    kept = discounts.kept_share(world, subscription, item["price"]["product"])
    amount = item["price"]["unit_amount"] * item["quantity"]
    return share(amount * kept.numerator, part=part, whole=whole * kept.denominator)


def share(amount: int, *, part: int, whole: int) -> int:
    """Give `amount × part / whole` in whole minor units, halves away from zero."""
    shared = (2 * abs(amount) * part + whole) // (2 * whole)
    return shared if amount >= 0 else -shared


def _proration(world: World, item: Json, *, amount: int, period: tuple[int, int], word: str) -> Json:
    day = datetime.fromtimestamp(period[0], UTC)
    line = _line(
        world,
        item,
        amount=amount,
        period=period,
        description=f"{word} time on {_what(world, item, one='')} after {day.day} {day:%b %Y}",
    )
    line["discountable"] = False
    line["pricing"]["unit_amount_decimal"] = None
    line["parent"]["subscription_item_details"].update(invoice_item=world.new_id("ii"), proration=True)
    return line


def _line(world: World, item: Json, *, amount: int, period: tuple[int, int], description: str) -> Json:
    return invoice_shapes.line(id=world.new_id("il"), item=item, amount=amount, period=period, description=description)


def _what(world: World, item: Json, *, one: str = "1") -> str:
    """Name what is billed, as `2 × Pro` or `2 user × Pro`; a proration leaves a quantity of one out."""
    product = world.objects[item["price"]["product"]]
    quantity = item["quantity"] if item["quantity"] is not None else 0
    counted = one if quantity == 1 else str(quantity)
    unit = f" {product['unit_label']}" if product["unit_label"] and counted else ""
    return f"{counted}{unit} × {product['name']}" if counted else str(product["name"])


def _money(price: Json) -> str:
    currency, amount = price["currency"], price["unit_amount"] or 0
    figure = f"{amount}" if currency in WHOLE_UNITS else f"{amount // 100}.{amount % 100:02}"
    return f"{SIGNS[currency]}{figure}" if currency in SIGNS else f"{figure} {currency.upper()}"


def _interval(price: Json) -> str:
    recurring = price["recurring"]
    count = recurring["interval_count"]
    return str(recurring["interval"]) if count == 1 else f"every {count} {recurring['interval']}s"
