"""The features and credits of a catalog document: what can be said of each kind.

Laws: every kind has the keys of all kinds and its own; a key of another kind's is a mistake that names whose it is.
"""

from collections.abc import Collection
from typing import Any

from paygrade.catalog.offers import (
    CONFIG_TYPES,
    BooleanFeature,
    Burn,
    ConfigFeature,
    Credit,
    Feature,
    LevelFeature,
    MeteredFeature,
    Rate,
)
from paygrade.catalog.reader import Node
from paygrade.catalog.shapes import (
    POSITIVE,
    Fields,
    Group,
    Items,
    Keyed,
    Law,
    Record,
    Schema,
    Shape,
    Via,
    may,
    need,
    text,
)
from paygrade.catalog.windows import UNIT_PRICE
from paygrade.values.text import one_of


def _has_some(node: Node, _: object) -> None:
    if node.value == {}:
        node.wrong("there is no value with a rate of its own; name one or remove `by`")


def _named_once(node: Node, roles: tuple[str, ...]) -> None:
    if len(set(roles)) < len(roles):
        node.wrong("a role is named twice; name it once")


def _bar_value(node: Node) -> Collection[str]:
    if node.raw("aggregate", "count") != "count":
        node.need("value", "tokens")
    elif node.has("value"):
        node.at("value").wrong("`count` counts events and takes no `value`; remove it or write `aggregate: sum`")
        return ("value",)
    return ()


def _is_called_like_its_event(node: Node, values: dict[str, Any]) -> None:
    values.setdefault("event", node.key)


_AGGREGATED = Law(
    {
        "if": {"properties": {"aggregate": {"const": "count"}}},
        "then": {"not": {"required": ["value"]}},
        "else": {"required": ["value"]},
    },
    _bar_value,
    _is_called_like_its_event,
)
_RATE: Fields = {"rate": need("1", POSITIVE, "Credits for every `per` units."), "per": may(POSITIVE)}
_BY = Group(
    {
        "property": need("model", text("the name of an event property")),
        "rates": need(
            "{ large: { rate: 3, per: 1000 } }",
            Via(Keyed(Record(Rate, _RATE), free=True), check=_has_some, law={"minProperties": 1}),
        ),
    },
    "Other rates for some values of one of the event's properties.",
)
_BURNS: Via[tuple[Burn, ...]] = Via(
    Keyed(Record(Burn, {**_RATE, "by": _BY}, keyed=True), "credit"),
    lambda burns: tuple(sorted(burns.values(), key=lambda burn: burn.credit)),
    lambda burns: {burn.credit: burn for burn in burns},
)
_OWN: dict[str, Fields] = {
    "boolean": {},
    "config": {"type": need("integer"), "unit": may()},
    "level": {"unit": may()},
    "metered": {
        "event": may(text(), "The usage events counted; default: the feature's key."),
        "aggregate": may(),
        "value": may(text("the name of an event property"), "The event's property that is aggregated."),
        "unit": may(),
        "burns": may(_BURNS, "`rate` credits for every `per` units."),
        "stripe": Group(
            {
                "meter": need("$key", text("the event name of a meter at Stripe"), of="stripe_meter"),
                "report": may(about="Usage over the limit, or all usage."),
            },
            "The meter at Stripe that usage is reported to.",
        ),
    },
}
_KINDS = tuple(_OWN)
_HINTS = {
    key: f"`{key}` is for features of kind {one_of([kind for kind in _KINDS if key in _OWN[kind]])}"
    for own in _OWN.values()
    for key in own
}
_COMMON: Fields = {
    "access": may(about="What using the feature does; a `read` step of a ladder opens `read` and `export`."),
    "roles": may(
        Via(Items(text("a role")), check=_named_once, law={"uniqueItems": True}),
        "The members' roles that may use it; empty: every role.",
    ),
    "seat": may(text("the key of a level that counts seats"), "The level of which a member needs a seat to use it."),
    "on_error": may(about="The answer while nothing is known of the account, or its counts can't be read."),
    "description": may(),
}


def _kind(struct: type[Feature], *laws: Law) -> Record[Feature]:
    own = _OWN[str(struct.__struct_config__.tag)]
    return Record(struct, {**own, **_COMMON}, laws, hints=_HINTS, keyed=True, tagged=True)


class _AnyFeature(Shape[Feature | None], frozen=True):
    """None: defined, but so wrongly that nothing can be said about its terms."""

    kinds: dict[str, Record[Feature]]

    def read(self, node: Node) -> Feature | None:
        kind = node.raw("kind")
        if not isinstance(kind, str) or kind not in self.kinds:
            node.fields("kind", *_COMMON, *_HINTS).need("kind", "boolean").choice(_KINDS)
            return None
        feature = self.kinds[kind].read(node)
        return None if kind == "config" and node.raw("type") not in CONFIG_TYPES else feature

    def write(self, value: Feature | None) -> object:
        return None if value is None else self.kinds[str(value.__struct_config__.tag)].write(value)

    def schema(self) -> Schema:
        return {"oneOf": [record.schema() for record in self.kinds.values()]}


FEATURE = _AnyFeature(
    {
        "boolean": _kind(BooleanFeature),
        "config": _kind(ConfigFeature),
        "level": _kind(LevelFeature),
        "metered": _kind(MeteredFeature, _AGGREGATED),
    }
)
CREDIT = Record(
    Credit,
    {
        "unit": may(text()),
        "description": may(),
        "price": may(UNIT_PRICE, "What a credit is worth: budgets in money are counted at it."),
    },
    keyed=True,
)
