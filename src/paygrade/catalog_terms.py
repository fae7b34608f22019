"""The lines of plans and add-ons in a catalog document: what each says about a feature or a credit.

Laws: the feature's kind decides which words a term may use; a plan says how much there is, an add-on how much comes
on top of it for each one bought; what is counted over time names its period, what is held has none.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

from paygrade.catalog import (
    Allowance,
    BooleanFeature,
    ConfigFeature,
    Credit,
    Feature,
    LevelFeature,
    MeteredFeature,
    Setting,
    Switch,
    Term,
)
from paygrade.document import QUANTITY_MAX, Node, describe, is_integer
from paygrade.periods import EVERY, Every, Recurrence

_EVERY: tuple[Every, ...] = tuple(every for every in EVERY if every != "custom")
_OVERAGE: tuple[Literal["hard", "soft"], ...] = ("hard", "soft")
_HELD = "a level is held, not used up over time; remove `every`"
_WARN_MAX = 1000


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
    hints = {"every": _HELD, "add": _only_add_on("add"), "grant": _only_credit("grant")}
    return _limit(node.fields("limit", "overage", "warn", hints=hints), feature.key)


def _metered(node: Node, feature: MeteredFeature) -> Allowance:
    if node.value == "unlimited":
        return Allowance(feature.key, None)
    if is_integer(node.value):
        node.wrong(f"say how often this renews: write `{{limit: {describe(node.value).strip('`')}, every: month}}`")
        return Allowance(feature.key, 0)
    if not isinstance(node.value, Mapping):
        node.expected("`unlimited` or a mapping such as `{limit: 1000, every: month}`")
        return Allowance(feature.key, 0)
    hints = {"add": _only_add_on("add"), "grant": _only_credit("grant"), "rollover": _only_credit("rollover")}
    return _limit(node.fields("limit", "every", "overage", "warn", hints=hints), feature.key, recurs=True)


def _limit(node: Node, key: str, *, recurs: bool = False) -> Allowance:
    """Read the mapping of a level or a metered feature; only the latter `recurs`."""
    limit = node.need("limit", "1000")
    units, by_quantity = _units(limit, "a whole number, `unlimited` or `quantity`", quantity=True)
    recurrence: Recurrence | None = None
    if recurs and (node.has("every") or units is not None):
        recurrence = _recurrence(node)
    if units is None:
        for field in ("overage", "warn"):
            if node.has(field):
                node.get(field, None).wrong(f"nobody goes over `unlimited`; remove `{field}`")
    overage = node.get("overage", "hard").choice(_OVERAGE)
    warn = _warn(node.get("warn", []))
    return Allowance(key, units, by_quantity=by_quantity, recurrence=recurrence, overage=overage, warn=warn)


def _grant(node: Node, credit: Credit) -> Allowance:
    hints = {"limit": "a credit is granted, not limited; write `grant`", "add": _only_add_on("add")}
    node = node.fields("grant", "every", "rollover", hints=hints)
    return Allowance(
        credit.key,
        node.need("grant", "5000").integer(),
        recurrence=_recurrence(node),
        rollover=node.get("rollover", 0).integer(),
    )


def _addition(node: Node, feature: LevelFeature | MeteredFeature | Credit) -> Allowance:
    recurs = not isinstance(feature, LevelFeature)
    hints = dict.fromkeys(("limit", "grant"), "an add-on comes on top of the plan; write `add`")
    node = node.fields("add", *(("every",) if recurs else ()), hints={**hints, "every": _HELD})
    if node.has("limit") or node.has("grant"):
        return Allowance(feature.key, 0, adds=True)
    add = node.need("add", "50000")
    recurrence = _recurrence(node) if recurs else None
    # The quantity bought multiplies every addition; `add: quantity` is one unit for each.
    units = 1 if add.value == "quantity" else add.integer(at_least=1)
    return Allowance(feature.key, units, by_quantity=True, adds=True, recurrence=recurrence)


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


def _recurrence(node: Node) -> Recurrence:
    return Recurrence(node.need("every", "month").choice(_EVERY))


def _warn(node: Node) -> tuple[int, ...]:
    percents = tuple(item.integer(at_least=1, at_most=_WARN_MAX) for item in node.items())
    if any(later <= earlier for earlier, later in pairwise(percents)):
        node.wrong("write the percentages in ascending order, each once")
    return percents


def _only_add_on(word: str) -> str:
    return f"only an add-on can `{word}`; write `limit` for a feature or `grant` for a credit"


def _only_credit(word: str) -> str:
    return f"`{word}` is for credits; a feature has a `limit`"
