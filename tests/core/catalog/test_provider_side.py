"""The catalog and what the provider sells: compared, brought in line, and written down from there."""

from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.catalog.model import Catalog, Interval
from paygrade.catalog.parse import parse
from paygrade.catalog.provider_catalog import (
    Charge,
    ProviderCatalog,
    ProviderFeature,
    ProviderMeter,
    ProviderPrice,
    ProviderProduct,
    Tier,
    decimal,
)
from paygrade.catalog.provider_charges import charge_of
from paygrade.catalog.provider_check import differences
from paygrade.catalog.provider_pull import pull
from paygrade.catalog.provider_steps import Archive, Cannot, CreatePrice, MoveKey, Nothing, is_ready, steps
from paygrade.documents.yaml import read_yaml
from paygrade.documents.yaml_text import write_yaml
from support.catalog_texts import read
from support.provider_shop import NOTHING, Shop

CURRENCIES = st.sampled_from(["usd", "eur"])
INTERVALS: st.SearchStrategy[Interval] = st.sampled_from(["day", "week", "month", "year"])
AMOUNTS = st.integers(0, 10**6)
REPORTS = st.sampled_from(["all", "overage"])
KEYS = st.sampled_from(["a", "b", "pro", "team", "monthly", "x_2"])


@st.composite
def catalogs(draw: st.DrawFn) -> Catalog:
    """Catalogs that sell at Stripe: parts, usage with and without amounts, meters, overage, shared and own names."""
    features: dict[str, Any] = {
        key: {"kind": "metered", "stripe": {"meter": f"{key}_told", "report": draw(REPORTS)}}
        for key in draw(st.sets(st.sampled_from(["calls", "tokens"])))
    }
    sold: dict[str, dict[str, Any]] = {"plans": {}, "add_ons": {}}
    for key in draw(st.lists(KEYS, unique=True, max_size=4)):
        item: dict[str, Any] = {}
        section = draw(st.sampled_from(["plans", "plans", "add_ons"]))
        if draw(st.booleans()):
            item["stripe"] = f"prod_{key}"
        item["prices"] = {name: draw(costs(key, name, sorted(features))) for name in draw(st.sets(KEYS, max_size=3))}
        if section == "plans" and draw(st.booleans()):
            units = draw(st.integers(0, 1000) | st.just("quantity"))
            cost = {"price": {"amount": draw(st.integers(1, 50)), "per": draw(st.sampled_from([1, 1000])),
                              "currency": draw(CURRENCIES)}}  # fmt: skip
            item["entitlements"] = {name: {"limit": units, "every": "month", "overage": cost} for name in features}
        sold[section][key] = item
    return parse({"version": 1, "features": features, **sold})


