"""The grammar is said once: the JSON Schema and the parser accept and refuse the same documents."""

import copy
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import paygrade.cli
from paygrade.catalog.offers import BooleanFeature, ConfigFeature, Credit, Feature, LevelFeature, MeteredFeature
from paygrade.catalog.parse import json_schema, parse
from paygrade.catalog.reader import Mistakes, Node
from paygrade.catalog.terms import ADD_ON_TERMS, PLAN_TERMS, Terms
from paygrade.documents.yaml import read_yaml
from paygrade.values.errors import Mistake, Refused

PAGE = (Path(__file__).parents[3] / "docs" / "catalog.md").read_text()
SAMPLE: Any = read_yaml((Path(paygrade.cli.__path__[0]) / "sample" / "paygrade.yaml").read_text())[0]
REFERENCE: Any = read_yaml("\n".join(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)))[0]
VALIDATOR = Draft202012Validator(json_schema())

ABSENT = object()
Place = tuple[str | int, ...]


def changed(base: Any, place: Place, value: object) -> Any:
    """The document with another value in one place."""
    document = copy.deepcopy(base)
    if not place:
        return value
    parent = document
    for part in place[:-1]:
        parent = parent[part]
    if value is ABSENT:
        del parent[place[-1]]
    elif isinstance(parent, list) and place[-1] == len(parent):
        parent.append(value)
    else:
        parent[place[-1]] = value
    return document


def places(value: Any, place: Place = ()) -> list[Place]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(below for key, inner in pairs for below in places(inner, (*place, key)))]


def mistakes(read: Callable[[], object]) -> tuple[Mistake, ...]:
    try:
        read()
    except Refused as refused:
        return refused.mistakes
    return ()


def refused_by_schema(document: object) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_the_schema_is_one_and_accepts_the_sample() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert refused_by_schema(SAMPLE) == []


def test_the_examples_of_the_reference_are_one_catalog() -> None:
    assert set(parse(REFERENCE).plans) == {"free", "pro"}
    assert refused_by_schema(REFERENCE) == []


def test_a_schema_says_what_an_editor_shows() -> None:
    price = json_schema()["properties"]["plans"]["additionalProperties"]["properties"]["prices"]["additionalProperties"]
    assert price["required"] == ["amount", "currency", "interval"]
    assert price["properties"]["amount"]["description"] == "In minor units: 9900 is 99.00."
    assert price["properties"]["interval"] == {"enum": ["day", "week", "month", "year"]}
    assert price["properties"]["interval_count"]["default"] == 1


TERMS: Place = ("plans", "pro", "entitlements")
MORE: Place = ("add_ons", "extra_calls", "entitlements")
RULES: Place = ("policies", "plan_change")


WORDS = (
    "unlimited quantity none free month sum count 7d * now refuse read full config level boolean integer price_1 x "
    "1m calendar hour lifetime usd all"
)
VALUES = (
    st.sampled_from([ABSENT, None, True, False, 0, 1, 5, -1, 2**53, 1.5, "", " ", {}, [], ["owner"], [80, 100]])
    | st.sampled_from([{"limit": 5}, {"add": 1}, {"then": "none"}, {"grant": 5, "every": "month"}])
    | st.sampled_from(
        [{"period": "day"}, {"limit": 5, "rolling": "1h"}, [{"limit": 5, "rolling": "1h"}], {"price": {}}]
    )
    | st.sampled_from(WORDS.split())
)
KEYS = st.sampled_from(["kind", "stripe", "every", "value", "for", "limit", "warn", "other", "rolling", "caps", "zone"])


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((*TERMS, "tokens"), {"limit": 5, "rolling": "24h", "overage": "soft", "per_member": 2, "priority": 0}),
        ((*TERMS, "tokens"), {"limit": 5, "every": "10d", "rollover": 2}),
        ((*TERMS, "tokens"), {"limit": 5, "every": {"period": "month", "align": "calendar", "zone": "Asia/Kolkata"}}),
        ((*TERMS, "tokens"), {"limit": 5, "every": {"period": "hour", "align": "calendar", "zone": "Asia/Kolkata"}}),
        ((*TERMS, "tokens"), {"limit": "unlimited", "caps": [{"limit": 5, "every": {"period": "90m"}}]}),
        ((*MORE, "tokens"), {"add": 5, "rolling": "24h"}),
    ],
)
def test_the_words_of_metering_are_right_to_the_schema_and_to_the_parser(place: Place, value: object) -> None:
    document = changed(SAMPLE, place, value)
    assert refused_by_schema(document) == []
    assert parse(document)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((*RULES, 0, "when"), "refuse"),
        ((*RULES, 2), ABSENT),
        (("features", "seats", "type"), "integer"),
        (("features", "api_calls", "value"), "size"),
        (("plans", "pro", "stripe"), "price_1"),
        ((*TERMS, "api_calls", "every"), {"period": "10d", "zone": "UTC"}),
        ((*TERMS, "api_calls", "caps"), [{"limit": 5, "every": "lifetime"}]),
        ((*TERMS, "api_calls", "caps"), [{"limit": 5, "every": "hour"}, {"limit": 5, "every": "hour"}]),
        ((*TERMS, "api_calls"), {"limit": 5, "rolling": "1h", "rollover": 1}),
        ((*TERMS, "ai_credits"), {"grant": 5, "every": "lifetime", "rollover": 1}),
        ((*MORE, "api_calls", "rollover"), 5),
    ],
)
def test_what_holds_between_keys_is_held_by_the_schema_and_by_the_parser(place: Place, value: object) -> None:
    document = changed(SAMPLE, place, value)
    assert refused_by_schema(document)
    assert mistakes(lambda: parse(document))


