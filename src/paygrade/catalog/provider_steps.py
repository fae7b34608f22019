"""How the provider comes to sell what the catalog says: the steps that are left, from how both stand.

Laws: a price that somebody may pay is never edited: another one is made and the lookup key moves to it; what there is
already is not made again, so steps that were taken before an interruption are not among those that are left; a lookup
key is not moved away from a price whose buyers the catalog would no longer know. Pure: asked again, it says the same.
"""

from collections.abc import Iterator, Sequence
from typing import TypeGuard

from msgspec import Struct

from paygrade.catalog.model import AddOn, Catalog, Part, Plan, Price
from paygrade.catalog.provider_catalog import (
    Charge,
    ProviderCatalog,
    ProviderPrice,
    ProviderProduct,
    SoldAs,
    decimal,
    shown_amount,
    shown_interval,
)
from paygrade.catalog.provider_charges import charge_of
from paygrade.catalog.provider_check import known, meters_named, sold_at


class _Step(Struct, frozen=True):
    """`pointer`: the place in the document. `detail`: what it does, for a person."""

    pointer: str
    detail: str


class CreateMeter(_Step, frozen=True, tag="create_meter", tag_field="step"):
    """Make a meter that sums events of this name."""

    event_name: str
    name: str


class CreateProduct(_Step, frozen=True, tag="create_product", tag_field="step"):
    """Make a product; `id` None: the provider chooses it."""

    id: str | None
    name: str
    description: str
    key: str
    sold_as: SoldAs


class CreatePrice(_Step, frozen=True, tag="create_price", tag_field="step"):
    """Make a price that takes the lookup key, from whichever had it (`earlier`: all that were made or named for this
    place). `product` and `meter` None: a step before makes it."""

    product: str | None
    charge: Charge
    meter: str | None
    lookup_key: str
    key: str
    part: Part
    earlier: tuple[str, ...]


class MoveKey(_Step, frozen=True, tag="move_key", tag_field="step"):
    """Give the lookup key to a price that is as the catalog says and has none."""

    price: str
    lookup_key: str


class Archive(_Step, frozen=True, tag="archive", tag_field="step"):
    """Sell a price no more. Who has it goes on paying it. `keyed`: a step before takes its lookup key from it."""

    price: str
    keyed: bool


class Nothing(_Step, frozen=True, tag="nothing", tag_field="step"):
    """It is there as the catalog says."""


class Cannot(_Step, frozen=True, tag="cannot", tag_field="step"):
    """A person has to decide or do it."""


Doable = CreateMeter | CreateProduct | CreatePrice | MoveKey | Archive
Step = Doable | Nothing | Cannot


def steps(catalog: Catalog, there: ProviderCatalog, *, archive_old: bool = False) -> tuple[Step, ...]:
    """What is left to do, in the order in which it can be done: meters, then products with their prices.

    `archive_old`: prices that were made from this catalog and have lost their lookup key are sold no more.
    """
    found: list[Step] = list(_meters(catalog, there))
    for place, sold in sold_at(catalog):
        named = [price for price in sold.prices.values() if price.stripe is not None]
        if not named and sold.stripe_product is None:
            continue
        product = _product_of(sold, there)
        made = _product(place, sold, product)
        found.append(made)
        if isinstance(made, Cannot):
            continue
        prices = [_price(f"{place}/prices/{price.key}", sold, price, product, catalog, there) for price in named]
        found += prices
        if archive_old and product is not None:
            found += _old(place, sold, product, there, prices)
    return tuple(found)


def is_ready(step: Step) -> TypeGuard[Doable]:
    """Whether it can be taken now: everything it needs is there."""
    if isinstance(step, CreatePrice):
        return step.product is not None and (step.charge.meter is None or step.meter is not None)
    if isinstance(step, Archive):
        return not step.keyed
    return isinstance(step, CreateMeter | CreateProduct | MoveKey)


