"""The lines of plans and add-ons in a catalog document: what each says about a feature or a credit.

Laws: the feature's kind decides which words a term may use; a plan says how much there is, an add-on how much comes
on top of it for each one bought; what is counted over time names its window, what is held has none.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from paygrade.catalog.model import (
    PRIORITY,
    Allowance,
    BooleanFeature,
    Cap,
    ConfigFeature,
    Credit,
    Feature,
    LevelFeature,
    MeteredFeature,
    OveragePrice,
    Setting,
    Switch,
    Term,
)
from paygrade.catalog.reader import Node
from paygrade.catalog.windows import Window, read_currency, read_every, read_window
from paygrade.values.text import QUANTITY_MAX, describe, is_integer

_OVERAGE: tuple[Literal["hard", "soft"], ...] = ("hard", "soft")
_WARN_MAX = 1000
_PRIORITY_MAX = 100
_USED_UP = ("every", "rolling", "rollover", "per_member", "caps", "priority")
_HELD = {word: f"a level is held, not used up over time; remove `{word}`" for word in _USED_UP}
_OF_PLANS = {
    word: f"only a plan says this, for what an add-on adds as well; remove `{word}`"
    for word in ("overage", "warn", "rollover", "per_member", "caps", "priority")
}
_ONLY_ADD_ON = {"add": "only an add-on can `add`; write `limit` for a feature or `grant` for a credit"}
_OF_CREDITS = {
    "limit": "a credit is granted, not limited; write `grant`",
    "rolling": "credits are granted by the period; write `every`",
    **{word: f"credits are spent until they are gone; remove `{word}`" for word in ("overage", "warn")},
}
_ONLY_CREDIT = {"grant": "`grant` is for credits; a feature has a `limit`"}
_NOTHING_OF_UNLIMITED = {
    "overage": "nobody goes over `unlimited`",
    "warn": "nobody goes over `unlimited`",
    "rollover": "of `unlimited` nothing is left over",
}


def read_plan_term(node: Node, feature: Feature | Credit) -> Term:
    """Read what a plan says about this feature."""
    match feature:
        case BooleanFeature():
            return Switch(feature.key, on=node.flag())
        case ConfigFeature():
            return _setting(node, feature)
        case LevelFeature():
            return _level(node, feature)
        case MeteredFeature():
            return _metered(node, feature)
        case Credit():
            return _grant(node, feature)


def read_add_on_term(node: Node, feature: Feature | Credit) -> Term:
    """Read what an add-on says about this feature."""
    match feature:
        case BooleanFeature():
            if node.value is False:
                node.wrong("an add-on can only switch features on; write `true` or remove this line")
            return Switch(feature.key, on=node.flag())
        case ConfigFeature():
            return _setting(node, feature)
        case LevelFeature() | MeteredFeature() | Credit():
            return _addition(node, feature)


def _setting(node: Node, feature: ConfigFeature) -> Setting:
    match feature.type:
        case "integer":
            return Setting(feature.key, node.integer(at_least=-QUANTITY_MAX))
        case "string":
            return Setting(feature.key, node.note())
        case "boolean":
            return Setting(feature.key, node.flag())


def _level(node: Node, feature: LevelFeature) -> Allowance:
    if not isinstance(node.value, Mapping):
        units, by_quantity = _units(node, "a whole number, `unlimited` or a mapping such as `{limit: quantity}`")
        return Allowance(feature.key, units, by_quantity=by_quantity)
    node = node.fields("limit", "overage", "warn", hints={**_HELD, **_ONLY_ADD_ON, **_ONLY_CREDIT})
    units, by_quantity = _limit(node)
    overage = node.get("overage", "hard")
    priced = isinstance(overage.value, Mapping)
    if priced:
        overage.wrong("what is held has no period to pay for; write `soft` or `hard`")
    return Allowance(
        feature.key,
        units,
        by_quantity=by_quantity,
        overage="soft" if priced else overage.choice(_OVERAGE),
        warn=_warn(node.get("warn", [])),
    )


def _metered(node: Node, feature: MeteredFeature) -> Allowance:
    if node.value == "unlimited":
        return Allowance(feature.key, None)
    if is_integer(node.value):
        node.wrong(f"say how often this renews: write `{{limit: {describe(node.value).strip('`')}, every: month}}`")
        return Allowance(feature.key, 0)
    if not isinstance(node.value, Mapping):
        node.expected("`unlimited` or a mapping such as `{limit: 1000, every: month}`")
        return Allowance(feature.key, 0)
    node = node.fields("limit", "overage", "warn", *_USED_UP, hints={**_ONLY_ADD_ON, **_ONLY_CREDIT})
    units, by_quantity = _limit(node)
    counted = units is not None or any(node.has(word) for word in ("every", "rolling", "per_member"))
    window = read_window(node, "month") if counted else Window()
    return Allowance(
        feature.key,
        units,
        by_quantity=by_quantity,
        recurrence=window.recurrence,
        rolling_s=window.rolling_s,
        warn=_warn(node.get("warn", [])),
        **_overage(node, window),
        **_use(node, window),
    )


def _grant(node: Node, credit: Credit) -> Allowance:
    words = tuple(word for word in _USED_UP if word != "rolling")
    node = node.fields("grant", *words, hints={**_OF_CREDITS, **_ONLY_ADD_ON})
    window = read_every(node, "month")
    units = node.need("grant", "5000").integer()
    return Allowance(credit.key, units, recurrence=window.recurrence, **_use(node, window))


def _addition(node: Node, feature: LevelFeature | MeteredFeature | Credit) -> Allowance:
    hints = {**_OF_PLANS, **dict.fromkeys(("limit", "grant"), "an add-on comes on top of the plan; write `add`")}
    match feature:
        case LevelFeature():
            node = node.fields("add", hints={**hints, **_HELD})
        case MeteredFeature():
            node = node.fields("add", "every", "rolling", hints=hints)
        case Credit():
            node = node.fields("add", "every", hints={**hints, "rolling": _OF_CREDITS["rolling"]})
    if node.has("limit") or node.has("grant"):
        return Allowance(feature.key, 0, adds=True)
    add = node.need("add", "50000")
    window = Window()
    if not isinstance(feature, LevelFeature):
        window = read_window(node, "month") if isinstance(feature, MeteredFeature) else read_every(node, "month")
    # The quantity bought multiplies every addition; `add: quantity` is one unit for each.
    units = 1 if add.value == "quantity" else add.integer(at_least=1)
    return Allowance(
        feature.key, units, by_quantity=True, adds=True, recurrence=window.recurrence, rolling_s=window.rolling_s
    )


def _limit(node: Node) -> tuple[int | None, bool]:
    """Read the units of a mapping, and whether they count once for each of the quantity."""
    limit = node.need("limit", "1000")
    units, by_quantity = _units(limit, "a whole number, `unlimited` or `quantity`", quantity=True)
    if units is None:
        for field, why in _NOTHING_OF_UNLIMITED.items():
            if node.has(field):
                node.get(field, None).wrong(f"{why}; remove `{field}`")
    return units, by_quantity


def _units(node: Node, what: str, *, quantity: bool = False) -> tuple[int | None, bool]:
    """Read units and whether they count once for each of the quantity; None: unlimited."""
    if node.value == "unlimited":
        return None, False
    if node.value == "quantity" and quantity:
        return 1, True
    if is_integer(node.value):
        return node.integer(), False
    node.expected(what)
    return 0, False


def _overage(node: Node, window: Window) -> dict[str, Any]:
    """Read what happens over the limit, as Allowance's own fields; a mapping says what it costs."""
    overage = node.get("overage", "hard")
    if not isinstance(overage.value, Mapping):
        return {"overage": overage.choice(_OVERAGE)}
    overage = overage.fields("price", "spend_cap")
    if window.rolling_s is not None:
        overage.wrong("what is over is paid by the period; write `every` instead of `rolling`, or `overage: soft`")
    price = overage.need("price", "{ amount: 2, per: 1000, currency: usd }").fields("amount", "per", "currency")
    return {
        "overage": "soft",
        "overage_price": OveragePrice(
            price.need("amount", "2").integer(at_least=1),
            price.get("per", 1).integer(at_least=1),
            read_currency(price.need("currency", "usd")),
        ),
        "spend_max": overage.get("spend_cap", None).integer(at_least=1) if overage.has("spend_cap") else None,
    }


