"""The lines of plans and add-ons in a catalog document: what each says about a feature or a credit.

Laws: the feature's kind decides which words a term may use; a plan says how much there is, an add-on how much comes
on top of it for each one bought; what is counted over time names its window, what is held has none.
"""

from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any

from paygrade.catalog.budgets import in_order
from paygrade.catalog.limits import BY_QUANTITY, GRANTED, OF_UNITS, ONCE, Units, units
from paygrade.catalog.model import Allowance, Overage, Setting, Switch, Term
from paygrade.catalog.offers import Budget, Cap, ConfigFeature, Credit, Feature
from paygrade.catalog.reader import Node
from paygrade.catalog.rollover import OF_ROLLOVER, ROLLOVER
from paygrade.catalog.shapes import (
    FLAG,
    NOTE,
    POSITIVE,
    Brief,
    Field,
    Items,
    Law,
    Or,
    Plain,
    Record,
    Schema,
    Shape,
    T,
    Via,
    barred,
    is_mapping,
    keyed,
    may,
    need,
    whole,
)
from paygrade.catalog.windows import CURRENCY, EVERY_ABOUT, PERIODIC, UNIT_PRICE, WINDOW, Window, bar_two, one_window
from paygrade.values.text import QUANTITY_MAX, describe, is_integer

_USED_UP = ("every", "rolling", "rollover", "per_member", "caps", "priority")
_HELD = {word: f"a level is held, not used up over time; remove `{word}`" for word in _USED_UP}
_OF_PLANS = {
    word: f"only a plan can set this, for what an add-on adds as well; remove `{word}`"
    for word in ("overage", "warn", "rollover", "per_member", "caps", "priority")
}
_ONLY_ADD_ON = {"add": "only an add-on can `add`; write `limit` for a feature or `grant` for a credit"}
_OF_CREDITS = {
    "limit": "a credit is granted, not limited; write `grant`",
    "rolling": "credits are granted by the period; write `every`",
    **{word: f"credits are spent until they are gone; remove `{word}`" for word in ("overage", "warn")},
}
_ONLY_CREDIT = {"grant": "`grant` is for credits; a feature has a `limit`"}
_ON_TOP = {
    **_OF_PLANS,
    **dict.fromkeys(("limit", "grant"), "an add-on comes on top of the plan; write `add`"),
}


class _Alone(Shape[T], frozen=True):
    """A term that is one value."""

    make: Callable[[str, Any], T]
    of: str
    value: Shape[Any]

    def read(self, node: Node) -> T:
        return self.make(node.key, self.value.read(node))

    def write(self, value: T) -> object:
        return self.value.write(getattr(value, self.of))

    def schema(self) -> Schema:
        return self.value.schema()


def _unlimited(node: Node) -> Units:
    if is_integer(node.value):
        node.wrong(f"say how often this renews: write `{{limit: {describe(node.value).strip('`')}, every: month}}`")
    elif node.value != "unlimited":
        node.expected("`unlimited` or a mapping such as `{limit: 1000, every: month}`")
    return ONCE["unlimited"]


def _unpriced(node: Node) -> Overage:
    node.wrong("a level has no period to bill; write `soft` or `hard`")
    return "soft"


def _is_on(node: Node, _: bool) -> None:
    if node.value is False:
        node.wrong("an add-on can only switch features on; write `true` or remove this line")


def _ascend(node: Node, percents: tuple[int, ...]) -> None:
    if any(later <= earlier for earlier, later in pairwise(percents)):
        node.wrong("write the percentages in ascending order, each once")


def _no_lifetime(node: Node, values: dict[str, Any]) -> None:
    if (recurrence := values.get("recurrence")) and recurrence.every == "lifetime":
        node.wrong("a cap is a limit in a shorter window; write for example `every: hour`")


_IN_A_WINDOW = (one_window("hour"), Law({"properties": {"every": {"not": {"const": "lifetime"}}}}, holds=_no_lifetime))
_LIMITED = Record(Cap, {"limit": need("100", POSITIVE, of="units"), **WINDOW}, _IN_A_WINDOW)
_BUDGETED = Record(
    Cap,
    {
        "budget": need(
            "{ amount: 5000, currency: usd }",
            Record(Budget, {"amount": need("5000", POSITIVE, "In minor units."), "currency": need("usd", CURRENCY)}),
            "What usage may cost in the window.",
        ),
        **WINDOW,
    },
    _IN_A_WINDOW,
    given={"units": 0},
    hints={"limit": "a cap is a `limit` in units or a `budget` in money; remove one of them"},
)


