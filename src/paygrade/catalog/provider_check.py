"""The catalog held against what the provider sells: what is missing, archived, of another amount, or not known here.

Laws: a difference is a pure function of both sides; each place of the catalog, and each object of the provider, has at
most one; what the catalog does not say is not compared; without differences, whoever buys what the catalog names pays
what it says and gets what it gives.
"""

from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct

from paygrade.catalog.model import AddOn, Catalog, Plan, Price, find_key
from paygrade.catalog.offers import MeteredFeature
from paygrade.catalog.provider_catalog import (
    Charge,
    ProviderCatalog,
    ProviderPrice,
    ProviderProduct,
    shown_amount,
    shown_interval,
)
from paygrade.catalog.provider_charges import charge_of

Code = Literal["missing", "archived", "differs", "key_moved", "not_in_catalog"]


class Difference(Struct, frozen=True):
    """One thing that is otherwise at the provider. `pointer`: the place in the document, empty where there is none.
    `object`: the id or lookup key at the provider. `message`: what is wrong, and what to do."""

    code: Code
    pointer: str
    object: str
    message: str

    @property
    def subject(self) -> str:
        """What tells it from every other one."""
        return self.pointer or self.object


def differences(catalog: Catalog, there: ProviderCatalog) -> tuple[Difference, ...]:
    """Everything that differs, in the order of the document; then what the document does not know."""
    found = list(_of_meters(catalog, there))
    for place, sold in sold_at(catalog):
        found += _of_product(place, sold, there)
        for price in sold.prices.values():
            found += _of_price(f"{place}/prices/{price.key}", sold, price, catalog, there)
    return (*found, *_unknown(catalog, there))


def sold_at(catalog: Catalog) -> Iterator[tuple[str, Plan | AddOn]]:
    """Every plan and add-on, with its place in the document."""
    for plan in catalog.plans.values():
        yield f"/plans/{plan.key}", plan
    for add_on in catalog.add_ons.values():
        yield f"/add_ons/{add_on.key}", add_on


def whether_bought(catalog: Catalog) -> Callable[[ProviderPrice], bool]:
    """Of which prices it has to be known whether somebody pays them: those whose buyers the catalog does not know, or
    knows by a lookup key alone that may move."""

    def ask(price: ProviderPrice) -> bool:
        return price.charge.interval is not None and not known(catalog, price, without_key=True)

    return ask


def meters_named(catalog: Catalog) -> Iterator[tuple[MeteredFeature, str]]:
    """Features whose usage is reported, with the event name of their meter."""
    for feature in catalog.features.values():
        if isinstance(feature, MeteredFeature) and feature.stripe_meter is not None:
            yield feature, feature.stripe_meter


def has_meters(catalog: Catalog) -> bool:
    """Whether it names meters at the provider. Where it names none, none are asked for."""
    return any(meters_named(catalog))


def known(catalog: Catalog, price: ProviderPrice, *, without_key: bool = False) -> bool:
    """Whether the catalog knows what who has this price has bought; `without_key`: and would, if its key moved."""
    key = None if without_key else price.lookup_key
    return find_key(catalog, price=price.id, lookup_key=key, product=price.product, plan=None) is not None


def _of_meters(catalog: Catalog, there: ProviderCatalog) -> Iterator[Difference]:
    for feature, name in meters_named(catalog):
        pointer, meter = f"/features/{feature.key}/stripe/meter", there.meter(name)
        if meter is None:
            yield Difference("missing", pointer, name, f"Stripe has no meter for events named `{name}`; "
                             "`paygrade catalog push --to-stripe` makes it")  # fmt: skip
        elif not meter.active:
            yield Difference("archived", pointer, meter.id, f"the meter `{name}` is inactive at Stripe; reactivate it")
        elif meter.formula != "sum":
            yield Difference("differs", pointer, meter.id, f"the meter `{name}` aggregates by `{meter.formula}`, and "
                             "usage is reported to one that sums; name another meter")  # fmt: skip


def _of_product(place: str, sold: Plan | AddOn, there: ProviderCatalog) -> Iterator[Difference]:
    if sold.stripe_product is None:
        return
    pointer, product = f"{place}/stripe", there.products.get(sold.stripe_product)
    if product is None:
        yield Difference("missing", pointer, sold.stripe_product, f"Stripe has no product `{sold.stripe_product}`; "
                         "name one it has, or let `paygrade catalog push --to-stripe` make it")  # fmt: skip
    elif not product.active and any(price.stripe for price in sold.prices.values()):
        yield Difference("archived", pointer, product.id, f"the product `{product.id}` ({product.name}) is archived at "
                         f"Stripe, so nobody can buy `{sold.key}`; unarchive it, or name another")  # fmt: skip
    elif product.key is not None and product.key != sold.key:
        yield Difference("differs", pointer, product.id, f"the product `{product.id}` ({product.name}) was made for "
                         f"`{product.key}`, not for `{sold.key}`; name the right one, or change its metadata "
                         f"at Stripe")  # fmt: skip


