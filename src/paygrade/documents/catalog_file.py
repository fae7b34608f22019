"""A catalog's file: YAML, or JSON where its name says so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paygrade.catalog.parse import parse
from paygrade.documents.yaml import read_json, read_yaml
from paygrade.values.errors import Location

Document = tuple[Any, dict[str, Location]]
"""A catalog's document as plain data, and where each place of it stands. Any: whoever publishes it parses it."""


def read_catalog(path: Path, raw: bytes | None = None) -> Document:
    """Read a catalog's file, or what was read of it already, and parse it to be sure; Refused `catalog_invalid` with
    every mistake."""
    raw = path.read_bytes() if raw is None else raw
    document, lines = read_json(raw) if path.suffix == ".json" else read_yaml(raw)
    parse(document, lines=lines)
    return document, lines


def place_of(pointer: str, lines: Mapping[str, Location]) -> Location | None:
    """Where a place of the document stands in its text; a place that is not said there stands where its parent does."""
    while pointer not in lines and pointer:
        pointer = pointer.rpartition("/")[0]
    return lines.get(pointer)