class _Cap(Shape[Cap], frozen=True):
    """A limit in units, or in money."""

    def read(self, node: Node) -> Cap:
        return (_BUDGETED if node.has("budget") else _LIMITED).read(node)

    def write(self, value: Cap) -> object:
        return (_LIMITED if value.budget is None else _BUDGETED).write(value)

    def schema(self) -> Schema:
        return {"anyOf": [_LIMITED.schema(), _BUDGETED.schema()]}


_CAP = _Cap()


def _apart(node: Node, values: dict[str, Any]) -> None:
    """No two limits count in the same window; their order means nothing, so the smallest comes first."""
    seen = [Window(values.get("recurrence"), values.get("rolling_s"))]
    for place, cap in enumerate(values.get("caps", ())):
        window = Window(cap.recurrence, cap.rolling_s)
        if cap.budget is not None:
            continue  # what it allows in units is known once prices are
        if window != Window() and window in seen:
            node.at("caps", str(place)).wrong(f"there is a limit with `{window}` already; keep the smaller one")
        seen.append(window)
    if "caps" in values:
        values["caps"] = in_order(values["caps"])


def _carries_into_another(node: Node, values: dict[str, Any]) -> None:
    recurrence, rolls = values.get("recurrence"), values.get("rolling_s") is not None
    for key, what in (("rollover", "carry units into"), ("overage", "take what is owed from")):
        carries = node.has(key) and (key == "rollover" or node.raw(key) == "debt")
        if carries and (rolls or (recurrence and recurrence.every == "lifetime")):
            which = "rolls on" if rolls else "lasts for good"
            node.at(key).wrong(f"a window that {which} has no next one to {what}; remove `{key}`")


def _bar_unwindowed(node: Node) -> Collection[str]:
    if node.raw("limit") != "unlimited" or any(map(node.has, ("every", "rolling", "per_member"))):
        skipped = bar_two(node, "month")
    else:
        skipped = ()
    if node.has("rolling") and isinstance(node.raw("overage"), Mapping):
        node.at("overage").wrong(
            "overage is billed by the period; write `every` instead of `rolling`, or `overage: soft`"
        )
        return (*skipped, "overage")
    return skipped


_NOTHING_OF_UNLIMITED = barred(
    {
        "overage": "nobody goes over `unlimited`; remove `overage`",
        "warn": "nobody goes over `unlimited`; remove `warn`",
        "rollover": "`unlimited` leaves nothing to carry over; remove `rollover`",
    },
    where="limit",
    says="unlimited",
)
_CARRIED = Law(
    {
        "if": {"properties": {"every": {"const": "lifetime"}}, "required": ["every"]},
        "then": {"properties": {"rollover": False}},
    },
    holds=_carries_into_another,
)
_WINDOWED = Law(
    {
        "if": {"required": ["rolling"]},
        "then": {"properties": {"every": False, "rollover": False, "overage": {"type": "string"}}},
        "anyOf": [
            {"properties": {"limit": {"const": "unlimited"}, "per_member": False}},
            *({"required": [key]} for key in WINDOW),
        ],
    },
    _bar_unwindowed,
)
_APART = Law(holds=_apart)

_PRICED = Record(
    dict[str, Any],
    {
        "price": need(
            "{ amount: 2, per: 1000, currency: usd }",
            UNIT_PRICE,
        ),
        "spend_cap": may(POSITIVE, "In minor units, for each window."),
    },
)
_OVERAGE = Or(
    {word: (word, None, None) for word in ("hard", "soft", "debt")},
    Via(
        _PRICED,
        lambda priced: ("soft", priced["price"], priced.get("spend_cap")),
        lambda overage: {"price": overage[1], "spend_cap": overage[2]},
    ),
    is_mapping,
)
_LIMIT = need(
    "1000", units(BY_QUANTITY, "a whole number, `unlimited`, `quantity` or a mapping with `per`"), of=OF_UNITS
)
_WARN = may(
    Via(Items(whole(1, 1000)), check=_ascend, law={"uniqueItems": True}), "Percentages of the limit, ascending."
)
_USE = {
    "rollover": may(ROLLOVER, "What of the units left is carried into the next window.", of=OF_ROLLOVER),
    "per_member": may(POSITIVE, "How many of the units one member can use."),
    "caps": may(Via(Items(_CAP), law={"uniqueItems": True}), "Further limits in other windows; all of them apply."),
    "priority": may(whole(0, 100), "The burn order: lower first."),
}
_EVERY = {"every": need("month", PERIODIC, EVERY_ABOUT, of="recurrence")}

