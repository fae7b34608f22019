"""How many there are. Units: a number, `unlimited`, one for each of the quantity bought, or a number for each of them.

And which quantities of a plan or add-on are sold.

Laws: what follows the quantity names what it follows: the quantity of the plan itself, or a level that the same plan
gives as a number; the smallest and the largest quantity are among those that are sold.
"""

from collections.abc import Collection, Mapping
from typing import Any

from paygrade.catalog.model import Allowance, Plan, Quantities
from paygrade.catalog.reader import Node
from paygrade.catalog.shapes import (
    POSITIVE,
    QUANTITY,
    Law,
    Or,
    Plain,
    Record,
    Via,
    is_mapping,
    may,
    need,
    text,
)
from paygrade.values.text import is_integer

Units = tuple[int | None, bool, str | None]
"""How many, None for unlimited; whether they count once for each of the quantity; and of which level's instead."""
OF_UNITS = ("units", "by_quantity", "per")

_PER = Record(
    dict[str, Any],
    {
        "per": need("seats", text("a level of the plan, or `quantity`"), "A level of the plan, or `quantity`."),
        "units": need("100", POSITIVE, "How many units for each."),
    },
)


def _for_each(said: Mapping[str, Any]) -> Units:
    per = said.get("per", "quantity")
    return said.get("units", 1), True, None if per == "quantity" else per


def _said(units: Units) -> dict[str, object]:
    return {"per": units[2] or "quantity", "units": units[0]}


EACH = Via[Units](_PER, _for_each, _said)


def _written(limit: Units) -> object:
    return EACH.write(limit) if limit[1] else limit[0]


def units(words: Mapping[str, Units], what: str, *, each: bool = True) -> Or[Units]:
    """The shape of a limit. `each`: it may be a mapping that says how many for each of something."""

    def how(node: Node) -> Units:
        if each and is_mapping(node.value):
            return EACH.read(node)
        if is_integer(node.value) or not words:
            return QUANTITY.read(node), False, None
        node.expected(what)
        return 0, False, None

    schema = {"anyOf": [QUANTITY.schema(), EACH.schema()]} if each else QUANTITY.schema()
    return Or(words, Via(Plain(how, schema), back=_written))


ONCE: dict[str, Units] = {"unlimited": (None, False, None)}
BY_QUANTITY: dict[str, Units] = {**ONCE, "quantity": (1, True, None)}
GRANTED = units({}, "a whole number")


def _reachable(node: Node, values: dict[str, Any]) -> None:
    """The smallest and the largest quantity are sold themselves, so that nobody has to guess what steps begin at."""
    step, least, most = values.get("step", 1), values.get("at_least"), values.get("at_most")
    if least is None:
        values["at_least"] = least = step
    for key, quantity in (("min", least), ("max", most)):
        if quantity is not None and step > 1 and quantity % step:
            near = max(step, quantity // step * step)
            node.at(key).wrong(f"`{key}` is no multiple of the step {step}; write for example `{key}: {near}`")
    if most is not None and most < least:
        node.at("max").wrong(f"`max` is less than the smallest quantity, {least}; write {least} or more")


QUANTITIES = Record(
    Quantities,
    {
        "min": may(POSITIVE, "The smallest quantity that is sold.", of="at_least"),
        "max": may(POSITIVE, "The largest quantity that is sold.", of="at_most"),
        "step": may(POSITIVE, "Quantities are multiples of this."),
    },
    (Law(holds=_reachable),),
)


def refuse_lost_levels(plan: Plan, node: Node, levels: Collection[str]) -> None:
    """Units for each of a level that this plan does not give as a number. `node` is the plan's, `levels` are all."""
    for key, term in plan.terms.items():
        if not isinstance(term, Allowance) or term.per is None:
            continue
        place = node.at("entitlements", key)
        place = place.at("limit" if place.has("limit") else "grant", "per")
        given = plan.terms.get(term.per)
        if term.per not in levels:
            place.unknown("level", [*levels, "quantity"])
        elif given is None and node.at("entitlements").has(term.per):
            continue  # what is wrong with that line has been told
        elif not isinstance(given, Allowance):
            place.wrong(f"`{plan.key}` gives no `{term.per}`; add it to the plan's `entitlements`, or write `quantity`")
        elif given.per is not None:
            place.wrong(f"`{term.per}` follows `{given.per}` itself; write `per: {given.per}` here as well")
        elif given.units is None:
            place.wrong(f"`{plan.key}` gives `{term.per}` without a limit; set its `limit`, or write `quantity`")
