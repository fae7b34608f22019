"""The provider's side of the catalog: its products, prices and meters, as far as a catalog can say them.

Laws: amounts are exact, in minor units and fractions of them; two charges are equal exactly where everybody pays the
same for the same, whatever words the provider has for it.
"""

from fractions import Fraction
from typing import Literal

from msgspec import Struct

from paygrade.catalog.model import Interval, Part, TiersMode

SoldAs = Literal["plan", "add_on"]
PLACES_MAX = 12
"""Decimal places of an amount at Stripe (https://docs.stripe.com/api/prices/create)."""


class Tier(Struct, frozen=True):
    """What a unit costs up to and with this one (None: without end), and what is paid once for entering the tier."""

    up_to: int | None
    unit: Fraction
    flat: Fraction = Fraction(0)


class Charge(Struct, frozen=True):
    """What is paid, how often and for what. A price by the unit has one tier.

    `interval` None: it is paid once. `tiers` None: nobody here knows the amount. `meter`: the event name of the meter
    whose usage is paid. `unsaid`: what else is true of it that no catalog can say.
    """

    currency: str
    interval: Interval | None
    interval_count: int = 1
    metered: bool = False
    meter: str | None = None
    tiers: tuple[Tier, ...] | None = None
    mode: TiersMode = "graduated"
    unsaid: tuple[str, ...] = ()

    @property
    def unit(self) -> Fraction | None:
        """What each unit costs, where that is all there is to say."""
        plain = self.tiers is not None and len(self.tiers) == 1 and not self.tiers[0].flat and not self.unsaid
        return self.tiers[0].unit if plain and self.tiers else None


class ProviderProduct(Struct, frozen=True):
    """A product. `key` and `sold_as`: what it was made for, by its metadata; `features`: those attached to it, by their
    lookup keys."""

    id: str
    name: str
    active: bool
    description: str = ""
    key: str | None = None
    sold_as: SoldAs | None = None
    features: tuple[str, ...] = ()


class ProviderPrice(Struct, frozen=True):
    """A price. `key` and `part`: what it was made for, by its metadata. `bought`: whether a live subscription has it;
    None: nobody asked. `also`: what is paid in other currencies."""

    id: str
    product: str
    active: bool
    charge: Charge
    lookup_key: str | None = None
    key: str | None = None
    part: Part | None = None
    bought: bool | None = None
    also: tuple[Charge, ...] = ()

    def charge_in(self, currency: str) -> Charge:
        """What is paid in a currency; where it is not offered in that, what is paid."""
        return next((each for each in (self.charge, *self.also) if each.currency == currency), self.charge)


class ProviderMeter(Struct, frozen=True):
    """A meter of billing events. `formula`: how it adds up (`sum`, `count`, `last`); `value_key`: of which property."""

    id: str
    event_name: str
    name: str
    active: bool = True
    formula: str = "sum"
    value_key: str = "value"


class ProviderFeature(Struct, frozen=True):
    """A feature as the provider's own entitlements have it."""

    lookup_key: str
    name: str


class ProviderCatalog(Struct, frozen=True):
    """All that is sold there. `features` None: they were not read. `whole` False: there is more than is ever read."""

    products: dict[str, ProviderProduct]
    prices: tuple[ProviderPrice, ...]
    meters: tuple[ProviderMeter, ...] = ()
    features: tuple[ProviderFeature, ...] | None = None
    whole: bool = True

    def price(self, ref: str) -> ProviderPrice | None:
        """The price of this id, or else the one that holds this lookup key."""
        by_id = (price for price in self.prices if price.id == ref)
        return next(by_id, None) or next((price for price in self.prices if price.lookup_key == ref), None)

    def meter(self, event_name: str) -> ProviderMeter | None:
        """The meter of this event name, an active one if there is."""
        named = [meter for meter in self.meters if meter.event_name == event_name]
        return next((meter for meter in named if meter.active), named[0] if named else None)


def decimal(amount: Fraction) -> str | None:
    """Write an amount without an exponent; None: it has more decimal places than the provider takes."""
    scaled = amount * 10**PLACES_MAX
    if scaled.denominator != 1:
        return None
    whole, places = divmod(scaled.numerator, 10**PLACES_MAX)
    return f"{whole}.{places:0{PLACES_MAX}}".rstrip("0").rstrip(".")


def shown_amount(charge: Charge) -> str:
    """What is paid, in a few words: `2900`, `0.002 a unit`, `graduated: 0 up to 1000, then 0.002`."""
    if charge.tiers is None:
        return "an amount nobody here knows"
    tiers = [_shown_tier(tier, first=number == 0) for number, tier in enumerate(charge.tiers)]
    return tiers[0] if len(tiers) == 1 else f"{charge.mode}: {', '.join(tiers)}"


def shown_interval(charge: Charge) -> str:
    if charge.interval is None:
        return "once"
    return f"every {charge.interval}" if charge.interval_count == 1 else (
        f"every {charge.interval_count} {charge.interval}s"
    )  # fmt: skip


def _shown_tier(tier: Tier, *, first: bool) -> str:
    flat = f" and {_written(tier.flat)} once" if tier.flat else ""
    cost = f"{_written(tier.unit)}{flat}"
    if tier.up_to is not None:
        return f"{cost} up to {tier.up_to}"
    return cost if first else f"then {cost}"


def _written(amount: Fraction) -> str:
    return decimal(amount) or str(amount)