_SWITCH = _Alone(Switch, "on", FLAG)
_SETTINGS = {
    "integer": _Alone(Setting, "value", whole(-QUANTITY_MAX)),
    "string": _Alone(Setting, "value", NOTE),
    "boolean": _Alone(Setting, "value", FLAG),
}
_LEVEL = Brief(
    Record(
        Allowance,
        {
            "limit": _LIMIT,
            "overage": may(Or({"hard": "hard", "soft": "soft"}, Plain(_unpriced, {"not": {}}), is_mapping)),
            "warn": _WARN,
        },
        (_NOTHING_OF_UNLIMITED,),
        hints={**_HELD, **_ONLY_ADD_ON, **_ONLY_CREDIT},
        keyed=True,
    ),
    "limit",
    units(ONCE, "a whole number, `unlimited` or a mapping such as `{limit: quantity}`", each=False),
    never="quantity",
)
_METERED = Brief(
    Record(
        Allowance,
        {
            "limit": _LIMIT,
            **WINDOW,
            "overage": may(
                _OVERAGE,
                "Whether usage can go over the limit, and at what price.",
                of=("overage", "overage_price", "spend_max"),
            ),
            "warn": _WARN,
            **_USE,
        },
        (_NOTHING_OF_UNLIMITED, _WINDOWED, _CARRIED, _APART),
        hints={**_ONLY_ADD_ON, **_ONLY_CREDIT},
        keyed=True,
    ),
    "limit",
    Via(Plain(_unlimited, {"const": "unlimited"}), back=lambda _: "unlimited"),
)
_GRANT = Record(
    Allowance,
    {"grant": need("5000", GRANTED, of=OF_UNITS), **_EVERY, **_USE},
    (_CARRIED, _APART),
    hints={**_OF_CREDITS, **_ONLY_ADD_ON},
    keyed=True,
)
_ADDED = Or({"quantity": 1}, POSITIVE)
"""The quantity bought multiplies every addition; `quantity` is one unit for each."""


def _addition(window: Mapping[str, Field], laws: tuple[Law, ...], hints: Mapping[str, str]) -> Record[Allowance]:
    return Record(
        Allowance,
        {"add": need("50000", _ADDED, of="units"), **window},
        laws,
        given={"by_quantity": True, "adds": True},
        hints={**_ON_TOP, **hints},
        instead=("limit", "grant"),
        keyed=True,
    )


_SWITCHED_ON = _Alone(Switch, "on", Via(FLAG, check=_is_on, law={"const": True}))
_MORE_HELD = _addition({}, (), _HELD)
_MORE_METERED = _addition(WINDOW, (one_window("month"),), {})
_MORE_GRANTED = _addition(_EVERY, (), {"rolling": _OF_CREDITS["rolling"]})


_AnyTerm = Shape[Any]  # Any: each reads a term of its own
_BY_PLAN: dict[str, _AnyTerm] = {"boolean": _SWITCH, "level": _LEVEL, "metered": _METERED, "credit": _GRANT}
_BY_ADD_ON: dict[str, _AnyTerm] = {
    "boolean": _SWITCHED_ON, "level": _MORE_HELD, "metered": _MORE_METERED, "credit": _MORE_GRANTED
}  # fmt: skip

SOLD = "feature or credit"
"""The noun of what a term is about. None is defined so wrongly that nothing can be said of its terms."""


class Terms(Shape[dict[str, Term]], frozen=True):
    """The entitlements; a term with a mistake is left out, so that nothing more is concluded from it."""

    by_kind: Mapping[str, _AnyTerm]

    def term(self, feature: Feature | Credit) -> _AnyTerm:
        """How it is said what there is of this."""
        if isinstance(feature, ConfigFeature):
            return _SETTINGS[feature.type]
        return self.by_kind[str(feature.__struct_config__.tag)]

    def read(self, node: Node) -> dict[str, Term]:
        known: Mapping[str, Feature | Credit | None] = node.defined(SOLD)
        terms = {}
        for key, entry in node.entries().items():
            feature = known.get(key)
            if key not in known:
                entry.unknown(SOLD, known, key=key)
            elif feature is not None:
                found = entry.mistakes_found
                term = self.term(feature).read(entry)
                if entry.mistakes_found == found:
                    terms[key] = term
        return terms

    def schema(self) -> Schema:
        shapes = [*_SETTINGS.values(), *self.by_kind.values()]
        return keyed({"anyOf": [shape.schema() for shape in shapes]})


PLAN_TERMS = Terms(_BY_PLAN)
ADD_ON_TERMS = Terms(_BY_ADD_ON)