def _of_price(
    pointer: str, sold: Plan | AddOn, price: Price, catalog: Catalog, there: ProviderCatalog
) -> Iterator[Difference]:
    if price.stripe is None:
        return
    found, place = there.price(price.stripe), f"{pointer}/stripe"
    if found is None:
        earlier = next((each for each in there.prices if _was_made_for(each, sold, price, there)), None)
        lost = f"; `{earlier.id}` had it" if earlier is not None else ""
        yield Difference("missing", place, price.stripe, f"Stripe has no price `{price.stripe}`{lost}; "
                         "`paygrade catalog push --to-stripe` makes it")  # fmt: skip
        return
    wrong = [
        *_otherwise(charge_of(catalog, sold, price), found.charge_in(price.currency)),
        *_of_another(sold, found, catalog, there),
    ]
    if not found.active:
        yield Difference("archived", place, found.id, f"the price `{price.stripe}` is archived at Stripe, so nobody "
                         f"can buy it{_also(wrong)}; unarchive it, or name another")  # fmt: skip
    elif wrong:
        yield Difference("differs", place, found.id, f"the price `{price.stripe}` at Stripe {'; it '.join(wrong)}; "
                         "correct this file, or let `paygrade catalog push --to-stripe` make a price like it and move "
                         "the lookup key to that")  # fmt: skip


def _otherwise(wanted: Charge, found: Charge) -> Iterator[str]:
    """What is paid otherwise, as the ends of sentences about the price there."""
    if found.interval is None:
        yield "is paid once, not every so often"
    elif shown_interval(wanted) != shown_interval(found):
        yield f"is paid {shown_interval(found)}, not {shown_interval(wanted)}"
    if wanted.currency != found.currency:
        yield f"is in {found.currency}, not in {wanted.currency}"
    if wanted.metered != found.metered:
        yield "is metered, and here it is not `part: usage`" if found.metered else "is not metered, and here it is"
    elif wanted.meter is not None and wanted.meter != found.meter:
        yield f"is billed by the meter `{found.meter or 'none'}`, not by `{wanted.meter}`"
    if wanted.tiers is not None and (wanted.tiers, wanted.mode) != (found.tiers, found.mode):
        yield f"costs {shown_amount(found)}, not {shown_amount(wanted)}"
    elif wanted.tiers is not None:
        yield from found.unsaid


def _of_another(sold: Plan | AddOn, found: ProviderPrice, catalog: Catalog, there: ProviderCatalog) -> Iterator[str]:
    """Whether its product is another plan's."""
    product = there.products.get(found.product)
    if sold.stripe_product is not None:
        if found.product != sold.stripe_product:
            yield f"belongs to the product `{found.product}`, not to `{sold.stripe_product}`"
    elif product is not None and product.key is not None:
        if product.key != sold.key:
            yield f"belongs to the product of `{product.key}`, not of `{sold.key}`"
    elif product is not None and (named := _named_like(product, sold, catalog)):
        yield f"belongs to the product called `{product.name}`, and `{named}` is another one here"
    if product is not None and not product.active and product.id != sold.stripe_product:
        yield f"belongs to the product `{product.id}`, which is archived, so nobody can buy it"


def _named_like(product: ProviderProduct, sold: Plan | AddOn, catalog: Catalog) -> str | None:
    """The other plan or add-on that the product is called like."""
    name = "_".join(product.name.lower().split())
    return name if name != sold.key and (name in catalog.plans or name in catalog.add_ons) else None


def _was_made_for(found: ProviderPrice, sold: Plan | AddOn, price: Price, there: ProviderCatalog) -> bool:
    product = there.products.get(found.product)
    return product is not None and (product.key, found.key) == (sold.key, price.key)


def _also(wrong: list[str]) -> str:
    return f" (and it {'; it '.join(wrong)})" if wrong else ""


def _unknown(catalog: Catalog, there: ProviderCatalog) -> Iterator[Difference]:
    """What is sold, or paid by somebody, that the catalog does not know."""
    for price in there.prices:
        product = there.products.get(price.product)
        sells = price.active and product is not None and product.active
        if price.charge.interval is None or known(catalog, price) or not (sells or price.bought):
            continue
        name = f"`{price.lookup_key or price.id}` of the product `{price.product}`"
        called = f"{name} ({product.name})" if product is not None else name
        if price.key is not None and price.lookup_key is None and price.bought:
            yield Difference("key_moved", "", price.id, f"somebody still pays the price {called}, whose lookup key has "
                             f"moved, and nothing here says what that buys; write `stripe: {price.product}` in its "
                             "plan or add-on")  # fmt: skip
            continue
        paid = " and paid by somebody" if price.bought and sells else ""
        state = f"sold at Stripe{paid}" if sells else "paid by somebody"
        yield Difference("not_in_catalog", "", price.id, f"the price {called} is {state}, and no plan or add-on names "
                         "it; add it to a plan's `prices`, or archive it at Stripe")  # fmt: skip
