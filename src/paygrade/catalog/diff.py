"""What differs between two catalogs, in the words of the document; and a catalog written back as a document.

Laws: parsing what `render` wrote gives the same catalog; two catalogs without differences are equal but for their
versions; a difference is named by its place in the document.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from msgspec import Struct, to_builtins

from paygrade.catalog.model import (
    PRIORITY,
    AddOn,
    Allowance,
    Burn,
    Cap,
    Catalog,
    ConfigFeature,
    Credit,
    Feature,
    Ladder,
    LevelFeature,
    MeteredFeature,
    Plan,
    PlanChangeRule,
    Price,
    Setting,
    Switch,
    Term,
    TopUp,
)
from paygrade.catalog.windows import Window
from paygrade.values.periods import render_duration
from paygrade.values.text import flow

_Mapping = dict[str, object]


class Change(Struct, frozen=True):
    """One line that is in both catalogs but not the same, or in one only. `pointer` is a JSON Pointer.

    `before` None: it is new. `after` None: it is gone.
    """

    pointer: str
    before: str | None
    after: str | None

    @property
    def action(self) -> Literal["added", "changed", "removed"]:
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    def __str__(self) -> str:
        texts = " -> ".join(text for text in (self.before, self.after) if text is not None)
        return f"{self.action} {self.pointer}: {texts}"


def compare(old: Catalog | None, new: Catalog) -> tuple[Change, ...]:
    """List what differs, in the order of the new document and then of the old one. `old` None: nothing was sold."""
    before, after = _lines(old) if old else {}, _lines(new)
    pointers = dict.fromkeys((*after, *before))
    return tuple(
        Change(pointer, before.get(pointer), after.get(pointer))
        for pointer in pointers
        if before.get(pointer) != after.get(pointer)
    )


def render(catalog: Catalog) -> dict[str, object]:
    """Write the catalog as a document that `parse` reads: plain data without what goes without saying."""
    top_ups = {key: _top_up(top_up) for key, top_up in catalog.policies.top_ups.items()}
    document: dict[str, object] = {
        "version": 1,
        "features": {key: _feature(feature) for key, feature in catalog.features.items()},
        "credits": {key: _credit(credit) for key, credit in catalog.credits.items()},
        "plans": {key: _sold(plan, catalog) for key, plan in catalog.plans.items()},
        "add_ons": {key: _sold(add_on, catalog) for key, add_on in catalog.add_ons.items()},
        "policies": {
            "past_due": _ladder(catalog.policies.past_due),
            "unpaid": _ladder(catalog.policies.unpaid),
            "paused": _ladder(catalog.policies.paused),
            "plan_change": [_rule(rule) for rule in catalog.policies.plan_change],
            **({"top_up": top_ups} if top_ups else {}),
        },
    }
    return {key: value for key, value in document.items() if value != {} or key in ("features", "plans")}


def _lines(catalog: Catalog) -> dict[str, str]:
    """One text for each place that a reader would call one line of the catalog."""
    lines = {f"/features/{key}": flow(_feature(feature)) for key, feature in catalog.features.items()}
    lines |= {f"/credits/{key}": flow(_credit(credit)) for key, credit in catalog.credits.items()}
    lines["/plans"] = "in ascending order: " + ", ".join(catalog.plans)
    for place, sold in (("/plans", catalog.plans), ("/add_ons", catalog.add_ons)):
        for key, item in sold.items():
            head = {
                field: value for field, value in _sold(item, catalog).items() if field not in ("prices", "entitlements")
            }
            lines[f"{place}/{key}"] = f"{item.ref} {flow(head)}" if head else item.ref
            for price in item.prices.values():
                lines[f"{place}/{key}/prices/{price.key}"] = flow(_price(price))
            for feature, term in item.terms.items():
                lines[f"{place}/{key}/entitlements/{feature}"] = flow(_term(term, catalog))
    for name in ("past_due", "unpaid", "paused"):
        lines[f"/policies/{name}"] = flow(_ladder(getattr(catalog.policies, name)))
    lines["/policies/plan_change"] = flow([_rule(rule) for rule in catalog.policies.plan_change])
    lines |= {f"/policies/top_up/{key}": flow(_top_up(top_up)) for key, top_up in catalog.policies.top_ups.items()}
    return lines


def _given(fields: Mapping[str, object], defaults: Mapping[str, object]) -> _Mapping:
    """The fields that say something else than their default."""
    return {key: value for key, value in fields.items() if key not in defaults or value != defaults[key]}


_FEATURE_DEFAULTS: _Mapping = {
    "unit": "",
    "access": "write",
    "roles": [],
    "seat": None,
    "on_error": "deny",
    "description": "",
    "value": None,
    "burns": {},
    "stripe": None,
}

_USE_DEFAULTS: _Mapping = {
    "overage": "hard",
    "warn": [],
    "rollover": 0,
    "per_member": None,
    "caps": [],
    "priority": PRIORITY,
}

_SOLD_DEFAULTS: _Mapping = {
    "default": False,
    "trial": None,
    "description": "",
    "stripe": None,
    "prices": {},
    "entitlements": {},
}


def _feature(feature: Feature) -> _Mapping:
    fields: _Mapping = {"kind": feature.__struct_config__.tag}
    if isinstance(feature, ConfigFeature):
        fields |= {"type": feature.type, "unit": feature.unit}
    if isinstance(feature, LevelFeature):
        fields |= {"unit": feature.unit}
    if isinstance(feature, MeteredFeature):
        fields |= {"event": feature.event, "aggregate": feature.aggregate, "value": feature.value}
        fields |= {"unit": feature.unit, "burns": {burn.credit: _burn(burn) for burn in feature.burns}}
        fields |= {"stripe": _meter(feature)}
    fields |= {"access": feature.access, "roles": list(feature.roles), "seat": feature.seat}
    fields |= {"on_error": feature.on_error, "description": feature.description}
    return _given(fields, _FEATURE_DEFAULTS)


def _burn(burn: Burn) -> _Mapping:
    fields: _Mapping = {"rate": burn.rate, "per": burn.per}
    if burn.property is None:
        return fields
    return {**fields, "by": {"property": burn.property, "rates": to_builtins(burn.rates)}}


def _meter(feature: MeteredFeature) -> _Mapping | None:
    if feature.stripe_meter is None:
        return None
    return _given({"meter": feature.stripe_meter, "report": feature.report}, {"report": "overage"})


def _credit(credit: Credit) -> _Mapping:
    return _given({"unit": credit.unit, "description": credit.description}, {"description": ""})


def _sold(item: Plan | AddOn, catalog: Catalog) -> _Mapping:
    fields: _Mapping = {}
    if isinstance(item, Plan):
        trial = None if item.trial_days is None else {"days": item.trial_days}
        fields = {"default": item.default, "trial": trial}
    fields |= {"description": item.description, "stripe": item.stripe_product}
    fields |= {"prices": {key: _price(price) for key, price in item.prices.items()}}
    fields |= {"entitlements": {key: _term(term, catalog) for key, term in item.terms.items()}}
    return _given(fields, _SOLD_DEFAULTS)


def _price(price: Price) -> _Mapping:
    fields = to_builtins(price)
    del fields["key"]
    return _given(fields, {"interval_count": 1, "stripe": None})


def _term(term: Term, catalog: Catalog) -> object:
    match term:
        case Switch():
            return term.on
        case Setting():
            return term.value
        case Allowance(adds=True):
            # `add: 1` says the same: an addition counts once for each one bought.
            return {"add": "quantity" if term.units == 1 else term.units, **_window(term)}
        case Allowance() if term.feature in catalog.credits:
            return {"grant": term.units, **_window(term), **_use(term)}
        case Allowance():
            return _limit(term)


def _limit(term: Allowance) -> object:
    if term.by_quantity:
        limit: object = "quantity"
    else:
        limit = "unlimited" if term.units is None else term.units
    given = {"limit": limit, **_window(term), **_use(term)}
    return given if term.by_quantity or len(given) > 1 else limit


def _window(term: Allowance | Cap) -> _Mapping:
    return Window(term.recurrence, term.rolling_s).render()


def _use(term: Allowance) -> _Mapping:
    """What a term says of its units beside how many there are and where they count."""
    fields = {
        "overage": _overage(term),
        "warn": list(term.warn),
        "rollover": term.rollover,
        "per_member": term.per_member,
        "caps": [{"limit": cap.units, **_window(cap)} for cap in term.caps],
        "priority": term.priority,
    }
    return _given(fields, _USE_DEFAULTS)


def _overage(term: Allowance) -> object:
    if term.overage_price is None:
        return term.overage
    price = _given(to_builtins(term.overage_price), {"per": 1})
    return _given({"price": price, "spend_cap": term.spend_max}, {"spend_cap": None})


def _top_up(top_up: TopUp) -> _Mapping:
    fields = {field: getattr(top_up, field) for field in ("below", "add", "at_most", "every")}
    return {**fields, "price": {"amount": top_up.amount, "currency": top_up.currency}}


def _ladder(ladder: Ladder) -> list[_Mapping]:
    steps: list[_Mapping] = []
    earlier = timedelta()
    for step in ladder:
        if step.until is None:
            steps.append({"then": step.plan or "none"})
        else:
            steps.append({"for": render_duration(step.until - earlier), "access": step.access})
            earlier = step.until
    return steps


def _rule(rule: PlanChangeRule) -> _Mapping:
    fields: _Mapping = {"from": rule.from_plan, "to": rule.to_plan, "direction": rule.direction, "when": rule.when}
    fields |= {"proration": rule.proration, "anchor": rule.anchor, "usage": rule.usage}
    others = {} if rule.over_limit is None else {"*": rule.over_limit}
    fields |= {"over_limit": {**rule.over_limits, **others} if rule.over_limits else rule.over_limit}
    fields |= {"grace": None if rule.grace is None else render_duration(rule.grace)}
    cooling_off = None if rule.cooling_off is None else render_duration(rule.cooling_off)
    fields |= {"cooling_off": "period" if rule.cools_for_period else cooling_off}
    fields |= {"seats": rule.seats}
    return _given(fields, _RULE_DEFAULTS)


_RULE_DEFAULTS: _Mapping = {
    "direction": None,
    "proration": "none",
    "anchor": "keep",
    "usage": "keep",
    "over_limit": None,
    "grace": None,
    "cooling_off": None,
    "seats": "suspend",
}
