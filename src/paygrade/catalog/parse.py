"""How a document becomes a catalog: `paygrade.yaml`, once read into plain data, parsed whole.

Laws: every mistake is reported at once with its line; a document with a mistake is no catalog at all; two documents
that say the same thing are the same catalog. The order of plans has a meaning (later is higher), and so has that
of ladder steps and plan-change rules; no other order does.
"""

from collections.abc import Mapping
from typing import TypeVar

from msgspec.structs import replace

from paygrade.catalog.model import (
    ACCESS,
    AGGREGATES,
    CONFIG_TYPES,
    INTERVALS,
    ON_ERROR,
    REPORTS,
    AddOn,
    Allowance,
    BooleanFeature,
    Burn,
    Catalog,
    ConfigFeature,
    Credit,
    Feature,
    LevelFeature,
    MeteredFeature,
    Plan,
    Price,
    Rate,
    Term,
    versions_of,
)
from paygrade.catalog.policies import read_policies
from paygrade.catalog.reader import Mistakes, Node
from paygrade.catalog.terms import read_add_on_term, read_plan_term
from paygrade.catalog.windows import Window, read_currency
from paygrade.values.text import one_of

_FEATURE_FIELDS: dict[str, tuple[str, ...]] = {
    "boolean": (),
    "config": ("type", "unit"),
    "level": ("unit",),
    "metered": ("event", "aggregate", "value", "unit", "burns", "stripe"),
}
_KINDS = tuple(_FEATURE_FIELDS)
_COMMON_FIELDS = ("kind", "access", "roles", "seat", "on_error", "description")
_FIELD_HINTS = {
    field: f"`{field}` is for features of kind {one_of([kind for kind in _KINDS if field in _FEATURE_FIELDS[kind]])}"
    for fields in _FEATURE_FIELDS.values()
    for field in fields
}

_PlanOrAddOn = TypeVar("_PlanOrAddOn", Plan, AddOn)
_Terms = dict[str, Term]
_Known = dict[str, Feature | Credit | None]
"""What a term may be about. None: defined, but so wrongly that nothing can be said about its terms."""


def parse(
    document: object, *, lines: Mapping[str, int] = {}, version: int = 1, previous: Catalog | None = None
) -> Catalog:
    """Parse a whole catalog document: mappings, lists, texts, whole numbers and booleans.

    `lines` maps JSON Pointers into the document to line numbers. `version` is the catalog's own; plans and add-ons
    count theirs from `previous`: unchanged ones keep it, changed ones get the next, also where they were not sold for a
    while. Raises Refused
    (`catalog_invalid`) with all mistakes, in the order of their lines.
    """
    mistakes = Mistakes(lines)
    root = Node(document, "", mistakes).fields("version", "features", "credits", "plans", "add_ons", "policies")
    root.need("version", "1").integer(at_least=1, at_most=1)
    features, credits, known = _features(root)
    plan_nodes = root.need("plans", "{}").entries()
    plans = {key: _plan(key, rank, node, known=known) for rank, (key, node) in enumerate(plan_nodes.items())}
    add_on_nodes = root.get("add_ons", {}).entries()
    add_ons = {key: _add_on(key, node, known=known) for key, node in add_on_nodes.items()}
    _refuse_shared_keys(plan_nodes, add_on_nodes)
    default = _default_plan(plans, plan_nodes)
    _refuse_uneven_windows(plans, add_ons, add_on_nodes)
    catalog = Catalog(
        version=version,
        features=features,
        credits=credits,
        plans=_with_versions(plans, previous),
        add_ons=_with_versions(add_ons, previous),
        policies=read_policies(
            root.get("policies", {}),
            plans=plans,
            default_plan=default,
            credits=credits,
            counted=[key for key, feature in features.items() if isinstance(feature, LevelFeature | MeteredFeature)],
        ),
        stripe=_provider_refs({**plans, **add_ons}, {**plan_nodes, **add_on_nodes}),
    )
    mistakes.refuse_if_any()
    return catalog


def _features(root: Node) -> tuple[dict[str, Feature], dict[str, Credit], _Known]:
    feature_nodes = root.need("features", "{}").entries()
    credits = {key: _credit(key, node) for key, node in root.get("credits", {}).entries().items()}
    known: _Known = {key: _feature(key, node, credits=credits) for key, node in feature_nodes.items()}
    for key in credits:
        if key in known:
            feature_nodes[key].wrong(f"`{key}` is a credit too; give the feature a key of its own")
    features = {key: feature for key, feature in known.items() if feature and not isinstance(feature, Credit)}
    _refuse_shared_meters(features, feature_nodes)
    _refuse_seats_of_others(features, known, feature_nodes)
    return features, credits, {**credits, **known}


def _credit(key: str, node: Node) -> Credit:
    node = node.fields("unit", "description")
    return Credit(key, unit=node.get("unit", "credit").text(), description=node.get("description", "").note())


