"""What holds of every route, tried on all of them: the OpenAPI document says which there are."""

import json
import os
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.openapi import example_of, plain_address
from support.server_process import Api

METHODS = ("get", "put", "post", "patch", "delete")
Operation = tuple[str, str, dict[str, Any]]
ODD_TEXTS = [
    "\0", "a\0b", "x" * 201, "x" * 5000, " ", "\u202e", "\ud7ff\ue000", "\U0010ffff", "..", "a/b", "%00", "''",
    "1e9", "NaN", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-01", "-1", str(2**40), "9" * 30,
]  # fmt: skip
ODD_VALUES: list[Any] = [
    *ODD_TEXTS, None, True, 0, -1, 2**31, 2**53, 2**63, 2**64, 10**30, -(10**30), 1.5,
    [], {}, [[]], {"": ""}, {"\0": "\0"}, [None], ["\0"], [{"id": "\0"}], {"a": 2**64},
]  # fmt: skip


@pytest.fixture(scope="module")
def operations(api: Api) -> list[Operation]:
    """All there are; and the account that their examples are about."""
    api.ok("PUT", "/v1/accounts/acme", json={})
    paths = api.ok("GET", "/openapi.json")["paths"]
    return [(method.upper(), path, told) for path, each in paths.items() for method, told in each.items()]


def counted(api: Api) -> str:
    """All that was decided or used, as the metrics and the ledger tell it."""
    lines = api.get("/metrics").text.splitlines()
    return "\n".join(line for line in lines if line.startswith(("paygrade_decisions", "paygrade_usage_events_total")))


@pytest.mark.parametrize("shown", [{}, {"Authorization": "Bearer sk_other"}, {"Authorization": "Basic c2s6"}])
def test_without_the_key_no_route_answers_and_nothing_is_counted(
    api: Api, acme: str, operations: list[Operation], shown: dict[str, str]
) -> None:
    before, tried = counted(api), 0
    with Api(api.url, key=None) as stranger:
        for method, path, told in operations:
            if not told["security"]:
                continue
            body = example_of(told)
            raw = json.dumps(body | {"account": acme} if isinstance(body, dict) else body)
            headers = {**shown, "Content-Type": "application/json"}
            answer = stranger.request(method, plain_address(path, acme), headers=headers, content=raw)
            tried += 1
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), (method, path)
            assert "www-authenticate" in answer.headers
    assert tried > 60
    assert counted(api) == before
    assert api.ok("GET", f"/v1/accounts/{acme}/ledger/api_calls")["entries"] == []


def test_options_names_every_method_of_a_path(api: Api, operations: list[Operation]) -> None:
    for path in {path for _, path, _ in operations}:
        answer = api.request("OPTIONS", plain_address(path))
        named = set(answer.headers["allow"].split(", ")) - {"OPTIONS", "HEAD"}
        assert named == {method for method, its, _ in operations if its == path}, path


TEXTS, VALUES = st.sampled_from(ODD_TEXTS), st.sampled_from(ODD_VALUES)
PLACES = st.integers(0, 5)
"""Which parameter or field is odd, of those that an operation has."""


def test_what_may_befall_every_request_is_documented_with_each(operations: list[Operation]) -> None:
    for method, path, told in operations:
        usual = {"408", "431", "500", "503"} | ({"401"} if told["security"] else set())
        assert usual | ({"413"} if "requestBody" in told else set()) <= set(told["responses"]), (method, path)