@st.composite
def costs(draw: st.DrawFn, key: str, name: str, features: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {"amount": AMOUNTS, "currency": CURRENCIES, "interval": INTERVALS},
            optional={
                "interval_count": st.integers(1, 4),
                "part": st.sampled_from(["quantity", "flat", "usage"]),
                "stripe": st.sampled_from([f"{key}_{name}", f"{key}_{name}", f"{key}_one"]),
            },
        )
    )
    if said.get("part") != "usage":
        return said
    if bool(features) and draw(st.booleans()):
        said["feature"] = draw(st.sampled_from(features))
    if draw(st.booleans()):
        said["per"] = draw(st.sampled_from([1, 3, 8, 1000]))
    elif draw(st.booleans()):
        optional = {"amount": AMOUNTS, "per": st.sampled_from([1, 10]), "flat_amount": AMOUNTS}
        tier: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional=optional)
        said |= {"amount": 0, "tiers": [{"up_to": 10, **draw(tier)}, draw(tier)]}
        said["tiers_mode"] = draw(st.sampled_from(["graduated", "volume"]))
    return said


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    """Shops as people have made them by hand."""
    names = draw(st.lists(st.sampled_from(["calls", "tokens", "Größe?", "none", "a b"]), unique=True))
    meters = tuple(
        ProviderMeter(f"mtr_{number}", name, name, draw(st.booleans()), draw(st.sampled_from(["sum", "sum", "count"])))
        for number, name in enumerate(names)
    )
    offered = tuple(ProviderFeature(f"{name}{n}", name) for n, name in enumerate(draw(st.lists(st.text(max_size=9)))))
    products = {
        f"prod_{number}": ProviderProduct(
            f"prod_{number}", draw(st.sampled_from(["Pro", "pro", "Extra seats", "9", "", "none", "Größe", "# x: y"])),
            draw(st.sampled_from([True, True, False])), draw(st.text(max_size=20)),
            features=tuple(draw(st.sets(st.sampled_from([each.lookup_key for each in offered])))) if offered else (),
        )
        for number in range(draw(st.integers(0, 4)))
    }  # fmt: skip
    prices = []
    for number in range(draw(st.integers(0, 7)) if products else 0):
        charge = draw(charges([meter.event_name for meter in meters]))
        prices.append(
            ProviderPrice(
                f"price_{number}", draw(st.sampled_from(sorted(products))), draw(st.booleans()), charge,
                draw(st.none() | st.just(f"key {number}") | st.just(f"key\n{number}")),
                also=(replace(charge, currency="jpy"),) if draw(st.booleans()) else (),
            )
        )  # fmt: skip
    bought = draw(st.sets(st.sampled_from([price.id for price in prices]))) if prices else set()
    return Shop(ProviderCatalog(products, tuple(prices), meters, offered), sorted(bought))


@st.composite
def charges(draw: st.DrawFn, meters: list[str]) -> Charge:
    metered = draw(st.booleans())
    unit = st.integers(0, 10**6).map(Fraction) | st.integers(1, 10**6).map(lambda n: Fraction(n, 1000))
    tiers = draw(
        st.none()
        | unit.map(lambda each: (Tier(None, each),))
        | st.tuples(unit, unit).map(lambda two: (Tier(10, two[0], Fraction(5)), Tier(None, two[1])))
    )
    return Charge(
        draw(CURRENCIES), draw(INTERVALS | st.none()), draw(st.integers(1, 3)), metered,
        draw(st.sampled_from(meters)) if metered and meters else None, tiers,
        draw(st.sampled_from(["graduated", "volume"])) if tiers and len(tiers) > 1 else "graduated",
        draw(st.sampled_from([(), (), ("is sold in packages of 10, rounded up",)])),
    )  # fmt: skip


def pulled(shop: Shop) -> Catalog:
    """The catalog of a shop, by the way of its text. Anything bought is asked for, as nothing is known yet."""
    found = pull(shop.seen(parse({"version": 1, "features": {}, "plans": {}})))
    document, lines = read_yaml(write_yaml(found.document, found.comments))
    assert document == found.document
    return parse(document, lines=lines)


@given(shops())
@settings(max_examples=200, deadline=None)
def test_a_pulled_catalog_differs_in_nothing_and_leaves_nothing_to_push(shop: Shop) -> None:
    catalog = pulled(shop)
    assert differences(catalog, shop.seen(catalog)) == ()
    left = steps(catalog, shop.seen(catalog), archive_old=True)
    # A product that nobody can buy any more is none to push to.
    assert [step for step in left if not isinstance(step, Nothing) and "is archived" not in step.detail] == []


@given(catalogs())
@settings(max_examples=200, deadline=None)
def test_after_a_push_nothing_differs_but_what_it_could_not_do(catalog: Catalog) -> None:
    shop = Shop()
    left = shop.push(catalog)
    refused = {step.pointer for step in left if isinstance(step, Cannot)}
    assert all(isinstance(step, Nothing | Cannot) for step in left)
    assert {each.pointer.removesuffix("/stripe") for each in differences(catalog, shop.seen(catalog))} <= refused
    made = len(shop.taken)
    assert shop.push(catalog) == left
    assert len(shop.taken) == made


