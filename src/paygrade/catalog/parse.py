"""How a document becomes a catalog: `paygrade.yaml`, once read into plain data, parsed whole.

Laws: every mistake is reported at once with its line; a document with a mistake is no catalog at all; two documents
that say the same thing are the same catalog. The order of plans has a meaning (later is higher), and so has that
of ladder steps and plan-change rules; no other order does.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec.structs import replace

from paygrade.catalog.budgets import with_budgets
from paygrade.catalog.features import CREDIT, FEATURE
from paygrade.catalog.limits import QUANTITIES, refuse_lost_levels
from paygrade.catalog.model import AddOn, Allowance, Catalog, Ladders, Plan, versions_of
from paygrade.catalog.offers import Credit, Feature, LevelFeature, MeteredFeature
from paygrade.catalog.policies import COUNTED, LADDERS, POLICIES, policies_of, refuse_climbing
from paygrade.catalog.prices import PRICE, refuse_unknown_usage
from paygrade.catalog.reader import Mistakes, Node
from paygrade.catalog.shapes import (
    POSITIVE,
    Fields,
    Group,
    Keyed,
    Record,
    Schema,
    Via,
    may,
    need,
    text,
    whole,
)
from paygrade.catalog.terms import ADD_ON_TERMS, PLAN_TERMS, SOLD
from paygrade.catalog.windows import ZONE, Window
from paygrade.values.errors import Location
from paygrade.values.text import is_key

_PlanOrAddOn = TypeVar("_PlanOrAddOn", Plan, AddOn)


def _is_no_price(node: Node, product: str) -> None:
    if product.startswith("price_"):
        node.wrong(f"`{product}` is a price; write it as `stripe` of one of the prices below `prices`")


def _prices_are_of_usage(node: Node, sold: Plan | AddOn) -> None:
    known = node.defined(SOLD).items()
    used_up = {key: its for key, its in known if its is None or isinstance(its, MeteredFeature)}
    refuse_unknown_usage(node, sold.prices, used_up)


def _is_sound(node: Node, plan: Plan) -> None:
    if plan.key == "none":
        node.wrong("a plan can't be called `none`: in ladders it means no plan")
    _prices_are_of_usage(node, plan)
    refuse_climbing(node, plan.key, plan.ladders)
    refuse_lost_levels(plan, node, [k for k, its in node.defined(SOLD).items() if isinstance(its, LevelFeature)])


_PRODUCT = Via[str](text("the id of a product at Stripe"), check=_is_no_price, law={"not": {"pattern": "^price_"}})
_SOLD: Fields = {
    "description": may(),
    "stripe": may(_PRODUCT, "The product at Stripe: every price of it buys this.", of="stripe_product"),
    "prices": may(Keyed(PRICE)),
    "quantity": may(QUANTITIES, "Which quantities are sold: the smallest, the largest, and the step.", of="quantities"),
}
PLAN = Record(
    Plan,
    {
        "default": may(about="The plan of accounts that have no other; at most one plan."),
        "trial": Group({"days": need("14", POSITIVE, of="trial_days")}),
        **_SOLD,
        "entitlements": may(PLAN_TERMS, of="terms"),
        "policies": may(LADDERS, "The plan's own access ladders, in place of the catalog's.", of="ladders"),
    },
    given={"version": 1, "rank": 0},
    keyed=True,
)
ADD_ON = Record(
    AddOn,
    {**_SOLD, "entitlements": may(ADD_ON_TERMS, of="terms")},
    given={"version": 1},
    hints={
        "default": "only a plan can be the default; remove `default`",
        "trial": "only a plan has a trial; remove `trial`",
    },
    keyed=True,
)
_PLANS = Via[dict[str, Plan]](Keyed(Via(PLAN, check=_is_sound)), law={"properties": {"none": False}})
DOCUMENT = Record(
    dict[str, Any],
    {
        "version": need("1", whole(1, 1), "The version of this file's format."),
        "features": need("{}", Keyed(FEATURE)),
        "credits": may(Keyed(CREDIT)),
        "plans": need("{}", _PLANS, "In ascending order: a change to a plan further down is an upgrade."),
        "add_ons": may(
            Keyed(Via(ADD_ON, check=_prices_are_of_usage)),
            "Bought beside a plan; each one bought adds its entitlements on top.",
        ),
        "policies": may(POLICIES),
        "time_zone": may(ZONE, "The time zone of accounts that state none, for windows with `zone: account`."),
    },
    given={"credits": {}, "add_ons": {}, "time_zone": "UTC"},
)


def json_schema() -> Schema:
    """The structure of a document as JSON Schema: whatever `parse` accepts, it accepts."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Paygrade catalog",
        "description": "What is sold: features, credits, plans, add-ons, prices and policies. "
        "`paygrade catalog lint` also checks what a schema cannot.",
        **DOCUMENT.schema(),
    }


