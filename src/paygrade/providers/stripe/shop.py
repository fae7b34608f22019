"""What a Stripe account sells: products, prices, meters and features, read whole and made one at a time.

Laws: what is active is read whole, up to a bound, and what is not as far as somebody asks for it; nothing that is sold
is edited; whatever is made carries metadata that says what for, and an idempotency key that follows from its content,
so that looking first and then asking again makes nothing twice.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from paygrade.catalog.model import PARTS, Interval, TiersMode
from paygrade.catalog.provider_catalog import (
    Charge,
    ProviderCatalog,
    ProviderFeature,
    ProviderMeter,
    ProviderPrice,
    ProviderProduct,
    SoldAs,
    Tier,
    decimal,
)
from paygrade.catalog.provider_steps import Archive, CreateMeter, CreatePrice, CreateProduct, Doable, MoveKey
from paygrade.providers.stripe.connection import Gone, NotTaken, StripeConnection, not_understood
from paygrade.providers.stripe.fields import Json, Payload
from paygrade.providers.stripe.pages import entries_of
from paygrade.values.errors import Refused, Unavailable

PAGE_SIZE = 100
PRODUCTS_MAX, PRICES_MAX, ARCHIVED_MAX, METERS_MAX, FEATURES_MAX = 5_000, 10_000, 1_000, 1_000, 1_000
"""How many of each are read. Archived prices may be many: each that was given inline is one."""
LOOKUPS_MAX = 300
"""How many single objects are asked for besides the lists."""
KEYS_AT_ONCE = 10
"""How many lookup keys Stripe takes in one request (https://docs.stripe.com/api/prices/list)."""
KEY_TRIES = 5
"""Stripe keeps a failure of its own under its idempotency key for a day and answers with it again, so after this many
failures in a row the next key is used. That is safe, since every step looks first."""
KIND_KEYS: dict[SoldAs, str] = {"plan": "paygrade_plan", "add_on": "paygrade_add_on"}
PRICE_KEY, PART_KEY = "paygrade_price", "paygrade_part"
_DECIMAL = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)
_INTERVALS: dict[str, Interval] = {"day": "day", "week": "week", "month": "month", "year": "year"}


class StripeShop:
    """What one Stripe account sells. Every call blocks."""

    name = "stripe"

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection

    def read_catalog(
        self,
        names: Sequence[str],
        ask: Callable[[ProviderPrice], bool],
        *,
        meters: bool,
        features: bool = False,
    ) -> ProviderCatalog:
        """Everything that is sold; and what has these names (ids of products and prices, lookup keys), sold or not.

        `ask`: of which prices it has to be known whether a live subscription has them. `meters`: with those; else a
        price has the id of its own. `features`: with the features of Stripe's entitlements, and which products have
        them. Raises Unavailable.
        """
        try:
            return _Reading(self._connection).catalog(names, ask, meters=meters, features=features)
        except Refused as mistake:
            raise not_understood(mistake.detail) from mistake

    def take(self, step: Doable, *, tries: int = 0) -> None:
        """Take a step that is ready. `tries`: how often in a row it was in doubt.

        Refused `provider_refused_step` where Stripe will not; Unavailable where it is in doubt whether it has.
        """
        path, params, repeats = _request(step)
        key = None if repeats else f"pg_{_digest(step, params)}_{tries // KEY_TRIES}"
        try:
            self._connection.post(path, idempotency_key=key, **params)
        except NotTaken as refused:
            raise Refused("provider_refused_step", f"Stripe refused to {step.detail}: {refused.message}") from refused