def _meters(catalog: Catalog, there: ProviderCatalog) -> Iterator[Step]:
    for feature, name in meters_named(catalog):
        pointer, meter = f"/features/{feature.key}/stripe/meter", there.meter(name)
        if meter is None:
            yield CreateMeter(pointer, f"make a meter that sums events named `{name}`", name, _titled(feature.key))
        elif not meter.active:
            yield Cannot(pointer, f"the meter `{name}` is inactive; reactivate it at Stripe")
        elif meter.formula != "sum":
            yield Cannot(pointer, f"the meter `{name}` aggregates by `{meter.formula}`; name another that sums")
        else:
            yield Nothing(pointer, f"the meter `{name}` is there")


def _product_of(sold: Plan | AddOn, there: ProviderCatalog) -> ProviderProduct | None:
    """The product it names; or the one made for it; or the one of the first of its prices there is."""
    if sold.stripe_product is not None:
        return there.products.get(sold.stripe_product)
    made = [each for each in there.products.values() if (each.key, each.sold_as) == (sold.key, _kind(sold))]
    found = (there.price(price.stripe) for price in sold.prices.values() if price.stripe is not None)
    priced = [there.products[each.product] for each in found if each is not None and each.product in there.products]
    fitting = [*made, *(each for each in priced if each.key in (None, sold.key))]
    return next((each for each in fitting if each.active), fitting[0] if fitting else None)


def _product(place: str, sold: Plan | AddOn, product: ProviderProduct | None) -> Step:
    pointer = f"{place}/stripe" if sold.stripe_product is not None else place
    if product is None:
        name, id = _titled(sold.key), sold.stripe_product
        called = f"make the product `{id}`, called `{name}`" if id else f"make a product called `{name}`"
        return CreateProduct(pointer, called, id, name, sold.description.strip(), sold.key, _kind(sold))
    if not product.active:
        return Cannot(pointer, f"the product `{product.id}` ({product.name}) is archived; unarchive it at Stripe")
    if product.key is not None and product.key != sold.key:
        return Cannot(
            pointer, f"the product `{product.id}` ({product.name}) was made for `{product.key}`; name another"
        )
    return Nothing(pointer, f"the product `{product.id}` ({product.name}) is there")


def _price(
    pointer: str,
    sold: Plan | AddOn,
    price: Price,
    product: ProviderProduct | None,
    catalog: Catalog,
    there: ProviderCatalog,
) -> Step:
    assert price.stripe is not None, "only prices with a name at the provider are made there"
    ref, wanted, found = price.stripe, charge_of(catalog, sold, price), there.price(price.stripe)
    if found is not None and found.active and _fits(wanted, found, product):
        return Nothing(pointer, f"`{ref}` is there as it should be")
    if why := _unsayable(ref, wanted, sold, found) or _shared(ref, price, sold):
        return Cannot(pointer, why)
    if found is not None and found.bought is not False and not known(catalog, found, without_key=True):
        return Cannot(pointer, f"`{ref}` is another price at Stripe, which somebody pays, and without its lookup key "
                      f"nothing would say what that buys; write `stripe: {found.product}` in `{sold.key}` "
                      f"first")  # fmt: skip
    stays = f"; `{found.id}` ({_shown(found.charge)}) stays for who pays it" if found is not None else ""
    ready = _keyless(price, wanted, product, there)
    if ready is not None:
        return MoveKey(pointer, f"move the lookup key `{ref}` to `{ready.id}`, which is as it should be{stays}",
                       ready.id, ref)  # fmt: skip
    moves = f"move the lookup key `{ref}` to it" if found is not None else f"give it the lookup key `{ref}`"
    detail = f"make a price of {_shown(wanted)} and {moves}{stays}"
    meter = there.meter(wanted.meter) if wanted.meter is not None else None
    return CreatePrice(
        pointer,
        detail,
        product.id if product is not None else None,
        wanted,
        meter.id if meter is not None else None,
        ref,
        price.key,
        price.part,
        tuple(each.id for each in there.prices if each is found or _is_of(each, price, product)),
    )


