"""What is on sale: the plans and add-ons of the catalog in force, as a page of prices shows them.

Law: nothing is shown of a plan that is hidden, and nothing of what prices are called at the provider.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from paygrade.catalog.model import AddOn, Catalog, Plan, Price, Quantities, Term
from paygrade.entitlements.model import Kind, Offer, kind_of
from paygrade.entitlements.sources import offers

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.server.state.snapshots import Snapshots


class OfferText(Struct, frozen=True):
    """What a feature or credit is, in words. `in_seats`: members take it up."""

    kind: Kind
    unit: str
    description: str
    in_seats: bool = False


class PlanOnSale(Struct, frozen=True):
    """A plan as one can buy it. `prices` that are alternatives have one `part`; without any, it has to be asked for."""

    plan: str
    version: int
    description: str
    default: bool
    trial_days: int | None
    prices: tuple[Price, ...]
    terms: dict[str, Term]
    quantities: Quantities | None


class AddOnOnSale(Struct, frozen=True):
    """An add-on as one can buy it beside a plan."""

    add_on: str
    version: int
    description: str
    prices: tuple[Price, ...]
    terms: dict[str, Term]
    quantities: Quantities | None


class OnSale(Struct, frozen=True):
    """Plans from the lowest up, add-ons, and what their `terms` speak of. Amounts are in minor units."""

    catalog_version: int
    plans: tuple[PlanOnSale, ...]
    add_ons: tuple[AddOnOnSale, ...]
    features: dict[str, OfferText]


async def list_on_sale(store: "Store", snapshots: "Snapshots", *, hidden: Collection[str] = ()) -> OnSale:
    """List what is on sale.

    The plans, lowest first, and the add-ons of the catalog in force, with their prices and what they give, for a page
    of prices. Plans that the portal's settings hide are left out.
    """
    return on_sale(await snapshots.catalog(store), hidden)


def on_sale(catalog: Catalog, hidden: Collection[str] = ()) -> OnSale:
    plans = tuple(_plan(plan) for plan in catalog.plans.values() if plan.key not in hidden)
    add_ons = tuple(_add_on(add_on) for add_on in catalog.add_ons.values() if add_on.key not in hidden)
    return OnSale(catalog.version, plans, add_ons, texts(catalog))


def texts(catalog: Catalog) -> dict[str, OfferText]:
    """What each feature and credit is, in words."""
    return {key: _text(offer) for key, offer in offers(catalog).items()}


def _text(offer: Offer) -> OfferText:
    counts_seats = getattr(offer, "counts_seats", False)
    return OfferText(kind_of(offer), getattr(offer, "unit", ""), offer.description, counts_seats)


def _plan(plan: Plan) -> PlanOnSale:
    return PlanOnSale(plan.key, plan.version, plan.description, plan.default, plan.trial_days, _prices(plan.prices),
                      plan.terms, plan.quantities)  # fmt: skip


def _add_on(add_on: AddOn) -> AddOnOnSale:
    return AddOnOnSale(add_on.key, add_on.version, add_on.description, _prices(add_on.prices), add_on.terms,
                       add_on.quantities)  # fmt: skip


def _prices(prices: Mapping[str, Price]) -> tuple[Price, ...]:
    return tuple(shown for price in prices.values() if (shown := on_sale_price(price)) is not None)


def on_sale_price(price: Price | None) -> Price | None:
    """A price without what it is called at the provider."""
    return replace(price, stripe=None) if price is not None else None
