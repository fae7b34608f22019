"""What prices are made of: amounts in each currency, tiers, packages, and how often they recur.

Laws. A price costs something in its own currency and in those of `currency_options`, all in one scheme: by the
unit, or by tiers that begin at nothing and end at nothing less than everything. Amounts have up to twelve decimal
places; `unit_amount` is null if there are any. (Stripe docs: create a price.)
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from paygrade.simulator import errors, forms
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import products as product_shapes
from paygrade.simulator.world import World

OPTION_FIELDS = frozenset({"custom_unit_amount", "tax_behavior", "tiers", "unit_amount", "unit_amount_decimal"})
TIER_FIELDS = frozenset({"flat_amount", "flat_amount_decimal", "unit_amount", "unit_amount_decimal", "up_to"})
RECURRING_FIELDS = frozenset({"interval", "interval_count", "usage_type", "meter", "trial_period_days"})
INLINE_FIELDS = frozenset({"currency", "product", "recurring", "tax_behavior", "unit_amount", "unit_amount_decimal"})
TAX_BEHAVIORS = ("exclusive", "inclusive", "unspecified")
INTERVALS_MAX = {"day": 1095, "week": 156, "month": 36, "year": 3}  # Stripe docs: create a price: three years
INTERVALS = tuple(INTERVALS_MAX)
USAGE_TYPES = ("licensed", "metered")
PLACES_MAX = 12
AMOUNT_MAX = 99_999_999_999  # Stripe answers more with `amount_too_large`: up to twelve digits


def make(world: World, params: Json, *, product: Json, within: str = "") -> Json:
    """Work out a price from its parameters, without keeping it: `keep` does."""
    currency = forms.read_currency(params)
    scheme = forms.read_choice(params, "billing_scheme", ("per_unit", "tiered")) or "per_unit"
    tiered = scheme == "tiered"
    mode = forms.read_choice(params, "tiers_mode", ("graduated", "volume"))
    if tiered and mode is None:
        raise errors.missing_parameter(_path(within, "tiers_mode"))
    if not tiered and "tiers" in params:
        raise errors.invalid(_path(within, "tiers"), "`tiers` need `billing_scheme=tiered`.")
    own = _read_option(params, tiered=tiered, within=within)
    options = {currency: own, **_read_options(params, tiered=tiered, besides=currency, within=within)}
    recurring = read_recurring(world, params, within=within)
    transform = _read_transform(params, within=within)
    if transform and tiered:
        raise errors.invalid(
            _path(within, "transform_quantity"), "`transform_quantity` can't be combined with `tiers`."
        )
    price = product_shapes.price(
        id=world.new_id("price"),
        at=world.at,
        product=product["id"],
        recurring=recurring,
        billing_scheme=scheme,
        currency=currency,
        custom_unit_amount=own["custom_unit_amount"],
        lookup_key=forms.read_text(params, "lookup_key") or None,
        metadata=forms.merge_metadata({}, params),
        nickname=forms.read_text(params, "nickname") or None,
        tax_behavior=own["tax_behavior"],
        tiers_mode=mode if tiered else None,
        transform_quantity=transform,
        unit_amount=own["unit_amount"],
        unit_amount_decimal=own["unit_amount_decimal"],
        active=forms.read_bool(params, "active") is not False,
    )
    world.price_options[price["id"]] = options
    if recurring is not None:
        world.plans[price["id"]] = product_shapes.plan(price)
    return price


def make_inline(world: World, data: Json, *, param: str, recurs: bool) -> Json:
    """Work out a price that is given as `price_data`; it can be used once only (Stripe docs: inline pricing)."""
    forms.check_known(data, INLINE_FIELDS if recurs else INLINE_FIELDS - {"recurring"}, within=param)
    if recurs and "recurring" not in data:
        raise errors.missing_parameter(f"{param}[recurring]")
    named = forms.read_text(data, "product")
    if not named:
        raise errors.missing_parameter(f"{param}[product]")
    product = world.get("product", named, param=f"{param}[product]")
    return make(world, {**data, "active": "false"}, product=product, within=param)


def keep(world: World, price: Json) -> Json:
    """Make a price an object of its own, unless it is one already."""
    if price["id"] not in world.objects:
        world.put(price, price["product"])
        world.emit("price.created", price)
    return price


def add_options(world: World, price: Json, params: Json) -> None:
    """Offer a price in more currencies, or at other amounts in those it has beside its own."""
    tiered = price["billing_scheme"] == "tiered"
    added = _read_options(params, tiered=tiered, besides=price["currency"], within="")
    world.price_options[price["id"]].update(added)


def read_recurring(world: World, params: Json, *, within: str = "") -> Json | None:
    if "recurring" not in params:
        return None
    param = _path(within, "recurring")
    wanted = forms.read_object(params, "recurring")
    forms.check_known(wanted, RECURRING_FIELDS, within=param)
    interval = forms.read_choice(wanted, "interval", INTERVALS)
    if interval is None:
        raise errors.missing_parameter(f"{param}[interval]")
    count = forms.read_int(wanted, "interval_count")
    usage_type = forms.read_choice(wanted, "usage_type", USAGE_TYPES) or "licensed"
    if meter := forms.read_text(wanted, "meter"):
        world.get("billing.meter", meter, param=f"{param}[meter]")
        if usage_type != "metered":
            raise errors.invalid(f"{param}[meter]", "A meter goes with `usage_type=metered`.")
    if count is not None and count < 1:
        raise errors.invalid(f"{param}[interval_count]", "This value must be greater than or equal to 1.")
    if count is not None and count > INTERVALS_MAX[interval]:
        message = f"The interval can be at most three years: {INTERVALS_MAX[interval]} × {interval}."
        raise errors.invalid(f"{param}[interval_count]", message)
    recurring = product_shapes.recurring(
        interval=interval, interval_count=count or 1, usage_type=usage_type, meter=meter or None
    )
    recurring["trial_period_days"] = forms.read_int(wanted, "trial_period_days")
    return recurring


def _read_options(params: Json, *, tiered: bool, besides: str, within: str) -> dict[str, Json]:
    options = {}
    for currency, terms in forms.read_object(params, "currency_options").items():
        param = f"{_path(within, 'currency_options')}[{currency}]"
        if currency not in forms.CURRENCIES:
            raise errors.invalid(param, f"Invalid currency: {currency}. Use a three-letter ISO code in lowercase.")
        if currency == besides:
            message = f"`{currency}` is the price's own currency; give its amount outside of `currency_options`."
            raise errors.invalid(param, message)
        if not isinstance(terms, dict):
            raise errors.invalid(param, f"Invalid object: {param}")
        forms.check_known(terms, OPTION_FIELDS, within=param)
        options[currency] = _read_option(terms, tiered=tiered, within=param)
    return options


def _read_option(params: Json, *, tiered: bool, within: str) -> Json:
    """Read what one unit costs in one currency, or the tiers that tell."""
    option: Json = {
        "custom_unit_amount": _read_custom(params, within=within),
        "tax_behavior": forms.read_choice(params, "tax_behavior", TAX_BEHAVIORS) or "unspecified",
        "unit_amount": None,
        "unit_amount_decimal": None,
    }
    if tiered:
        option["tiers"] = _read_tiers(params, within=within)
    elif option["custom_unit_amount"] is None:
        amount = read_amount(params, "unit_amount", within=within)
        if amount is None:
            raise errors.missing_parameter(_path(within, "unit_amount"))
        option.update(amount)
    return option


def read_amount(params: Json, name: str, *, within: str = "", negative: bool = False) -> Json | None:
    """Read `<name>` or `<name>_decimal` into both: the one is null if there are fractions of a minor unit."""
    decimal = f"{name}_decimal"
    if name in params and decimal in params:
        raise errors.invalid(_path(within, name), f"Only one of `{name}` and `{decimal}` can be set.")
    if name in params:
        whole = forms.read_int(params, name)
        amount = None if whole is None else Decimal(whole)
        param = _path(within, name)
    else:
        amount, param = read_decimal(params, decimal, within=within), _path(within, decimal)
    if amount is None:
        return None
    if amount < 0 and not negative:
        raise errors.invalid(param, "Invalid non-negative integer", code="parameter_invalid_integer")
    if abs(amount) > AMOUNT_MAX:
        raise errors.invalid(param, f"The amount can be at most {AMOUNT_MAX}.", code="amount_too_large")
    fractional = amount != amount.to_integral_value()
    return {name: None if fractional else int(amount), decimal: plain(amount)}


def read_decimal(params: Json, name: str, *, within: str = "") -> Decimal | None:
    text = forms.read_text(params, name)
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or len(text) > 40:
        raise errors.invalid(_path(within, name), f"Invalid decimal: {text[:40]}", code="parameter_invalid_decimal")
    if -int(amount.normalize().as_tuple().exponent) > PLACES_MAX:
        raise errors.invalid(_path(within, name), f"A decimal has at most {PLACES_MAX} decimal places.")
    return amount


def plain(amount: Decimal) -> str:
    """Write a decimal without an exponent and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _read_tiers(params: Json, *, within: str) -> list[Json]:
    param = _path(within, "tiers")
    wanted = forms.read_objects(params, "tiers")
    if not wanted:
        raise errors.missing_parameter(param)
    tiers: list[Json] = []
    for index, one in enumerate(wanted):
        where = f"{param}[{index}]"
        forms.check_known(one, TIER_FIELDS, within=where)
        flat, unit = read_amount(one, "flat_amount", within=where), read_amount(one, "unit_amount", within=where)
        if flat is None and unit is None:
            raise errors.invalid(where, "A tier needs a `flat_amount`, a `unit_amount`, or both.")
        nothing: Json = dict.fromkeys(("flat_amount", "flat_amount_decimal", "unit_amount", "unit_amount_decimal"))
        top = _read_top(one, above=tiers[-1]["up_to"] if tiers else 0, last=index == len(wanted) - 1, within=where)
        tiers.append({**nothing, **(flat or {}), **(unit or {}), "up_to": top})
    return tiers