@given(catalogs())
@settings(max_examples=100, deadline=None)
def test_what_was_pushed_is_pulled_under_its_keys(catalog: Catalog) -> None:
    shop = Shop()
    refused = {step.pointer for step in shop.push(catalog) if isinstance(step, Cannot)}
    again = pulled(shop)
    assert differences(again, shop.seen(again)) == ()
    for section, sold, found in (("plans", catalog.plans, again.plans), ("add_ons", catalog.add_ons, again.add_ons)):
        made = {
            key: {name: (charge_of(catalog, item, price), price.part, price.stripe)
                  for name, price in item.prices.items()
                  if price.stripe is not None and f"/{section}/{key}/prices/{name}" not in refused
                  # Two prices of the file that are one at Stripe come back as one.
                  and next(n for n, each in item.prices.items() if each.stripe == price.stripe) == name}
            for key, item in sold.items()
        }  # fmt: skip
        came = {
            key: {name: (paid(again, item, price), price.part, price.stripe) for name, price in item.prices.items()}
            for key, item in found.items()
        }
        assert came == {key: prices for key, prices in made.items() if prices}


def paid(catalog: Catalog, sold: Any, price: Any) -> Charge:
    """What is paid; that it is 0, a document says of usage only by saying nothing."""
    charge = charge_of(catalog, sold, price)
    return replace(charge, tiers=(Tier(None, Fraction(0)),)) if charge.tiers is None else charge


