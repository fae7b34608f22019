"""What a price of the catalog is at the provider: how much, how often, metered by which meter.

Laws: what the catalog does not say is not made up; what is said twice, as a price and as the overage of the feature it
bills, is one amount.
"""

from fractions import Fraction

from paygrade.catalog.model import AddOn, Allowance, Catalog, Plan, Price
from paygrade.catalog.offers import MeteredFeature
from paygrade.catalog.provider_catalog import Charge, Tier


def charge_of(catalog: Catalog, sold: Plan | AddOn, price: Price) -> Charge:
    """What who buys it pays. `tiers` None, or `meter` None of usage: the catalog does not say."""
    if price.part != "usage":
        return _charge(price, tiers=(Tier(None, Fraction(price.amount)),))
    feature = _billed(catalog, sold, price)
    meter = feature.stripe_meter if feature is not None else None
    if price.tiers:
        tiers = tuple(Tier(tier.up_to, Fraction(tier.amount, tier.per), Fraction(tier.flat)) for tier in price.tiers)
        return _charge(price, meter=meter, tiers=tiers)
    if price.amount:
        return _charge(price, meter=meter, tiers=(Tier(None, Fraction(price.amount, price.per)),))
    return _charge(price, meter=meter, tiers=_overage(sold, feature, price) if feature is not None else None)


def _billed(catalog: Catalog, sold: Plan | AddOn, price: Price) -> MeteredFeature | None:
    """The feature whose usage a price bills: the one it names; else the one that is given with it and reported to a
    meter. None: none is, or several are."""
    if price.feature is not None:
        named = catalog.features.get(price.feature)
        return named if isinstance(named, MeteredFeature) else None
    features = [catalog.features.get(key) for key in sold.terms]
    metered = [each for each in features if isinstance(each, MeteredFeature) and each.stripe_meter]
    return metered[0] if len(metered) == 1 else None


def _charge(price: Price, *, tiers: tuple[Tier, ...] | None, meter: str | None = None) -> Charge:
    return Charge(
        currency=price.currency,
        interval=price.interval,
        interval_count=price.interval_count,
        metered=price.part == "usage",
        meter=meter,
        tiers=tiers,
        mode=price.tiers_mode if tiers is not None and len(tiers) > 1 else "graduated",
    )


def _overage(sold: Plan | AddOn, feature: MeteredFeature, price: Price) -> tuple[Tier, ...] | None:
    """What the plan says that going over its limit costs: where all usage is reported, what is below is free."""
    term = sold.terms.get(feature.key)
    if not isinstance(term, Allowance) or term.overage_price is None or term.overage_price.currency != price.currency:
        return None
    over = Tier(None, Fraction(term.overage_price.amount, term.overage_price.per))
    if feature.report == "overage":
        return (over,)
    if term.units is None or term.by_quantity:
        return None  # the same tiers are not everybody's
    return (Tier(term.units, Fraction(0)), over) if term.units else (over,)
