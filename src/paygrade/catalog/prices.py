"""Prices of a catalog document, and what usage costs at one.

Laws: money is whole minor units; what a single unit costs may be a fraction of one, said as `amount` for every `per`
units; tiers ascend and the last one has no end, so every quantity has exactly one cost; more usage never costs less at
graduated tiers.
"""

from fractions import Fraction
from itertools import pairwise
from typing import Any

from paygrade.catalog.model import Price, Tier
from paygrade.catalog.offers import Report
from paygrade.catalog.reader import Node
from paygrade.catalog.shapes import POSITIVE, QUANTITY, Items, Law, Record, Via, may, need, text
from paygrade.catalog.windows import CURRENCY

_OF_USAGE = ("feature", "per", "tiers", "tiers_mode")


def _ascend(node: Node, tiers: tuple[Tier, ...]) -> None:
    ends = [tier.up_to for tier in tiers]
    if tiers and ends[-1] is not None:
        node.wrong("the last tier is for all that is more; remove its `up_to`, or add a tier without one")
    for place, (earlier, later) in enumerate(pairwise(ends)):
        if earlier is None:
            node.at(str(place)).wrong("only the last tier has no `up_to`; say where this one ends")
        elif later is not None and later <= earlier:
            node.at(str(place + 1), "up_to").wrong(f"tiers ascend: write more than {earlier}")
    if not tiers and isinstance(node.value, list | tuple):
        node.wrong("write at least one tier, such as `{ amount: 2, per: 100 }`, or remove `tiers`")


TIERS = Via[tuple[Tier, ...]](
    Items(
        Record(
            Tier,
            {
                "up_to": may(POSITIVE, "The last unit of the tier; the last tier has none."),
                "amount": may(QUANTITY, "In minor units, for every `per` units of the tier."),
                "per": may(POSITIVE),
                "flat_amount": may(QUANTITY, "In minor units, once for the tier.", of="flat"),
            },
        )
    ),
    check=_ascend,
    law={"minItems": 1},
)


def _bar_of_usage(node: Node) -> tuple[str, ...]:
    if node.raw("part") != "usage":
        found = tuple(filter(node.has, _OF_USAGE))
        for key in found:
            node.at(key).wrong(f"only a price of `part: usage` has `{key}`; remove it")
        return found
    if node.has("tiers"):
        if node.raw("amount", 0) != 0:
            node.at("amount").wrong("each of the `tiers` says its own; write `amount: 0`")
        if node.has("per"):
            node.at("per").wrong("each of the `tiers` says its own; remove `per`")
            return ("per",)
    elif node.has("tiers_mode"):
        node.at("tiers_mode").wrong("there are no `tiers`; remove `tiers_mode`")
    return ()


PRICE = Record(
    Price,
    {
        "amount": need("9900", QUANTITY, "In minor units: 9900 is 99.00."),
        "currency": need("usd", CURRENCY),
        "interval": need("month"),
        "interval_count": may(POSITIVE),
        "part": may(about="What it pays for: each unit of the quantity, the plan once, or what is used."),
        "stripe": may(text("the lookup key or id of a price at Stripe")),
        "feature": may(text("the key of a metered feature"), "What is used, of `part: usage`."),
        "per": may(POSITIVE, "How many units cost `amount`: 2 for every 1000 is 0.002 of a minor unit each."),
        "tiers": may(TIERS, "What usage costs by how much there is."),
        "tiers_mode": may(about="`graduated`: each tier's units at its price; `volume`: all at the last one's."),
    },
    (Law(bars=_bar_of_usage),),
    keyed=True,
)


def usage_cost(price: Price, units: int) -> int:
    """What so many units cost, in minor units; each tier is rounded on its own, halves up, as Stripe's lines are.

    Source: https://docs.stripe.com/products-prices/pricing-models#tiered-pricing
    """
    if not price.tiers:
        return _rounded(Fraction(price.amount * units, price.per))
    if price.tiers_mode == "volume":
        tier = next(tier for tier in price.tiers if tier.up_to is None or units <= tier.up_to)
        return _rounded(Fraction(tier.amount * units, tier.per)) + (tier.flat if units else 0)
    cost, begun = 0, 0
    for tier in price.tiers:
        there = units - begun if tier.up_to is None else min(units, tier.up_to) - begun
        if there <= 0:
            break
        cost += _rounded(Fraction(tier.amount * there, tier.per)) + tier.flat
        begun += there
    return cost


def _rounded(amount: Fraction) -> int:
    return int(amount + Fraction(1, 2))


def billed_units(used: int, limit: int | None, report: Report) -> int:
    """Of what was used in a window, what is billed: all of it, or what is beside the allowance; without a limit, there
    is no allowance."""
    return max(0, used) if report == "all" or limit is None else max(0, used - limit)


def price_said(price: Price) -> str:
    """What usage costs, as a sentence goes on: `2 usd for every 1000 tokens, in minor units`."""
    what = price.feature or "units"
    if not price.tiers:
        each = f"every {price.per} {what}" if price.per > 1 else f"each of {what}"
        return f"{price.amount} minor units of {price.currency} for {each}"
    return f"{len(price.tiers)} {price.tiers_mode} tiers of {what}, in minor units of {price.currency}"


def refuse_unknown_usage(node: Node, prices: dict[str, Price], counted: dict[str, Any]) -> None:
    """A usage price of what is not used up. `counted`: what is, by key (Any: features)."""
    for key, price in prices.items():
        if price.feature is not None and price.feature not in counted:
            node.at("prices", key, "feature").unknown("metered feature", counted)