def parse(
    document: object, *, lines: Mapping[str, Location] = {}, version: int = 1, previous: Catalog | None = None
) -> Catalog:
    """Parse a whole catalog document: mappings, lists, texts, whole numbers and booleans.

    `lines` maps JSON Pointers into the document to where that stands in its text. `version` is the catalog's own;
    plans and add-ons count theirs from `previous`: unchanged ones keep it, changed ones get the next, also where they
    were not sold for a while. Raises Refused (`catalog_invalid`) with all mistakes, in the order of their lines.
    """
    mistakes = Mistakes(lines)
    root = Node(document, "", mistakes).fields(*DOCUMENT.fields)

    def section(name: str) -> Any:  # Any: each section is read as its own shape says
        return DOCUMENT.fields[name].read(name, root).get(name, {})

    section("version")
    credits: dict[str, Credit] = section("credits")
    mistakes.defined["credit"] = credits
    known: dict[str, Feature | None] = section("features")
    features = {key: feature for key, feature in known.items() if feature is not None and key not in credits}
    _refuse_credits_as_features(known, credits, root)
    _refuse_shared_meters(features, root)
    _refuse_seats_of_others(features, known, root)
    mistakes.defined[SOLD] = {**credits, **known}
    counted = {key: its for key, its in features.items() if isinstance(its, LevelFeature | MeteredFeature)}
    mistakes.defined[COUNTED] = {**counted, **credits}
    # A plan's own ladder may end in a plan that is yet to be read.
    named = root.raw("plans")
    mistakes.defined["plan"] = {key: None for key in named if is_key(key)} if isinstance(named, Mapping) else {}
    plans = {
        key: with_budgets(replace(plan, rank=rank), root.at("plans", key), mistakes.defined[SOLD])
        for rank, (key, plan) in enumerate(section("plans").items())
    }
    mistakes.defined["plan"] = plans
    add_ons: dict[str, AddOn] = section("add_ons")
    _refuse_shared_keys(plans, add_ons, root)
    default = _default_plan(plans, root)
    _refuse_uneven_windows(plans, add_ons, root)
    catalog = Catalog(
        version=version,
        features=features,
        credits=credits,
        plans=_with_versions(plans, previous),
        add_ons=_with_versions(add_ons, previous),
        policies=policies_of(section("policies"), default),
        stripe=_provider_refs(plans, add_ons, root),
        time_zone=section("time_zone") or "UTC",
    )
    mistakes.refuse_if_any()
    return catalog


def _refuse_credits_as_features(known: Mapping[str, Feature | None], credits: Mapping[str, Credit], root: Node) -> None:
    for key in credits:
        if key in known:
            root.at("features", key).wrong(f"`{key}` is a credit too; give the feature a key of its own")


def _refuse_shared_meters(features: dict[str, Feature], root: Node) -> None:
    """What Stripe has counted of two features together could not be compared with either."""
    owners: dict[str, str] = {}
    for key, feature in features.items():
        meter = feature.stripe_meter if isinstance(feature, MeteredFeature) else None
        if meter and owners.setdefault(meter, key) != key:
            root.at("features", key, "stripe", "meter").wrong(
                f"`{meter}` at Stripe counts `{owners[meter]}` already; give each feature a meter of its own"
            )


