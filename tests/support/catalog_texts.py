"""Catalog documents to read, and what is said about wrong ones."""

from pathlib import Path
from typing import Any

import pytest

import paygrade.cli
from paygrade.catalog.model import Catalog
from paygrade.catalog.parse import parse
from paygrade.documents.yaml import read_yaml
from paygrade.values.errors import Refused
from paygrade.values.periods import Recurrence

SAMPLE = (Path(paygrade.cli.__path__[0]) / "sample" / "paygrade.yaml").read_text()
SAMPLE_DOCUMENT: Any = read_yaml(SAMPLE)[0]

FEATURES = """\
version: 1
features:
  exports: { kind: boolean }
  seats: { kind: level }
  calls: { kind: metered }
  retention: { kind: config, type: integer }
  support: { kind: config, type: string }
  beta: { kind: config, type: boolean }
credits:
  coins: {}
"""

TOP_UP = "below: 500, add: 5000, at_most: 3, every: month, price: { amount: 2000, currency: usd }"
MONTH = Recurrence("month")


def read(text: str, *, version: int = 1, previous: Catalog | None = None) -> Catalog:
    document, lines = read_yaml(text)
    return parse(document, lines=lines, version=version, previous=previous)


def mistakes(text: str) -> list[str]:
    with pytest.raises(Refused) as caught:
        read(text)
    assert caught.value.code == "catalog_invalid"
    return [str(mistake) for mistake in caught.value.mistakes]


def with_plan(entitlements: str) -> str:
    return f"{FEATURES}plans:\n  pro:\n    entitlements: {{ {entitlements} }}\n"


def with_add_on(entitlements: str) -> str:
    return (
        f"{FEATURES}plans:\n  pro:\n    entitlements: {{ calls: {{ limit: 5, every: month }} }}\n"
        f"add_ons:\n  more:\n    entitlements: {{ {entitlements} }}\n"
    )


def with_policies(policies: str) -> str:
    return f"{FEATURES}plans:\n  free: {{ default: true }}\n  pro: {{}}\npolicies:\n{policies}"
