"""A catalog's document made of what a provider sells: plans by product, with what could not be known said beside it.

Laws: the document has no mistakes; held against the same provider it differs in nothing; what was made from a catalog
comes back under the keys it had there. Nothing is made up: what a catalog cannot say is left out, and told.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from fractions import Fraction
from typing import Any

from msgspec import Struct

from paygrade.catalog.provider_catalog import (
    PLACES_MAX,
    Charge,
    ProviderCatalog,
    ProviderMeter,
    ProviderPrice,
    ProviderProduct,
    SoldAs,
    Tier,
    shown_amount,
    shown_interval,
)
from paygrade.catalog.windows import is_currency
from paygrade.values.text import _UNPRINTABLE, QUANTITY_MAX, is_key

_BESIDE = re.compile(r"\b(add[- ]?ons?|extra|additional|boosters?|packs?|top[- ]?ups?)\b", re.IGNORECASE)
_EVERY = {"day": "daily", "week": "weekly", "month": "monthly", "year": "yearly"}
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
Comments = dict[str, list[str]]
"""What is said beside the document, by the JSON Pointer of the line it stands before."""


class Pulled(Struct, frozen=True):
    """A document, and what is said beside it. Any: plain data."""

    document: dict[str, Any]
    comments: Comments


def pull(there: ProviderCatalog) -> Pulled:
    """Write down what is sold there, or paid by somebody."""
    comments: Comments = {"": [
        "What Stripe sells, as a catalog. Stripe does not know what a plan gives: complete `entitlements`,",
        "say which plan is the `default`, and add `policies` (docs/catalog.md).",
    ]}  # fmt: skip
    features, meter_keys, feature_keys = _features(there, comments)
    sold = [(product, prices) for product in there.products.values() if (prices := _sold(product, there))]
    sold.sort(key=lambda each: (_monthly(each[1]), each[0].name, each[0].id))
    keys: set[str] = set()
    plans: dict[str, Any] = {}
    add_ons: dict[str, Any] = {}
    for product, prices in sold:
        kind = product.sold_as or _guessed(product)
        key = _key(product.key, product.name, kind, keys)
        pointer = f"/{kind}s/{key}"
        if product.sold_as is None and kind == "add_on":
            comments.setdefault(pointer, []).append("An add-on, by its name. Is it a plan? Then move it to `plans`.")
        item: dict[str, Any] = {} if not (text := _text(product.description)) else {"description": text}
        item |= {"stripe": product.id} | _prices(product, prices, meter_keys, pointer, comments)
        terms = {feature_keys[name]: True for name in product.features if name in feature_keys}
        if kind == "plan":
            terms |= _metered(prices, meter_keys, pointer, comments)
        (plans if kind == "plan" else add_ons)[key] = item | ({"entitlements": terms} if terms else {})
    if len(plans) > 1:
        comments.setdefault("/plans", []).append("By price, the cheapest first: a plan further down is an upgrade.")
    if not there.whole:
        comments[""].append("There is more at Stripe than was read; this is a part.")
    document = {"version": 1, "features": features, "plans": plans} | ({"add_ons": add_ons} if add_ons else {})
    return Pulled(document, comments)


def _features(there: ProviderCatalog, comments: Comments) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """The features; the keys of those that have a meter, by its event name; of the others, by lookup key."""
    found: dict[str, Any] = {}
    keys: set[str] = set()
    feature_keys, meter_keys = {}, {}
    for feature in there.features or ():
        if feature.lookup_key in feature_keys:
            continue
        key = feature_keys[feature.lookup_key] = _key(None, feature.lookup_key, "feature", keys)
        found[key] = {"kind": "boolean"} | ({"description": text} if (text := _text(feature.name)) else {})
    if there.features is None:
        comments[""].append("Features of Stripe's entitlements were not read: give the key read on Entitlements.")
    for name in dict.fromkeys(meter.event_name for meter in there.meters):
        meter = there.meter(name)
        if meter is None or not meter.active or _text(name) != name or not name.strip():
            continue
        key = _key(None, name, "usage", keys)
        found[key] = _feature(meter, comments, f"/features/{key}")
        if meter.formula == "sum":
            meter_keys[name] = key
    return found, meter_keys, feature_keys


def _feature(meter: ProviderMeter, comments: Comments, pointer: str) -> dict[str, Any]:
    said = {"kind": "metered", "event": meter.event_name}
    if meter.formula == "sum":
        comments.setdefault(pointer, []).append("Does your app report one event for each unit, or units as a property?")
        return said | {"stripe": {"meter": meter.event_name, "report": "all"}}
    comments.setdefault(pointer, []).append(
        f"Its meter at Stripe aggregates by `{meter.formula}`; usage is reported only to meters that sum."
    )
    return said


def _sold(product: ProviderProduct, there: ProviderCatalog) -> list[ProviderPrice]:
    """Its prices that are sold, or that somebody pays. The oldest first, as the provider lists the newest first."""
    own = [each for each in reversed(there.prices) if each.product == product.id and each.charge.interval is not None]
    return [each for each in own if (each.active and product.active) or each.bought]


def _prices(
    product: ProviderProduct,
    prices: Iterable[ProviderPrice],
    meter_keys: dict[str, str],
    pointer: str,
    comments: Comments,
) -> dict[str, Any]:
    """The prices that are sold and that a catalog can say; what else there is, is told."""
    said: dict[str, Any] = {}
    told = comments.setdefault(pointer, [])
    counts = Counter(each.charge.currency for each in prices)
    usual = counts.most_common(1)[0][0] if counts else ""
    for price in prices:
        if not (price.active and product.active):
            told.append(f"`{price.id}` is sold no more, and somebody pays it: its product says that they have this.")
            continue
        for charge in (price.charge, *price.also):
            cost = _cost(charge)
            if cost is None or not is_currency(charge.currency):
                told.append(f"`{price.lookup_key or price.id}` costs {shown_amount(charge)} {charge.currency} "
                            f"{shown_interval(charge)}{''.join(f', and {each}' for each in charge.unsaid)}, which this "
                            "file can't say; who buys it has this plan by its product.")  # fmt: skip
                continue
            key = _price_key(price, charge, usual, said)
            feature = meter_keys.get(charge.meter or "")
            said[key] = _price(price, charge, cost | ({"feature": feature} if charge.metered and feature else {}))
            if charge.metered and not _says(cost, charge):
                comments[f"{pointer}/prices/{key}"] = [f"At Stripe: {shown_amount(charge)} for each unit."]
    if not told:
        del comments[pointer]
    _tell_alternatives(said, pointer, comments)
    return {"prices": said} if said else {}


def _price(price: ProviderPrice, charge: Charge, cost: dict[str, Any]) -> dict[str, Any]:
    part = "usage" if charge.metered else price.part if price.part != "usage" else None
    said: dict[str, Any] = {} if part in (None, "quantity") else {"part": part}
    said |= cost | {"currency": charge.currency, "interval": charge.interval}
    if charge.interval_count != 1:
        said["interval_count"] = charge.interval_count
    lookup_key = price.lookup_key if price.lookup_key and _text(price.lookup_key) == price.lookup_key else None
    return said | {"stripe": lookup_key if lookup_key and lookup_key.strip() else price.id}


def _cost(charge: Charge) -> dict[str, Any] | None:
    """What is paid as the document has it: of usage 0 where it can't say it. None: it can't."""
    unit = charge.unit
    if not charge.metered:
        return {"amount": int(unit)} if unit is not None and unit.denominator == 1 and unit <= QUANTITY_MAX else None
    if charge.tiers is None or charge.unsaid:
        return {"amount": 0}
    tiers = [_tier(tier) for tier in charge.tiers]
    if None in tiers:
        return {"amount": 0}
    if unit is not None:
        return {"amount": 0, **(tiers[0] or {})}
    mode = {"tiers_mode": charge.mode} if charge.mode != "graduated" else {}
    return {"amount": 0, "tiers": tiers, **mode}


def _tier(tier: Tier) -> dict[str, int] | None:
    """An amount for so many units that it is whole; None: a document takes no number like that."""
    per = next((10**places for places in range(PLACES_MAX + 1) if (tier.unit * 10**places).denominator == 1), 0)
    amount = int(tier.unit * per)
    if not per or tier.flat.denominator != 1 or max(amount, int(tier.flat)) > QUANTITY_MAX:
        return None
    said = {"up_to": tier.up_to or 0, "amount": amount, "per": per if per > 1 else 0, "flat_amount": int(tier.flat)}
    return {name: value for name, value in said.items() if value}


def _says(cost: dict[str, Any], charge: Charge) -> bool:
    """Whether the document has said what is paid: an amount of 0 there means that nobody here knows it."""
    return "tiers" in cost or bool(cost["amount"]) or charge.unit == 0


def _price_key(price: ProviderPrice, charge: Charge, usual: str, taken: Collection[str]) -> str:
    own = price.key if charge is price.charge else None
    count = charge.interval_count
    name = _EVERY[charge.interval or "month"] if count == 1 else f"every_{count}_{charge.interval}s"
    parts = [price.part if price.part == "flat" else "", "usage" if charge.metered else "", name]
    parts.append(charge.currency if charge.currency != usual else "")
    return _unique(own if is_key(own) else "_".join(part for part in parts if part), taken)


def _tell_alternatives(said: dict[str, Any], pointer: str, comments: Comments) -> None:
    """Prices of one part are alternatives; of those for the same time one may as well be bought beside the other."""
    seen: dict[tuple[object, ...], str] = {}
    for key, price in said.items():
        same = tuple(price.get(name) for name in ("part", "currency", "interval", "interval_count"))
        if same in seen and "part" not in price:
            comments.setdefault(f"{pointer}/prices/{key}", []).append(
                f"Here `{key}` and `{seen[same]}` are alternatives; if both are bought together, one is `part: flat`."
            )
        seen.setdefault(same, key)


def _metered(
    prices: Iterable[ProviderPrice], meter_keys: dict[str, str], pointer: str, comments: Comments
) -> dict[str, Any]:
    meters = {each.charge.meter for each in prices if each.charge.metered}
    keys = {meter_keys.get(meter or "") for meter in meters}
    if None in keys or not keys:
        return {}
    comments[f"{pointer}/entitlements"] = ["How much of it comes with the plan, Stripe doesn't say."]
    return dict.fromkeys(sorted(key for key in keys if key), "unlimited")


def _guessed(product: ProviderProduct) -> SoldAs:
    return "add_on" if _BESIDE.search(product.name) else "plan"


def _monthly(prices: Iterable[ProviderPrice]) -> Fraction:
    """What the cheapest of them costs in a month, about."""
    costs = [
        Fraction(each.charge.unit * 30, _DAYS[each.charge.interval or "month"] * each.charge.interval_count)
        for each in prices if each.charge.unit is not None and not each.charge.metered
    ]  # fmt: skip
    return min(costs, default=Fraction(0))


def _key(own: str | None, name: str, prefix: str, taken: set[str]) -> str:
    """A key for it that nothing else has: its own, or one made of its name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:60]
    made = own if is_key(own) else slug if is_key(slug) else f"{prefix}_{slug}".rstrip("_")
    key = _unique(f"{prefix}_none" if made == "none" else made, taken)
    taken.add(key)
    return key


def _unique(key: str, taken: Collection[str]) -> str:
    number = 2
    found = key
    while found in taken:
        found, number = f"{key}_{number}", number + 1
    return found


def _text(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()