def _unsayable(ref: str, wanted: Charge, sold: Plan | AddOn, found: ProviderPrice | None) -> str | None:
    """Why a price like that can't be made; None: it can."""
    if ref.startswith(("price_", "plan_")) or (found is not None and found.id == ref):
        return f"`{ref}` is the id of a price, which only Stripe chooses; write a lookup key of your own instead"
    if wanted.metered and wanted.meter is None:
        return (f"the catalog doesn't say which usage `{ref}` bills: write a `feature` in this price of `{sold.key}`, "
                "and the feature's `stripe: { meter: … }`, or make the price at Stripe")  # fmt: skip
    if wanted.tiers is None:
        return (f"the catalog doesn't say what a unit costs: write an `amount`, or a priced `overage` of the feature, "
                f"or make the price `{ref}` at Stripe")  # fmt: skip
    if any(decimal(tier.unit) is None or decimal(tier.flat) is None for tier in wanted.tiers):
        return f"a unit costs {shown_amount(wanted)}, and Stripe takes at most 12 decimal places; choose another `per`"
    return None


def _shared(ref: str, price: Price, sold: Plan | AddOn) -> str | None:
    """Why it can't be made where another price before it has the same name; None: none has."""
    first = next(each for each in sold.prices.values() if each.stripe == ref)
    if first is price:
        return None
    return (f"`{ref}` is the lookup key of `{first.key}`, too, and one price has other currencies only as its own "
            "`currency_options`; add them at Stripe, or give this one a lookup key of its own")  # fmt: skip


def _fits(wanted: Charge, found: ProviderPrice, product: ProviderProduct | None) -> bool:
    """Whether what is there is as the catalog says, as far as it says anything."""
    there = found.charge_in(wanted.currency)
    if product is not None and found.product != product.id:
        return False
    if (wanted.currency, wanted.metered, shown_interval(wanted)) != (
        there.currency, there.metered, shown_interval(there)
    ):  # fmt: skip
        return False
    if wanted.meter is not None and wanted.meter != there.meter:
        return False
    return wanted.tiers is None or ((wanted.tiers, wanted.mode) == (there.tiers, there.mode) and not there.unsaid)


def _keyless(
    price: Price, wanted: Charge, product: ProviderProduct | None, there: ProviderCatalog
) -> ProviderPrice | None:
    """A price without a lookup key that is as the catalog says, of this place or of none."""
    return next(
        (each for each in there.prices
         if each.active and each.lookup_key is None and product is not None and _fits(wanted, each, product)
         and (each.key is None or each.key == price.key) and each.part in (None, price.part)),
        None,
    )  # fmt: skip


def _old(
    place: str, sold: Plan | AddOn, product: ProviderProduct, there: ProviderCatalog, prices: Sequence[Step]
) -> Iterator[Step]:
    """Prices made for this that have lost their lookup key, or lose it by one of these steps."""
    takes = {step.price for step in prices if isinstance(step, MoveKey)}
    moved = {step.lookup_key for step in prices if isinstance(step, CreatePrice | MoveKey)}
    named = {price.stripe for price in sold.prices.values()}
    for each in there.prices:
        made = each.active and each.product == product.id and each.key is not None
        if not made or each.id in takes | named or (each.lookup_key is not None and each.lookup_key not in moved):
            continue
        detail = f"archive `{each.id}` ({_shown(each.charge)}), which no lookup key names any more"
        yield Archive(f"{place}/prices/{each.key}", f"{detail}; who has it goes on paying it", each.id,
                      keyed=each.lookup_key is not None)  # fmt: skip


def _is_of(each: ProviderPrice, price: Price, product: ProviderProduct | None) -> bool:
    return product is not None and each.product == product.id and each.key == price.key


def _shown(charge: Charge) -> str:
    metered = f" by the meter `{charge.meter}`" if charge.meter else ""
    return f"{shown_amount(charge)} {charge.currency} {shown_interval(charge)}{metered}"


def _kind(sold: Plan | AddOn) -> SoldAs:
    return "plan" if isinstance(sold, Plan) else "add_on"


def _titled(key: str) -> str:
    return key.replace("_", " ").title()