EXAMPLES = int(os.environ.get("EXAMPLES", "200"))
"""How many requests are drawn at random. Where that is said, every place gets every value; else each gets some of them,
and each value some of the places, in turn."""
HARD_TEXTS = ["\0", "a\0b", str(2**40), "9" * 30, "-" + "9" * 30, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"]


@pytest.mark.parametrize("odd", HARD_TEXTS)
def test_no_parameter_of_any_route_is_an_outage(api: Api, operations: list[Operation], odd: str) -> None:
    tried, turn = 0, Turn(HARD_TEXTS.index(odd), len(HARD_TEXTS))
    for method, path, told in operations:
        for place, each in enumerate(told["parameters"]):
            if not turn.comes():
                continue
            in_path = len([one for one in told["parameters"] if one["in"] == "path"])
            named = ({place: odd}, {}) if each["in"] == "path" else ({}, {place - in_path: odd})
            answer = api.request(method, address(path, told, *named), **sent(told, {}, ...))
            refuse_an_outage(answer)
            tried += 1
    assert tried > 60


HARD_VALUES = ["\0", 2**53, 2**64, -(2**64), 1e300, HARD_TEXTS[-2], HARD_TEXTS[-1], [], {"a": "\0"}]


@pytest.mark.parametrize("odd", HARD_VALUES)
def test_no_field_of_any_route_is_an_outage(api: Api, operations: list[Operation], odd: Any) -> None:
    tried, turn = 0, Turn(HARD_VALUES.index(odd), len(HARD_VALUES))
    for method, path, told in operations:
        for content in told.get("requestBody", {}).get("content", {}).values():
            for place, _ in enumerate(content["schema"].get("properties", {})):
                if not turn.comes():
                    continue
                answer = api.request(method, address(path, told, {}, {}), **sent(told, {place: odd}, ...))
                refuse_an_outage(answer)
                tried += 1
    assert tried > 40


class Turn:
    """Says of each place whether a value is tried there: at three of as many as there are values, unless all are."""

    def __init__(self, number: int, values: int) -> None:
        self._next, self._values = number, values

    def comes(self) -> bool:
        self._next += 1
        return "EXAMPLES" in os.environ or self._next % self._values < 3


def refuse_an_outage(answer: Any) -> None:
    assert answer.status_code < 500 or answer.json()["code"].endswith("_not_configured"), answer.text


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    number=st.integers(0, 10_000),
    in_path=st.dictionaries(PLACES, TEXTS, max_size=1),
    in_query=st.dictionaries(PLACES, TEXTS, max_size=1),
    fields=st.dictionaries(PLACES, VALUES, max_size=2),
    whole=st.just(...) | st.just(...) | VALUES,
)
def test_whatever_is_sent_the_answer_is_one_that_is_documented(
    api: Api, operations: list[Operation], number: int, in_path: Any, in_query: Any, fields: Any, whole: Any
) -> None:
    method, path, told = operations[number % len(operations)]
    answer = api.request(method, address(path, told, in_path, in_query), **sent(told, fields, whole))
    # An odd key may make it another address, where there is nothing.
    documented = set(told["responses"]) | ({"404"} if in_path else set())
    assert str(answer.status_code) in documented, (answer.status_code, answer.text)
    refuse_an_outage(answer)
    assert "x-request-id" in answer.headers
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["instance"] == answer.headers["x-request-id"]


def address(path: str, told: dict[str, Any], in_path: Any, in_query: Any) -> str:
    keys, asked = ([each["name"] for each in told["parameters"] if each["in"] == where] for where in ("path", "query"))
    named = dict.fromkeys(keys, "acme") | {keys[place % len(keys)]: text for place, text in in_path.items() if keys}
    query = "&".join(f"{asked[place % len(asked)]}={quote(text, safe='')}" for place, text in in_query.items() if asked)
    found = path.format_map({key: quote(text, safe="") for key, text in named.items()})
    return f"{found}?{query}" if query else found


def sent(told: dict[str, Any], fields: Any, whole: Any) -> dict[str, Any]:
    if "requestBody" not in told:
        return {}
    body, (media_type, content) = example_of(told), next(iter(told["requestBody"]["content"].items()))
    if isinstance(body, dict):
        names = sorted(content["schema"].get("properties", {})) or ["a"]
        body = body | {names[place % len(names)]: value for place, value in fields.items()}
    return {
        "content": json.dumps(body if whole is ... else whole).encode(),
        "headers": {"Content-Type": media_type},
    }