def _feature(key: str, node: Node, *, credits: dict[str, Credit]) -> Feature | None:
    kind = node.value.get("kind") if isinstance(node.value, Mapping) else None
    if not isinstance(kind, str) or kind not in _FEATURE_FIELDS:
        node.fields(*_COMMON_FIELDS, *_FIELD_HINTS).need("kind", "boolean").choice(_KINDS)
        return None
    node = node.fields(*_COMMON_FIELDS, *_FEATURE_FIELDS[kind], hints=_FIELD_HINTS)
    access = node.get("access", "write").choice(ACCESS)
    on_error = node.get("on_error", "deny").choice(ON_ERROR)
    roles = _roles(node.get("roles", []))
    seat = node.get("seat", None).text("the key of a level that counts seats") if node.has("seat") else None
    description = node.get("description", "").note()
    unit = node.get("unit", "").note()
    if kind == "boolean":
        return BooleanFeature(key, access=access, roles=roles, seat=seat, on_error=on_error, description=description)
    if kind == "config":
        type_node = node.need("type", "integer")
        type_ = type_node.choice(CONFIG_TYPES)
        if type_ != type_node.value:
            return None
        return ConfigFeature(
            key, type_, unit=unit, access=access, roles=roles, seat=seat, on_error=on_error, description=description
        )
    if kind == "level":
        return LevelFeature(
            key, unit=unit, access=access, roles=roles, seat=seat, on_error=on_error, description=description
        )
    meter = node.get("stripe", {}).fields("meter", "report")
    return MeteredFeature(
        key,
        event=node.get("event", key).text(),
        aggregate=node.get("aggregate", "count").choice(AGGREGATES),
        value=_aggregated_value(node),
        unit=unit,
        burns=_burns(node.get("burns", {}), credits),
        stripe_meter=meter.need("meter", key).text("the event name of a meter at Stripe")
        if node.has("stripe")
        else None,
        report=meter.get("report", "overage").choice(REPORTS),
        access=access,
        roles=roles,
        seat=seat,
        on_error=on_error,
        description=description,
    )


def _refuse_shared_meters(features: dict[str, Feature], nodes: dict[str, Node]) -> None:
    """What Stripe has counted of two features together could not be compared with either."""
    owners: dict[str, str] = {}
    for key, feature in features.items():
        meter = feature.stripe_meter if isinstance(feature, MeteredFeature) else None
        if meter and owners.setdefault(meter, key) != key:
            nodes[key].get("stripe", {}).get("meter", None).wrong(
                f"`{meter}` at Stripe counts `{owners[meter]}` already; give each feature a meter of its own"
            )


def _refuse_seats_of_others(features: dict[str, Feature], known: _Known, nodes: dict[str, Node]) -> None:
    """A seat is one of a level that members take up."""
    counting = [key for key, its in features.items() if isinstance(its, LevelFeature) and its.counts_seats]
    for key, feature in features.items():
        if not feature.seat or (feature.seat in known and known[feature.seat] is None):
            continue
        node = nodes[key].get("seat", None)
        if key in counting:
            node.wrong(f"`{key}` counts seats itself; remove `seat`")
        elif feature.seat not in known:
            node.unknown("level that counts seats", counting)
        elif feature.seat not in counting:
            node.wrong(f"`{feature.seat}` counts no seats; name a level with `unit: seat`, or the one called `seats`")


def _aggregated_value(node: Node) -> str | None:
    if node.get("aggregate", "count").value != "count":
        return node.need("value", "tokens").text("the name of an event property")
    if node.has("value"):
        node.get("value", None).wrong("`count` counts events and takes no `value`; remove it or write `aggregate: sum`")
    return None


def _roles(node: Node) -> tuple[str, ...]:
    roles = tuple(item.text("a role") for item in node.items())
    if len(set(roles)) < len(roles):
        node.wrong("a role is named twice; name it once")
    return roles


def _burns(node: Node, credits: dict[str, Credit]) -> tuple[Burn, ...]:
    burns = []
    for key, rate in node.entries().items():
        if key not in credits:
            rate.unknown("credit", credits, key=key)
        rate = rate.fields("rate", "per", "by")
        property, rates = _rates(rate.get("by", {})) if rate.has("by") else (None, {})
        burns.append(Burn(key, **_rate(rate), property=property, rates=rates))
    return tuple(sorted(burns, key=lambda burn: burn.credit))


def _rates(node: Node) -> tuple[str, dict[str, Rate]]:
    """Read the property that prices usage, and what each of its values costs."""
    node = node.fields("property", "rates")
    rates = node.need("rates", "{ large: { rate: 3, per: 1000 } }")
    if rates.value == {}:
        rates.wrong("there is no value with a rate of its own; name one or remove `by`")
    values = rates.named() if node.has("rates") else {}
    found = {value: Rate(**_rate(entry.fields("rate", "per"))) for value, entry in values.items()}
    return node.need("property", "model").text("the name of an event property"), found


def _rate(node: Node) -> dict[str, int]:
    return {"rate": node.need("rate", "1").integer(at_least=1), "per": node.get("per", 1).integer(at_least=1)}


