"""A catalog's file: YAML, or JSON where its name says so."""

from pathlib import Path
from typing import Any

from paygrade.catalog.parse import parse
from paygrade.server.process.yaml import read_json, read_yaml

Document = tuple[Any, dict[str, int]]
"""A catalog's document as plain data, and the line of each place in it. Any: whoever publishes it parses it."""


def read_catalog(path: Path) -> Document:
    """Read a catalog's file, and parse it to be sure; Refused `catalog_invalid` with every mistake."""
    raw = path.read_bytes()
    document, lines = read_json(raw) if path.suffix == ".json" else read_yaml(raw)
    parse(document, lines=lines)
    return document, lines
