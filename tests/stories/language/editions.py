"""Catalogs that change while a story runs: the document in force, with another number in one line of a plan."""

from copy import deepcopy
from typing import Any

from stories.language.operator_phrases import Edition

Document = dict[str, Any]
"""A catalog document, as parsed from YAML."""


def edited(document: Document, edition: Edition) -> Document:
    """The document with this edition's units. AssertionError where the plan has no such line."""
    changed = deepcopy(document)
    lines = changed["plans"].get(edition.plan, {}).get("entitlements", {})
    assert edition.feature in lines, f"`{edition.plan}` says nothing of `{edition.feature}`; it has {', '.join(lines)}"
    line = lines[edition.feature]
    if isinstance(line, dict):
        line["grant" if "grant" in line else "limit"] = edition.units
    else:
        lines[edition.feature] = edition.units
    return changed