ONLY_THE_PARSER_KNOWS = re.compile(
    r"unknown (plan|level that counts seats|credit|feature or credit|zone)\b|a window lasts|a ladder"
    r"|a step lasts longer"
    r"|`\S+` (is a credit too|counts no seats|counts seats itself|is a plan too|is the default plan already)"
    r"|`\S+` at Stripe|plan `\S+` counts|this rule can never match|there is a limit|write the percentages in ascending"
    r"|nothing here has grace|`grace` is missing|`then` lasts for good|the last (rule|step) must"
)
"""Names that must exist, and what depends on them, on the order of things or on how long something is."""


@settings(deadline=None)
@given(st.data())
def test_the_schema_and_the_parser_agree_on_a_document(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from([SAMPLE, REFERENCE]))
    place, key, value = data.draw(st.sampled_from(places(base))), data.draw(KEYS), data.draw(VALUES)
    there = base
    for part in place:
        there = there[part]
    documents = [changed(base, place, value)] if place or value is not ABSENT else []
    if isinstance(there, dict) and value is not ABSENT:
        documents.append(changed(base, (*place, key), value))
    for document in documents:
        found = mistakes(partial(parse, document))
        if not found:
            assert VALIDATOR.is_valid(document)
        # What a term may say depends on its feature's kind, which is the next test.
        elif any("/entitlements/" not in it.pointer and not ONLY_THE_PARSER_KNOWS.match(it.message) for it in found):
            assert not VALIDATOR.is_valid(document)


SOLD: list[Feature | Credit] = [
    BooleanFeature("it"),
    *(ConfigFeature("it", type=type_) for type_ in ("integer", "string", "boolean")),
    LevelFeature("it"),
    MeteredFeature("it", "it"),
    Credit("it"),
]
TERM_KEYS = [
    "limit",
    "grant",
    "add",
    "every",
    "rolling",
    "overage",
    "warn",
    "rollover",
    "per_member",
    "caps",
    "priority",
]
SPOKEN = VALUES.filter(lambda value: value is not ABSENT)


@settings(deadline=None)
@given(
    st.sampled_from([PLAN_TERMS, ADD_ON_TERMS]),
    st.sampled_from(SOLD),
    SPOKEN | st.dictionaries(st.sampled_from(TERM_KEYS), SPOKEN, max_size=4),
)
def test_the_schema_and_the_parser_agree_on_a_term_of_each_kind(
    terms: Terms, feature: Feature | Credit, value: object
) -> None:
    shape, noted = terms.term(feature), Mistakes({})
    shape.read(Node(value, "", noted, "it"))
    accepted = Draft202012Validator(shape.schema()).is_valid(value)
    if not (found := mistakes(noted.refuse_if_any)):
        assert accepted
    elif any(not ONLY_THE_PARSER_KNOWS.match(it.message) for it in found):
        assert not accepted
