"""What differs between two catalogs, in the words of the document; and a catalog written back as a document.

Laws: parsing what `render` wrote gives the same catalog; two catalogs without differences are equal but for their
versions; a difference is named by its place in the document.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from paygrade.catalog.features import CREDIT, FEATURE
from paygrade.catalog.model import AddOn, Catalog, Plan
from paygrade.catalog.parse import ADD_ON, DOCUMENT, PLAN
from paygrade.catalog.policies import LADDERS, POLICIES
from paygrade.catalog.prices import PRICE
from paygrade.catalog.shapes import Record
from paygrade.catalog.terms import ADD_ON_TERMS, PLAN_TERMS
from paygrade.values.text import flow


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
    sections = {name: getattr(catalog, name) for name in ("features", "credits", "policies", "time_zone")}
    document = DOCUMENT.write({"version": 1, **sections, "plans": {}, "add_ons": {}})
    sold: dict[str, Mapping[str, Plan | AddOn]] = {"plans": catalog.plans, "add_ons": catalog.add_ons}
    return document | {
        section: {key: _head(item) | _given({"prices": _prices(item), "entitlements": _terms(item, catalog)})
                  for key, item in items.items()}
        for section, items in sold.items() if items
    }  # fmt: skip


def _lines(catalog: Catalog) -> dict[str, str]:
    """One text for each place that a reader would call one line of the catalog."""
    lines = {f"/features/{key}": flow(FEATURE.write(feature)) for key, feature in catalog.features.items()}
    lines |= {f"/credits/{key}": flow(CREDIT.write(credit)) for key, credit in catalog.credits.items()}
    if catalog.time_zone != "UTC":
        lines["/time_zone"] = catalog.time_zone
    lines["/plans"] = "in ascending order: " + ", ".join(catalog.plans)
    for place, sold in (("/plans", catalog.plans), ("/add_ons", catalog.add_ons)):
        for key, item in sold.items():
            head = _head(item)
            head.pop("policies", None)
            lines[f"{place}/{key}"] = f"{item.ref} {flow(head)}" if head else item.ref
            ladders = LADDERS.write(item.ladders) if isinstance(item, Plan) else {}
            for below, texts in (
                ("prices", _prices(item)), ("entitlements", _terms(item, catalog)), ("policies", ladders)
            ):  # fmt: skip
                lines |= {f"{place}/{key}/{below}/{name}": flow(text) for name, text in texts.items()}
    policies = POLICIES.write(catalog.policies)
    lines |= {f"/policies/{name}": flow(policy) for name, policy in policies.items() if name != "top_up"}
    top_ups: Any = policies.get("top_up", {})  # a mapping by credit
    return lines | {f"/policies/top_up/{key}": flow(top_up) for key, top_up in top_ups.items()}


def _head(item: Plan | AddOn) -> dict[str, object]:
    """What is said of it beside its prices and entitlements."""
    record: Record[Any] = PLAN if isinstance(item, Plan) else ADD_ON  # Any: one of the two
    return record.write(item, without=("prices", "entitlements"))


def _prices(item: Plan | AddOn) -> dict[str, object]:
    return {key: PRICE.write(price) for key, price in item.prices.items()}


def _terms(item: Plan | AddOn, catalog: Catalog) -> dict[str, object]:
    terms = PLAN_TERMS if isinstance(item, Plan) else ADD_ON_TERMS
    known = {**catalog.features, **catalog.credits}
    return {key: terms.term(known[key]).write(term) for key, term in item.terms.items()}


def _given(fields: dict[str, dict[str, object]]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value}
