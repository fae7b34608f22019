"""What a quantity of a price costs: by the unit, by tiers, by packages, in each currency it is offered in.

Laws. Everything is exact until a line is rounded to whole minor units, halves away from zero. Graduated tiers
charge each tier for what lies in it, volume tiers charge all of it at the tier that the quantity reaches. A
tier's flat amount is charged once it is reached, the first tier's always. (Stripe docs: create a price; tiered
pricing; transform quantities.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from paygrade.simulator.forms import Json
from paygrade.simulator.world import World


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what something costs, as one line of an invoice shows it."""

    quantity: int  # none of a flat amount
    unit: Decimal  # in minor units, with what is below them
    amount: Fraction
    tier: int | None = None  # from 1

    @property
    def is_flat(self) -> bool:
        return self.quantity == 0 and self.amount != 0


def option(world: World, price: Json, currency: str) -> Json:
    """Give what a price costs in one of its currencies."""
    return world.price_options[price["id"]][currency]


def offers(world: World, price: Json, currency: str) -> bool:
    return currency in world.price_options[price["id"]]


def parts(world: World, price: Json, quantity: int, *, currency: str) -> list[Part]:
    """Split what a quantity costs into parts of one unit amount each; there is at least one."""
    terms = option(world, price, currency)
    if price["billing_scheme"] == "tiered":
        return list(_of_tiers(terms["tiers"], quantity, graduated=price["tiers_mode"] == "graduated"))
    unit = Decimal(terms["unit_amount_decimal"] or 0)
    return [Part(quantity, unit, Fraction(unit) * _packages(price, quantity))]


def cost(world: World, price: Json, quantity: int, *, currency: str) -> Fraction:
    return sum((part.amount for part in parts(world, price, quantity, currency=currency)), Fraction(0))


def rounded(amount: Fraction) -> int:
    """Round to whole minor units, halves away from zero."""
    whole = int(abs(amount) + Fraction(1, 2))
    return whole if amount >= 0 else -whole


def _of_tiers(tiers: list[Json], quantity: int, *, graduated: bool) -> Iterator[Part]:
    below = 0
    for number, tier in enumerate(tiers, start=1):
        top = tier["up_to"]
        reached = top is None or quantity <= top
        if graduated or reached:
            units = (quantity if reached else top) - (below if graduated else 0)
            unit = Decimal(tier["unit_amount_decimal"] or 0)
            if tier["unit_amount_decimal"] is not None or tier["flat_amount_decimal"] is None:
                yield Part(units, unit, Fraction(unit) * units, tier=number)
            if tier["flat_amount_decimal"] is not None:
                flat = Decimal(tier["flat_amount_decimal"])
                yield Part(0, flat, Fraction(flat), tier=number)
        if reached:
            return
        below = top


def _packages(price: Json, quantity: int) -> int:
    """Give the quantity that is charged: how many times it holds `divide_by`."""
    if (transform := price["transform_quantity"]) is None:
        return quantity
    up = transform["round"] == "up"
    size = int(transform["divide_by"])
    return -(-quantity // size) if up else quantity // size