def _plan(key: str, rank: int, node: Node, *, known: _Known) -> Plan:
    if key == "none":
        node.wrong("a plan cannot be called `none`: ladders use the word for no plan at all")
    node = node.fields("default", "description", "stripe", "prices", "trial", "entitlements")
    return Plan(
        key,
        version=1,
        rank=rank,
        terms=_terms(node.get("entitlements", {}), known, in_add_on=False),
        prices=_prices(node.get("prices", {})),
        default=node.get("default", False).flag(),
        trial_days=node.get("trial", {}).fields("days").need("days", "14").integer(1) if node.has("trial") else None,
        stripe_product=_product(node),
        description=node.get("description", "").note(),
    )


def _add_on(key: str, node: Node, *, known: _Known) -> AddOn:
    only_plans = {
        "default": "only a plan can be the default; remove `default`",
        "trial": "only a plan has a trial; remove `trial`",
    }
    node = node.fields("description", "stripe", "prices", "entitlements", hints=only_plans)
    return AddOn(
        key,
        version=1,
        terms=_terms(node.get("entitlements", {}), known, in_add_on=True),
        prices=_prices(node.get("prices", {})),
        stripe_product=_product(node),
        description=node.get("description", "").note(),
    )


def _product(node: Node) -> str | None:
    if not node.has("stripe"):
        return None
    product = node.get("stripe", None)
    if isinstance(product.value, str) and product.value.startswith("price_"):
        product.wrong(f"`{product.value}` is a price; write it as `stripe` of one of the prices below `prices`")
    return product.text("the id of a product at Stripe")


def _prices(node: Node) -> dict[str, Price]:
    return {key: _price(key, price) for key, price in node.entries().items()}


def _price(key: str, node: Node) -> Price:
    node = node.fields("amount", "currency", "interval", "interval_count", "stripe")
    stripe = node.get("stripe", None)
    return Price(
        key,
        amount=node.need("amount", "9900").integer(),
        currency=read_currency(node.need("currency", "usd")),
        interval=node.need("interval", "month").choice(INTERVALS),
        interval_count=node.get("interval_count", 1).integer(at_least=1),
        stripe=stripe.text("the lookup key or id of a price at Stripe") if node.has("stripe") else None,
    )


def _terms(node: Node, known: _Known, *, in_add_on: bool) -> _Terms:
    """Read the entitlements; a term with a mistake is left out, so that nothing more is concluded from it."""
    terms = {}
    for key, entry in node.entries().items():
        feature = known.get(key)
        if key not in known:
            entry.unknown("feature or credit", known, key=key)
        elif feature is not None:
            found = entry.mistakes_found
            term = read_add_on_term(entry, feature) if in_add_on else read_plan_term(entry, feature)
            if entry.mistakes_found == found:
                terms[key] = term
    return terms


def _refuse_shared_keys(plan_nodes: dict[str, Node], add_on_nodes: dict[str, Node]) -> None:
    for key in plan_nodes.keys() & add_on_nodes.keys():
        add_on_nodes[key].wrong(f"`{key}` is a plan too; give the add-on a key of its own")


def _default_plan(plans: dict[str, Plan], nodes: dict[str, Node]) -> str | None:
    defaults = [key for key, plan in plans.items() if plan.default]
    for key in defaults[1:]:
        nodes[key].get("default", True).wrong(f"`{defaults[0]}` is the default plan already; there can be only one")
    return defaults[0] if defaults else None


def _refuse_uneven_windows(plans: dict[str, Plan], add_ons: dict[str, AddOn], nodes: dict[str, Node]) -> None:
    """An addition comes on top of what the plan allows, so both must count the same windows."""
    plan_by_window: dict[str, dict[Window, str]] = {}
    for plan in plans.values():
        for feature, window in _windows(plan):
            plan_by_window.setdefault(feature, {}).setdefault(window, plan.key)
    for add_on in add_ons.values():
        for feature, added in _windows(add_on):
            for window, plan_key in plan_by_window.get(feature, {}).items():
                if window != added:
                    (word,) = added.render()
                    nodes[add_on.key].get("entitlements", {}).get(feature, {}).get(word, None).wrong(
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
    """What a customer gets and pays. Its place among the plans and the note for people are not part of it."""
    if isinstance(item, Plan):
        return replace(item, version=0, rank=0, default=False, description="")
    return replace(item, version=0, description="")


def _provider_refs(sold: Mapping[str, Plan | AddOn], nodes: dict[str, Node]) -> dict[str, str]:
    """Map what the provider sells to the plan or add-on it buys; one product or price buys one of ours."""
    owners: dict[str, str] = {}
    for key, item in sold.items():
        refs = [(item.stripe_product, nodes[key].get("stripe", None))]
        prices = nodes[key].get("prices", {})
        refs += [(price.stripe, prices.get(price.key, {}).get("stripe", None)) for price in item.prices.values()]
        for ref, node in refs:
            if ref and owners.setdefault(ref, key) != key:
                node.wrong(f"`{ref}` at Stripe buys `{owners[ref]}` already; it can buy only one of them")
    return owners