def _read_top(tier: Json, *, above: int, last: bool, within: str) -> int | None:
    """Read where a tier ends; the last one has no end."""
    given = forms.read_text(tier, "up_to")
    if not given:
        raise errors.missing_parameter(f"{within}[up_to]")
    if last != (given == "inf"):
        message = "The last tier, and no other, must have `up_to=inf`."
        raise errors.invalid(f"{within}[up_to]", message)
    top = None if given == "inf" else forms.read_int(tier, "up_to")
    if top is not None and top <= above:
        raise errors.invalid(
            f"{within}[up_to]", f"Each tier must end above the one before: {top} is not above {above}."
        )
    return top


def _read_custom(params: Json, *, within: str) -> Json | None:
    """Read between which amounts a customer may choose (pay what you want)."""
    if "custom_unit_amount" not in params:
        return None
    param = _path(within, "custom_unit_amount")
    wanted = forms.read_object(params, "custom_unit_amount")
    forms.check_known(wanted, frozenset({"enabled", "maximum", "minimum", "preset"}), within=param)
    if not forms.read_bool(wanted, "enabled"):
        raise errors.invalid(f"{param}[enabled]", "Pass `true`, or leave `custom_unit_amount` out.")
    return {name: forms.read_int(wanted, name) for name in ("maximum", "minimum", "preset")}


def _read_transform(params: Json, *, within: str) -> Json | None:
    if "transform_quantity" not in params:
        return None
    param = _path(within, "transform_quantity")
    wanted = forms.read_object(params, "transform_quantity")
    forms.check_known(wanted, frozenset({"divide_by", "round"}), within=param)
    size, way = forms.read_int(wanted, "divide_by"), forms.read_choice(wanted, "round", ("down", "up"))
    if size is None or size < 1:
        raise errors.invalid(f"{param}[divide_by]", "This value must be greater than or equal to 1.")
    if way is None:
        raise errors.missing_parameter(f"{param}[round]")
    return {"divide_by": size, "round": way}


def _path(within: str, name: str) -> str:
    return f"{within}[{name}]" if within else name