class _Reading:
    """One reading; it counts what it asks for."""

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection
        self._lookups = LOOKUPS_MAX
        self._whole = True

    def catalog(
        self, names: Sequence[str], ask: Callable[[ProviderPrice], bool], *, meters: bool, features: bool
    ) -> ProviderCatalog:
        listed = self._listed("/v1/billing/meters", METERS_MAX) if meters else iter(())
        counting = {meter.id: meter for meter in map(_meter, listed)}
        products, prices = self._products(), self._prices(names, counting)
        priced = {price.id for price in prices} | {price.lookup_key for price in prices}
        # A product may have an id of any form; those that are archived are in no list here.
        missing = {name for name in names if name not in priced}
        asked = tuple(replace(price, bought=self._is_bought(price)) if ask(price) else price for price in prices)
        wanted = missing | {price.product for price in asked if price.active or price.bought}
        for id in sorted(wanted - products.keys()):
            if found := self._one(f"/v1/products/{_quoted(id)}"):
                products[id] = _product(found)
        offered = self._features() if features else None
        if offered:
            products = {id: self._with_features(product) for id, product in products.items()}
        return ProviderCatalog(products, asked, tuple(counting.values()), offered, self._whole)

    def _products(self) -> dict[str, ProviderProduct]:
        active = [_product(each) for each in self._listed("/v1/products", PRODUCTS_MAX, active=True)]
        return {product.id: product for product in active}

    def _prices(self, names: Sequence[str], meters: dict[str, ProviderMeter]) -> tuple[ProviderPrice, ...]:
        expand = ["data.tiers", "data.currency_options"]
        found: dict[str, ProviderPrice] = {}

        def take(listed: Iterator[Json]) -> None:
            for each in listed:
                price = _price(each, meters)
                found.setdefault(price.id, price)

        take(self._listed("/v1/prices", PRICES_MAX, active=True, type="recurring", expand=expand))
        take(self._listed("/v1/prices", ARCHIVED_MAX, active=False, type="recurring", expand=expand))
        keys = {price.lookup_key for price in found.values()}
        missing = [name for name in dict.fromkeys(names) if name not in found and name not in keys]
        wanted = [name for name in missing if not name.startswith("prod_")]
        for start in range(0, len(wanted), KEYS_AT_ONCE):
            some = wanted[start : start + KEYS_AT_ONCE]
            take(self._listed("/v1/prices", PAGE_SIZE, lookup_keys=some, expand=expand))
        for id in missing:
            one = self._one(f"/v1/prices/{_quoted(id)}", expand=["tiers", "currency_options"]) if _is_id(id) else None
            take(iter([one] if one else ()))
        return tuple(found.values())

    def _is_bought(self, price: ProviderPrice) -> bool | None:
        if self._lookups <= 0:
            self._whole = False
            return None
        self._lookups -= 1
        return any(self._listed("/v1/subscriptions", 1, price=price.id))

    def _features(self) -> tuple[ProviderFeature, ...] | None:
        """None: the key may not read them, or there are none of that kind."""
        try:
            listed = list(self._listed("/v1/entitlements/features", FEATURES_MAX))
        except (Gone, Unavailable) as error:
            if isinstance(error, Unavailable) and error.code not in ("provider_refused_key", "provider_answer_invalid"):
                raise
            return None
        read = [Payload(each, "feature") for each in listed]
        return tuple(
            ProviderFeature(each.required_text("lookup_key"), each.text("name") or "")
            for each in read if not each.has("active") or each.flag("active")
        )  # fmt: skip

    def _with_features(self, product: ProviderProduct) -> ProviderProduct:
        if self._lookups <= 0:
            self._whole = False
            return product
        self._lookups -= 1
        attached = self._listed(f"/v1/products/{_quoted(product.id)}/features", PAGE_SIZE)
        offered = (Payload(each, "product_feature").child("entitlement_feature") for each in attached)
        return replace(product, features=tuple(each.required_text("lookup_key") for each in offered))

    def _one(self, path: str, **params: Any) -> Json | None:
        if self._lookups <= 0:
            self._whole = False
            return None
        self._lookups -= 1
        try:
            return self._connection.get(path, **params)
        except Gone:
            return None

    def _listed(self, path: str, most: int, **params: Any) -> Iterator[Json]:
        """The first so many objects of a list, page after page."""
        after: str | None = None
        while True:
            start = {"starting_after": after} if after else {}
            page = self._connection.get(path, **{"limit": min(PAGE_SIZE, most), **params}, **start)
            entries, after = entries_of(path, page, after)
            yield from islice(entries, most)
            most -= len(entries)
            if after is None or most <= 0:
                # One of what is only counted is enough.
                self._whole = self._whole and (after is None or "price" in params)
                return


def _product(found: Json) -> ProviderProduct:
    source = Payload(found, "product")
    metadata = source.child("metadata")
    sold_as = next((kind for kind, key in KIND_KEYS.items() if metadata.text(key)), None)
    return ProviderProduct(
        id=source.required_text("id"),
        name=source.text("name") or "",
        active=source.flag("active"),
        description=source.text("description") or "",
        key=metadata.text(KIND_KEYS[sold_as]) if sold_as else None,
        sold_as=sold_as,
    )


def _price(found: Json, meters: dict[str, ProviderMeter]) -> ProviderPrice:
    source = Payload(found, "price")
    metadata, part = source.child("metadata"), source.child("metadata").text(PART_KEY)
    currency = source.required_text("currency")
    options = source.child("currency_options")
    others = [name for name in options.fields if name != currency]
    return ProviderPrice(
        id=source.required_text("id"),
        product=source.id_of("product") or "",
        active=source.flag("active"),
        charge=_charge(source, source, currency, meters),
        lookup_key=source.text("lookup_key") or None,
        key=metadata.text(PRICE_KEY) or None,
        part=next((each for each in PARTS if each == part), None),
        also=tuple(_charge(source, options.child(name), name, meters) for name in others),
    )