def _refuse_seats_of_others(features: dict[str, Feature], known: Mapping[str, Feature | None], root: Node) -> None:
    """A seat is one of a level that members take up."""
    counting = [key for key, its in features.items() if isinstance(its, LevelFeature) and its.counts_seats]
    for key, feature in features.items():
        if not feature.seat or (feature.seat in known and known[feature.seat] is None):
            continue
        node = root.at("features", key, "seat")
        if key in counting:
            node.wrong(f"`{key}` counts seats itself; remove `seat`")
        elif feature.seat not in known:
            node.unknown("level that counts seats", counting)
        elif feature.seat not in counting:
            node.wrong(f"`{feature.seat}` counts no seats; name a level with `unit: seat`, or the one called `seats`")


def _refuse_shared_keys(plans: Mapping[str, Plan], add_ons: Mapping[str, AddOn], root: Node) -> None:
    for key in plans.keys() & add_ons.keys():
        root.at("add_ons", key).wrong(f"`{key}` is a plan too; give the add-on a key of its own")


def _default_plan(plans: dict[str, Plan], root: Node) -> str | None:
    defaults = [key for key, plan in plans.items() if plan.default]
    for key in defaults[1:]:
        root.at("plans", key, "default").wrong(f"`{defaults[0]}` is the default plan already; there can be only one")
    return defaults[0] if defaults else None


def _refuse_uneven_windows(plans: dict[str, Plan], add_ons: dict[str, AddOn], root: Node) -> None:
    """An addition comes on top of what the plan allows, so both must count the same windows."""
    plan_by_window: dict[str, dict[Window, str]] = {}
    for plan in plans.values():
        for feature, window in _windows(plan):
            plan_by_window.setdefault(feature, {}).setdefault(window, plan.key)
    for add_on in add_ons.values():
        for feature, added in _windows(add_on):
            for window, plan_key in plan_by_window.get(feature, {}).items():
                if window != added:
                    (word,) = added.written()
                    root.at("add_ons", add_on.key, "entitlements", feature, word).wrong(
                        f"plan `{plan_key}` counts `{feature}` in other windows; write `{window}` here as well"
                    )


def _windows(sold: Plan | AddOn) -> list[tuple[str, Window]]:
    terms = [term for term in sold.terms.values() if isinstance(term, Allowance)]
    windows = [(term.feature, Window(term.recurrence, term.rolling_s)) for term in terms]
    return [(feature, window) for feature, window in windows if window != Window()]


def _with_versions(parsed: dict[str, _PlanOrAddOn], previous: Catalog | None) -> dict[str, _PlanOrAddOn]:
    return {key: _with_version(item, previous) for key, item in parsed.items()}


def _with_version(item: _PlanOrAddOn, previous: Catalog | None) -> _PlanOrAddOn:
    known = list(versions_of(previous, item.key).values()) if previous is not None else []
    if not known:
        return item
    changed = _content(item) != _content(known[-1])
    return replace(item, version=known[-1].version + changed)


def _content(item: Plan | AddOn) -> Plan | AddOn:
    """What a customer gets and pays. Its place among the plans, the note for people and what becomes of it in arrears
    are not part of it."""
    if isinstance(item, Plan):
        return replace(item, version=0, rank=0, default=False, description="", ladders=Ladders())
    return replace(item, version=0, description="")


def _provider_refs(plans: Mapping[str, Plan], add_ons: Mapping[str, AddOn], root: Node) -> dict[str, str]:
    """Map what the provider sells to the plan or add-on it buys; one product or price buys one of ours."""
    owners: dict[str, str] = {}
    sold: list[Plan | AddOn] = [*plans.values(), *add_ons.values()]
    for item in sold:
        place = root.at("plans" if isinstance(item, Plan) else "add_ons", item.key)
        refs = [(item.stripe_product, place.at("stripe"))]
        refs += [(price.stripe, place.at("prices", price.key, "stripe")) for price in item.prices.values()]
        for ref, node in refs:
            if ref and owners.setdefault(ref, item.key) != item.key:
                node.wrong(f"`{ref}` at Stripe buys `{owners[ref]}` already; it can buy only one of them")
    return owners
