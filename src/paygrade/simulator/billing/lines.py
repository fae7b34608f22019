"""The lines of an invoice: what a period costs, and the prorations of a change in its middle.

Laws. Each line is `± unit × quantity × remaining / whole period`, to the second, rounded on its own to the
nearest minor unit. Flexible billing credits what was last debited, classic billing what the item costs now;
both are net of discounts by percentage. Metered prices are never prorated, and nothing is during a trial.
(Stripe docs: prorations; billing mode compare.)
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from paygrade.simulator.billing import meters
from paygrade.simulator.forms import Json
from paygrade.simulator.products import amounts, discounts, prices
from paygrade.simulator.shapes import invoices as invoice_shapes
from paygrade.simulator.time import cycles
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


def cycle_lines(world: World, subscription: Json, item: Json, *, period: tuple[int, int]) -> list[Json]:
    """Bill one item for one whole period, or a metered one for what was used in it: a line, or one for each tier."""
    price, currency = item["price"], subscription["currency"]
    metered = is_metered(item)
    quantity = meters.used(world, item, subscription["customer"], period=period) if metered else item["quantity"]
    billed = []
    for part in amounts.parts(world, price, quantity, currency=currency):
        at = f"{_money(part.unit, currency)} / {_interval(price)}"
        tiered = f"Tier {part.tier} {'flat fee ' if part.is_flat else ''}at {at}" if part.tier else f"at {at}"
        counted = {**item, "quantity": part.quantity}
        line = _line(
            world,
            counted,
            currency=currency,
            amount=amounts.rounded(part.amount),
            period=period,
            description=f"{_what(world, counted)} ({tiered})",
        )
        line["pricing"]["unit_amount_decimal"] = prices.plain(part.unit)
        line["discounts"] = discounts.running(world, item)
        billed.append(line)
    return billed


def trial_line(world: World, subscription: Json, item: Json, *, period: tuple[int, int]) -> Json:
    line = _line(
        world,
        item,
        currency=subscription["currency"],
        amount=0,
        period=period,
        description=f"Free trial for {_what(world, item)}",
    )
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
        amount = amounts.rounded(Fraction(debit.amount * (end - at), end - start))
        item = {**item, "quantity": debit.quantity}
    else:
        amount = _prorated(world, subscription, item, part=end - at, whole=end - start)
    line = _proration(world, subscription, item, amount=-amount, period=(at, end), word="Unused")
    if debit is not None and debit.invoice is not None:
        details = line["parent"]["subscription_item_details"]["proration_details"]
        details["credited_items"] = {"invoice": debit.invoice, "invoice_line_items": list(debit.lines)}
    return line


def debit_line(world: World, subscription: Json, item: Json, *, at: int) -> Json | None:
    """Bill what is left of the current period."""
    start, end = item["current_period_start"], item["current_period_end"]
    if is_metered(item) or at >= end:
        return None
    amount = _prorated(world, subscription, item, part=end - at, whole=end - start)
    return _proration(world, subscription, item, amount=amount, period=(at, end), word="Remaining")


def elapsed_line(world: World, subscription: Json, item: Json, *, period: tuple[int, int]) -> Json:
    """Bill time before a subscription's first whole period, by imagined periods that begin where it does."""
    start, end = period
    recurring = item["price"]["recurring"]
    every = {"interval": recurring["interval"], "count": recurring["interval_count"]}
    cost = amounts.cost(world, item["price"], item["quantity"], currency=subscription["currency"])
    cost *= discounts.kept_share(world, subscription, item)
    owed, begins = Fraction(0), start
    while begins < end:
        ends = cycles.boundary_after(start, **every, after=begins)
        owed += cost * Fraction(min(ends, end) - begins, ends - begins)
        begins = ends
    return _proration(world, subscription, item, amount=amounts.rounded(owed), period=period, word="Elapsed")


def _prorated(world: World, subscription: Json, item: Json, *, part: int, whole: int) -> int:
    """Give a part of an item's price, net of the percentages its subscription is spared."""
    kept = discounts.kept_share(world, subscription, item)
    cost = amounts.cost(world, item["price"], item["quantity"], currency=subscription["currency"])
    return amounts.rounded(cost * kept * Fraction(part, whole))


def _proration(
    world: World, subscription: Json, item: Json, *, amount: int, period: tuple[int, int], word: str
) -> Json:
    day = datetime.fromtimestamp(period[0], UTC)
    line = _line(
        world,
        item,
        currency=subscription["currency"],
        amount=amount,
        period=period,
        description=f"{word} time on {_what(world, item, one='')} after {day.day} {day:%b %Y}",
    )
    line["discountable"] = False
    line["pricing"]["unit_amount_decimal"] = None
    line["parent"]["subscription_item_details"].update(invoice_item=world.new_id("ii"), proration=True)
    return line


def _line(world: World, item: Json, *, currency: str, amount: int, period: tuple[int, int], description: str) -> Json:
    line = invoice_shapes.line(
        id=world.new_id("il"), item=item, currency=currency, amount=amount, period=period, description=description
    )
    if item["tax_rates"]:
        world.line_rates[line["id"]] = item["tax_rates"]
    return line


def _what(world: World, item: Json, *, one: str = "1") -> str:
    """Name what is billed, as `2 × Pro` or `2 user × Pro`; a proration leaves a quantity of one out."""
    product = world.objects[item["price"]["product"]]
    quantity = item["quantity"] if item["quantity"] is not None else 0
    counted = one if quantity == 1 else str(quantity)
    unit = f" {product['unit_label']}" if product["unit_label"] and counted else ""
    return f"{counted}{unit} × {product['name']}" if counted else str(product["name"])


def _money(amount: Decimal, currency: str) -> str:
    """Write an amount of minor units, with as many decimals as it has and no fewer than the currency's."""
    figure = prices.plain(amount)
    if currency not in WHOLE_UNITS:
        whole, _, below = prices.plain(amount / 100).partition(".")
        figure = f"{whole}.{below:0<2}"
    return f"{SIGNS[currency]}{figure}" if currency in SIGNS else f"{figure} {currency.upper()}"


def _interval(price: Json) -> str:
    recurring = price["recurring"]
    count = recurring["interval_count"]
    return str(recurring["interval"]) if count == 1 else f"every {count} {recurring['interval']}s"