def _charge(source: Payload, terms: Payload, currency: str, meters: dict[str, ProviderMeter]) -> Charge:
    """What is paid in a currency, which `terms` says; `source` says the rest."""
    recurring = source.child("recurring")
    meter = recurring.text("meter")
    package, custom = source.expanded("transform_quantity"), terms.expanded("custom_unit_amount")
    unsaid = []
    if package is not None:
        unsaid.append(f"is sold in packages of {package.integer('divide_by')}, rounded {package.text('round')}")
    if custom is not None:
        unsaid.append("leaves the amount to the customer")
    tiers = _tiers(terms)
    mode: TiersMode = "volume" if source.text("tiers_mode") == "volume" and tiers and len(tiers) > 1 else "graduated"
    return Charge(
        currency=currency,
        interval=_INTERVALS.get(recurring.text("interval") or ""),
        interval_count=recurring.integer("interval_count") or 1,
        metered=recurring.text("usage_type") == "metered",
        meter=(meters[meter].event_name if meter in meters else meter) if meter else None,
        tiers=tiers,
        mode=mode,
        unsaid=tuple(unsaid),
    )


def _tiers(terms: Payload) -> tuple[Tier, ...] | None:
    amount = _amount(terms, "unit_amount")
    if amount is not None:
        return (Tier(None, amount),)
    nothing = Fraction(0)
    tiers = [
        Tier(each.integer("up_to"), _amount(each, "unit_amount") or nothing, _amount(each, "flat_amount") or nothing)
        for each in terms.listed("tiers")
    ]
    return tuple(tiers) or None


def _amount(terms: Payload, name: str) -> Fraction | None:
    """An amount, which `…_decimal` says with what is below a minor unit."""
    written = terms.text(f"{name}_decimal")
    if written is None:
        whole = terms.integer(name)
        return None if whole is None else Fraction(whole)
    if not _DECIMAL.fullmatch(written):
        terms.refuse(f"{name}_decimal", "a decimal number")
    return Fraction(written)


def _meter(found: Json) -> ProviderMeter:
    source = Payload(found, "meter")
    return ProviderMeter(
        id=source.required_text("id"),
        event_name=source.required_text("event_name"),
        name=source.text("display_name") or "",
        active=source.text("status") == "active",
        formula=source.child("default_aggregation").text("formula") or "",
        value_key=source.child("value_settings").text("event_payload_key") or "value",
    )


def _request(step: Doable) -> tuple[str, dict[str, Any], bool]:
    """The path and parameters of a step, and whether they say by themselves that it was taken before."""
    match step:
        case CreateMeter():
            return "/v1/billing/meters", {
                "display_name": step.name,
                "event_name": step.event_name,
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
                "value_settings": {"event_payload_key": "value"},
            }, False  # fmt: skip
        case CreateProduct():
            known = {"id": step.id, "description": step.description}
            given = {name: value for name, value in known.items() if value}
            return "/v1/products", {"name": step.name, "metadata": {KIND_KEYS[step.sold_as]: step.key}, **given}, False
        case CreatePrice():
            return "/v1/prices", _price_params(step), False
        case MoveKey():
            params = {"lookup_key": step.lookup_key, "transfer_lookup_key": True}
            return f"/v1/prices/{_quoted(step.price)}", params, True
        case Archive():
            return f"/v1/prices/{_quoted(step.price)}", {"active": False}, True


def _price_params(step: CreatePrice) -> dict[str, Any]:
    charge = step.charge
    assert charge.tiers is not None, "a step without an amount is none"
    recurring: dict[str, Any] = {"interval": charge.interval, "interval_count": charge.interval_count}
    if charge.metered:
        recurring |= {"usage_type": "metered", "meter": step.meter}
    unit = charge.unit
    costs: dict[str, Any] = {"unit_amount_decimal": decimal(unit)} if unit is not None else {
        "billing_scheme": "tiered",
        "tiers_mode": charge.mode,
        "tiers": [_tier_params(tier) for tier in charge.tiers],
    }  # fmt: skip
    return {
        "product": step.product,
        "currency": charge.currency,
        "recurring": recurring,
        "lookup_key": step.lookup_key,
        "transfer_lookup_key": True,
        "metadata": {PRICE_KEY: step.key, PART_KEY: step.part},
        **costs,
    }


def _tier_params(tier: Tier) -> dict[str, Any]:
    flat = {"flat_amount_decimal": decimal(tier.flat)} if tier.flat else {}
    return {"up_to": tier.up_to or "inf", "unit_amount_decimal": decimal(tier.unit), **flat}


def _digest(step: Doable, params: dict[str, Any]) -> str:
    """What a step makes, and after what: a price that was made, replaced and is wanted again is another one."""
    earlier = step.earlier if isinstance(step, CreatePrice) else ()
    said = msgspec.json.encode([params, earlier], order="deterministic")
    return hashlib.sha256(said).hexdigest()[:32]


def _is_id(name: str) -> bool:
    return name.startswith(("price_", "plan_"))


def _quoted(id: str) -> str:
    return quote(id, safe="")