def _use(node: Node, window: Window) -> dict[str, Any]:
    """Read how units may be used, as Allowance's own fields."""
    rollover = node.get("rollover", 0)
    ends = window.recurrence is not None and window.recurrence.every != "lifetime"
    if node.has("rollover") and not ends and window != Window():
        which = "lasts for good" if window.recurrence else "rolls on"
        rollover.wrong(f"a window that {which} has no next one to carry units into; remove `rollover`")
    return {
        "rollover": rollover.integer(),
        "per_member": node.get("per_member", None).integer(at_least=1) if node.has("per_member") else None,
        "caps": _caps(node.get("caps", []), window),
        "priority": node.get("priority", PRIORITY).integer(at_most=_PRIORITY_MAX),
    }


def _caps(node: Node, window: Window) -> tuple[Cap, ...]:
    """Read the limits beside the one in `window`, the smallest first: their order means nothing."""
    caps: dict[Window, Cap] = {}
    for item in node.items():
        fields = item.fields("limit", "every", "rolling")
        counted = read_window(fields, "hour")
        cap = Cap(fields.need("limit", "100").integer(at_least=1), counted.recurrence, counted.rolling_s)
        if counted.recurrence is not None and counted.recurrence.every == "lifetime":
            item.wrong("a cap is a limit in a shorter window; write for example `every: hour`")
        if counted != Window() and (counted == window or counted in caps):
            item.wrong(f"there is a limit with `{counted}` already; keep the smaller one")
        caps[counted] = cap
    return tuple(sorted(caps.values(), key=lambda cap: (cap.units, str(cap))))


def _warn(node: Node) -> tuple[int, ...]:
    percents = tuple(item.integer(at_least=1, at_most=_WARN_MAX) for item in node.items())
    if any(later <= earlier for earlier, later in pairwise(percents)):
        node.wrong("write the percentages in ascending order, each once")
    return percents
