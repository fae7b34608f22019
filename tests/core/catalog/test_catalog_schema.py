"""The published JSON Schema and the parser agree on the structure of a catalog document."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

import paygrade.cli
from paygrade.catalog.parse import parse
from paygrade.server.process.yaml import read_yaml
from paygrade.values.errors import Refused

CLI = Path(paygrade.cli.__path__[0])
SCHEMA = json.loads((CLI.parent / "catalog" / "catalog.schema.json").read_text())
SAMPLE: Any = read_yaml((CLI / "sample" / "paygrade.yaml").read_text())[0]
VALIDATOR = Draft202012Validator(SCHEMA)

ABSENT = object()
Place = tuple[str | int, ...]


def changed(place: Place, value: object) -> Any:
    """The sample with another value in one place."""
    document = copy.deepcopy(SAMPLE)
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


def test_the_schema_is_one_and_accepts_the_sample() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert [error.message for error in VALIDATOR.iter_errors(SAMPLE)] == []


def test_the_examples_of_the_reference_are_one_catalog() -> None:
    page = (Path(__file__).parents[3] / "docs" / "catalog.md").read_text()
    document, lines = read_yaml("\n".join(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)))
    assert set(parse(document, lines=lines).plans) == {"free", "pro"}
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


PRO: Place = ("plans", "pro")
MONTHLY: Place = (*PRO, "prices", "monthly")
TERMS: Place = (*PRO, "entitlements")
MORE: Place = ("add_ons", "extra_calls", "entitlements")
PAST_DUE: Place = ("policies", "past_due")
BURN: Place = ("features", "tokens", "burns", "ai_credits")
TOP_UP: Place = ("policies", "top_up")
BUYS = {"below": 5, "add": 5, "at_most": 3, "every": "month", "price": {"amount": 1, "currency": "usd"}}
RULES: Place = ("policies", "plan_change")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ((), None),
        ((), []),
        (("version",), 2),
        (("version",), "1"),
        (("features",), ABSENT),
        (("plans",), ABSENT),
        (("plan",), {}),
        (("plans",), None),
        (("features", "Exports"), {"kind": "boolean"}),
        (("features", "exports"), {}),
        (("features", "exports", "kind"), "switch"),
        (("features", "exports", "unit"), "seat"),
        (("features", "exports", "roles"), ["owner", "owner"]),
        (("features", "exports", "roles"), [""]),
        (("features", "exports", "seat"), ["seats"]),
        (("features", "exports", "access"), "full"),
        (("features", "exports", "on_error"), None),
        (("features", "retention", "type"), ABSENT),
        (("features", "retention", "type"), "float"),
        (("features", "seats", "type"), "integer"),
        (("features", "tokens", "value"), ABSENT),
        (("features", "tokens", "aggregate"), "average"),
        (("features", "api_calls", "value"), "size"),
        (("features", "api_calls", "event"), " "),
        (("features", "tokens", "burns", "ai_credits", "rate"), 0),
        (("features", "tokens", "burns", "ai_credits", "per"), "1000"),
        (("features", "tokens", "burns", "ai_credits", "rate"), ABSENT),
        ((*BURN, "by"), {}),
        ((*BURN, "by", "property"), ""),
        ((*BURN, "by", "rates"), {}),
        ((*BURN, "by", "rates", " "), {"rate": 1}),
        ((*BURN, "by", "rates", "large", "rate"), 0),
        ((*BURN, "by", "rates", "large", "by"), {}),
        (("features", "api_calls", "stripe"), "calls"),
        (("features", "api_calls", "stripe"), {}),
        (("features", "api_calls", "stripe"), {"meter": "calls", "report": "none"}),
        (("features", "seats", "stripe"), {"meter": "calls"}),
        (("credits", "ai_credits", "unit"), ""),
        (("credits", "ai_credits", "price"), 1),
        (("plans", "none"), {}),
        (("plans", "pro-2"), {}),
        ((*PRO, "default"), "yes"),
        ((*PRO, "stripe"), "price_1"),
        ((*PRO, "trial"), 14),
        ((*PRO, "trial", "days"), 0),
        ((*PRO, "rank"), 1),
        ((*MONTHLY, "amount"), -1),
        ((*MONTHLY, "amount"), 99.5),
        ((*MONTHLY, "amount"), True),
        ((*MONTHLY, "amount"), 2**53),
        ((*MONTHLY, "currency"), "USD"),
        ((*MONTHLY, "currency"), ABSENT),
        ((*MONTHLY, "interval"), "quarter"),
        ((*MONTHLY, "interval_count"), 0),
        ((*MONTHLY, "stripe"), ""),
        ((*TERMS, "exports"), None),
        ((*TERMS, "seats"), 1.5),
        ((*TERMS, "seats"), {}),
        ((*TERMS, "seats"), {"limit": "many"}),
        ((*TERMS, "projects", "overage"), "none"),
        ((*TERMS, "projects", "warn"), [0]),
        ((*TERMS, "projects", "warn"), [80, 80]),
        ((*TERMS, "projects", "limit"), "unlimited"),
        ((*TERMS, "api_calls", "every"), "fortnight"),
        ((*TERMS, "api_calls", "grant"), 5),
        ((*TERMS, "api_calls", "every"), "custom"),
        ((*TERMS, "api_calls", "every"), {"period": "month", "align": "moon"}),
        ((*TERMS, "api_calls", "every"), {"period": "lifetime", "align": "calendar"}),
        ((*TERMS, "api_calls", "every"), {"period": "10d", "zone": "UTC"}),
        ((*TERMS, "api_calls", "every"), {"period": "hour", "zone": "UTC"}),
        ((*TERMS, "api_calls", "every"), {"align": "calendar"}),
        ((*TERMS, "api_calls", "every"), {"period": "month", "zone": ""}),
        ((*TERMS, "api_calls", "rolling"), "1h"),
        ((*TERMS, "api_calls", "rollover"), -1),
        ((*TERMS, "api_calls", "per_member"), 0),
        ((*TERMS, "api_calls", "priority"), 101),
        ((*TERMS, "api_calls", "overage"), {}),
        ((*TERMS, "api_calls", "overage", "spend_cap"), 0),
        ((*TERMS, "api_calls", "overage", "price", "amount"), 0),
        ((*TERMS, "api_calls", "overage", "price", "currency"), ABSENT),
        ((*TERMS, "api_calls", "overage", "price", "interval"), "month"),
        ((*TERMS, "api_calls", "caps"), {}),
        ((*TERMS, "api_calls", "caps"), [{"limit": 5}]),
        ((*TERMS, "api_calls", "caps"), [{"every": "hour"}]),
        ((*TERMS, "api_calls", "caps"), [{"limit": 0, "every": "hour"}]),
        ((*TERMS, "api_calls", "caps"), [{"limit": 5, "every": "lifetime"}]),
        ((*TERMS, "api_calls", "caps"), [{"limit": 5, "every": "hour", "rolling": "1h"}]),
        ((*TERMS, "api_calls", "caps"), [{"limit": 5, "every": "hour"}, {"limit": 5, "every": "hour"}]),
        ((*TERMS, "api_calls"), {"limit": 5, "rolling": "1h", "rollover": 1}),
        ((*TERMS, "api_calls"), {"limit": 5, "every": "lifetime", "rollover": 1}),
        ((*TERMS, "api_calls"), {"limit": "unlimited", "rollover": 1}),
        ((*TERMS, "projects", "caps"), [{"limit": 5, "every": 7}]),
        ((*TERMS, "ai_credits", "rolling"), "1h"),
        ((*TERMS, "ai_credits", "overage"), "soft"),
        ((*TERMS, "ai_credits"), {"grant": 5, "every": "lifetime", "rollover": 1}),
        ((*TERMS, "ai_credits", "every"), ABSENT),
        ((*TERMS, "ai_credits", "grant"), "unlimited"),
        ((*TERMS, "ai_credits"), {"add": 5, "every": "month"}),
        ((*MORE, "api_calls"), {"limit": 5, "every": "month"}),
        ((*MORE, "api_calls", "add"), 0),
        ((*MORE, "api_calls", "warn"), [80]),
        ((*MORE, "api_calls", "rollover"), 5),
        ((*MORE, "api_calls", "rolling"), "1h"),
        (("add_ons", "extra_calls", "default"), True),
        (("add_ons", "extra_calls", "trial"), {"days": 3}),
        (("policies", "canceled"), []),
        (PAST_DUE, []),
        ((*PAST_DUE, 2), ABSENT),
        ((*PAST_DUE, 0, "for"), "7 days"),
        ((*PAST_DUE, 0, "for"), 7),
        ((*PAST_DUE, 0, "access"), "write"),
        ((*PAST_DUE, 2, "for"), "7d"),
        ((*PAST_DUE, 3), {"then": "none"}),
        (("policies", "paused"), [{"for": "7d", "access": "full"}, {"then": "none"}]),
        (("policies", "top_up"), []),
        (TOP_UP, {"ai_credits": {}}),
        (TOP_UP, {"ai_credits": {**BUYS, "below": 0}}),
        (TOP_UP, {"ai_credits": {**BUYS, "every": "hour"}}),
        (TOP_UP, {"ai_credits": {**BUYS, "price": {"amount": 0, "currency": "usd"}}}),
        (TOP_UP, {"ai_credits": {**BUYS, "price": {"amount": 1, "currency": "usd", "interval": "month"}}}),
        (TOP_UP, {"ai_credits": {**BUYS, "at_most": None}}),
        (RULES, []),
        ((*RULES, 2), ABSENT),
        ((*RULES, 0, "when"), ABSENT),
        ((*RULES, 0, "when"), "later"),
        ((*RULES, 0, "when"), "refuse"),
        ((*RULES, 0, "direction"), "sideways"),
        ((*RULES, 1, "over_limit"), "block"),
        ((*RULES, 1, "seats"), "keep"),
        ((*RULES, 1, "over_limit"), {"seats": "block"}),
        ((*RULES, 1, "usage"), "halve"),
        ((*RULES, 1, "anchor"), "now"),
        ((*RULES, 1, "grace"), 14),
        ((*RULES, 0, "from"), ""),
    ],
)
def test_a_structural_mistake_is_one_to_the_schema_and_to_the_parser(place: Place, value: object) -> None:
    document = changed(place, value)
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(Refused):
        parse(document)


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
        (TOP_UP, {"ai_credits": BUYS}),
        (("features", "api_calls", "stripe"), {"meter": "calls", "report": "all"}),
        ((*TERMS, "tokens"), {"limit": 5, "rolling": "24h", "overage": "soft", "per_member": 2, "priority": 0}),
        ((*TERMS, "tokens"), {"limit": 5, "every": "10d", "rollover": 2}),
        ((*TERMS, "tokens"), {"limit": 5, "every": {"period": "month", "align": "calendar", "zone": "Asia/Kolkata"}}),
        ((*TERMS, "tokens"), {"limit": 5, "every": {"period": "hour", "align": "calendar", "zone": "Asia/Kolkata"}}),
        ((*TERMS, "tokens"), {"limit": "unlimited", "caps": [{"limit": 5, "every": {"period": "90m"}}]}),
        ((*MORE, "tokens"), {"add": 5, "rolling": "24h"}),
    ],
)
def test_the_words_of_metering_are_right_to_the_schema_and_to_the_parser(place: Place, value: object) -> None:
    document = changed(place, value)
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []
    assert parse(document)


@given(st.sampled_from(places(SAMPLE)), KEYS, VALUES)
def test_the_schema_accepts_whatever_the_parser_accepts(place: Place, key: str, value: object) -> None:
    there = SAMPLE
    for part in place:
        there = there[part]
    documents = [changed(place, value)] if place or value is not ABSENT else []
    if isinstance(there, dict) and value is not ABSENT:
        documents.append(changed((*place, key), value))
    for document in documents:
        try:
            parse(document)
        except Refused:
            continue
        assert [error.message for error in VALIDATOR.iter_errors(document)] == []