@given(catalogs(), catalogs(), st.integers(0, 8), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_push_that_was_interrupted_goes_on_and_makes_nothing_twice(
    before: Catalog, after: Catalog, count: int, archive_old: bool
) -> None:
    whole, broken = Shop(), Shop()
    for shop in (whole, broken):
        shop.push(before)
        shop.bought = {price.id for price in shop.sold.prices}
        shop.taken = []
    left = whole.push(after, archive_old=archive_old)
    broken.push(after, archive_old=archive_old, interrupted_after=count)
    assert broken.push(after, archive_old=archive_old) == left
    assert sorted(map(str, broken.taken)) == sorted(map(str, whole.taken))
    # Who pays something is still known to have bought it, or was not before.
    lost = [each for each in differences(after, whole.seen(after)) if each.code == "key_moved"]
    assert lost == []


PRO = """\
version: 1
features: { calls: { kind: metered, event: call, stripe: { meter: calls, report: all } } }
plans:
  pro:
    stripe: prod_pro
    prices:
      monthly: { amount: 2900, currency: usd, interval: month, stripe: pro_monthly }
      use: { part: usage, amount: 0, currency: usd, interval: month, stripe: pro_use }
    entitlements: { calls: { limit: 1000, every: month, overage: { price: { amount: 2, per: 1000, currency: usd } } } }
"""


def test_usage_over_a_limit_becomes_tiers_and_a_meter() -> None:
    shop = Shop()
    shop.push(read(PRO))
    use = shop.sold.price("pro_use")
    assert use is not None
    assert use.charge.tiers == (Tier(1000, Fraction(0)), Tier(None, Fraction(1, 500)))
    assert (use.charge.meter, decimal(Fraction(1, 500))) == ("calls", "0.002")
    told = read(PRO.replace("report: all", "report: overage"))
    (differs,) = differences(told, shop.seen(told))
    assert differs.pointer == "/plans/pro/prices/use/stripe"
    assert "costs graduated: 0 up to 1000, then 0.002, not 0.002" in differs.message


def test_a_price_that_is_paid_is_made_anew_and_stays_for_who_pays_it() -> None:
    shop = Shop()
    shop.push(read(PRO))
    first = shop.sold.price("pro_monthly")
    assert first is not None
    shop.bought.add(first.id)
    dearer = read(PRO.replace("2900", "3900"))
    (wrong,) = differences(dearer, shop.seen(dearer))
    assert (wrong.code, wrong.object) == ("differs", first.id)
    assert "costs 2900, not 3900" in wrong.message
    (step,) = (step for step in steps(dearer, shop.seen(dearer)) if is_ready(step))
    assert isinstance(step, CreatePrice)
    assert f"`{first.id}` (2900 usd every month) stays for who pays it" in step.detail
    shop.push(dearer)
    assert differences(dearer, shop.seen(dearer)) == ()
    assert next(price for price in shop.sold.prices if price.id == first.id).active
    # Back to the old amount: the key goes back to the old price, and nothing is made.
    shop.taken = []
    shop.push(read(PRO), archive_old=True)
    assert [type(step) for step in shop.taken] == [MoveKey, Archive]
    assert shop.sold.price("pro_monthly") == replace(first, bought=None)


def test_a_key_is_not_moved_away_from_buyers_whom_nothing_else_names() -> None:
    shop = Shop()
    alone = PRO.replace("    stripe: prod_pro\n", "")
    shop.push(read(alone))
    first = shop.sold.price("pro_monthly")
    assert first is not None
    shop.bought.add(first.id)
    (left,) = (step for step in shop.push(read(alone.replace("2900", "3900"))) if isinstance(step, Cannot))
    assert f"write `stripe: {first.product}` in `pro` first" in left.detail
    # Somebody moves it by hand: then that is told.
    shop.take(CreatePrice("", "", first.product, first.charge, None, "pro_monthly", "monthly", "quantity", ()))
    (told,) = differences(read(alone), shop.seen(read(alone)))
    assert (told.code, told.subject) == ("key_moved", first.id)


def test_everything_that_can_be_wrong_of_a_price_is_told_with_its_place() -> None:
    shop = Shop()
    catalog = read(PRO)
    assert [each.pointer for each in differences(catalog, NOTHING)] == [
        "/features/calls/stripe/meter", "/plans/pro/stripe",
        "/plans/pro/prices/monthly/stripe", "/plans/pro/prices/use/stripe",
    ]  # fmt: skip
    shop.push(catalog)
    good = shop.sold

    def said(**changes: Any) -> str:
        prices = tuple(replace(price, **changes) if price.lookup_key == "pro_monthly" else price
                       for price in good.prices)  # fmt: skip
        (one,) = differences(catalog, replace(good, prices=prices))
        assert one.pointer == "/plans/pro/prices/monthly/stripe"
        return one.message

    charge = next(price.charge for price in good.prices if price.lookup_key == "pro_monthly")
    assert "is archived at Stripe" in said(active=False)
    assert "is in eur, not in usd" in said(charge=replace(charge, currency="eur"))
    assert "is paid every 3 months, not every month" in said(charge=replace(charge, interval_count=3))
    assert "is paid once" in said(charge=replace(charge, interval=None))
    assert "is metered" in said(charge=replace(charge, metered=True))
    assert "is sold in packages" in said(charge=replace(charge, unsaid=("is sold in packages of 10, rounded up",)))
    assert "belongs to the product `prod_other`" in said(product="prod_other")
    off = {"prod_pro": replace(good.products["prod_pro"], active=False)}
    (archived,) = differences(catalog, replace(good, products=off))[:1]
    assert (archived.code, archived.pointer) == ("archived", "/plans/pro/stripe")
    counts = tuple(replace(meter, formula="count") for meter in good.meters)
    assert "aggregates by `count`" in differences(catalog, replace(good, meters=counts))[0].message


def test_what_is_sold_and_not_in_the_catalog_is_told() -> None:
    charge = Charge("usd", "month", tiers=(Tier(None, Fraction(500)),))
    product = ProviderProduct("prod_old", "Old", True)
    sold = ProviderPrice("price_old", "prod_old", True, charge)
    once = replace(sold, id="price_once", charge=replace(charge, interval=None))
    gone = replace(sold, id="price_gone", active=False)
    paid = replace(gone, id="price_paid", bought=True)
    there = ProviderCatalog({"prod_old": product}, (sold, once, gone, paid))
    catalog = parse({"version": 1, "features": {}, "plans": {}})
    found = {each.object: each.message for each in differences(catalog, there)}
    assert set(found) == {"price_old", "price_paid"}
    assert "is paid by somebody" in found["price_paid"]
    known = parse({"version": 1, "features": {}, "plans": {"old": {"stripe": "prod_old"}}})
    assert differences(known, there) == ()
