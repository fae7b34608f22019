"""What the demo shows, without a server: `make demo ONCE=1` plays it, .ci/run too."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner

from paygrade.catalog.parse import parse
from paygrade.cli import demo_past
from paygrade.cli.demo_past import PAST, Past, customers_of, kestrel, members_of
from paygrade.cli.demo_situations import SITUATIONS
from paygrade.cli.demo_usage import TOLD, Event, events, first
from paygrade.cli.main import paygrade
from paygrade.documents.yaml import read_yaml

NOW = datetime(2027, 3, 30, 9, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "demo.md"


def past(seed: int = 1) -> Past:
    return Past(customers_of(NOW, seed), NOW)


@pytest.mark.parametrize("version", [1, 2])
def test_what_kestrel_sells_and_sold_has_no_mistakes(version: int) -> None:
    document, lines = read_yaml(kestrel(version=version))
    catalog = parse(document, lines=lines)
    assert list(catalog.plans) == ["free", "starter", "pro", "enterprise"]
    price = catalog.plans["pro"].prices["monthly"].amount
    assert price == (7900 if version == 1 else 9900)


def test_there_are_fifty_customers_the_same_for_each_seed_and_all_came_in_the_past() -> None:
    found = past().customers
    assert len({each.key for each in found}) == 50
    assert found == past().customers != past(seed=2).customers
    assert all(NOW - PAST < each.since < NOW for each in found)
    assert {each.key for each in found} >= {one.account for one in SITUATIONS}
    assert all(len(members_of(each)) <= each.seats for each in found)


def test_the_page_says_who_is_who() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(one.account, one.about) for one in SITUATIONS]


def test_usage_is_the_same_for_each_seed_counts_as_asked_and_adds_up_to_the_situations() -> None:
    made = list(events(past(), count=20_000, seed=1))
    assert made == list(events(past(), count=20_000, seed=1))
    assert len(made) == len({each.id for each in made}) == 20_000
    since = {each.key: each.since for each in past().customers}
    assert all(since[each.account] <= each.time <= NOW for each in made)
    shown = list(first(iter(made)))
    assert {each.account for each in shown} == set(TOLD)
    assert {each.account for each in islice(made, len(shown), None)}.isdisjoint(TOLD)
    assert used(shown) == {key: (told.calls, told.credits * 1_000) for key, told in TOLD.items()}


def used(made: list[Event]) -> dict[str, tuple[int, int]]:
    calls, tokens = Counter[str](), Counter[str]()
    for each in made:
        calls[each.account] += int(each.properties.get("pages", 0))
        tokens[each.account] += int(each.properties.get("tokens", 0))
    return {key: (calls[key], tokens[key]) for key in calls}


def test_what_happens_to_a_customer_happens_after_it_came_and_before_now() -> None:
    moments = [*demo_past._situations(NOW)]
    assert all(NOW - PAST <= moment.at < NOW for moment in moments)
    assert NOW - timedelta(hours=24) < moments[-1].at, "a change waits for its payment for a day"


def test_weather_is_typed_as_keys_and_values() -> None:
    told = CliRunner().invoke(paygrade, ["simulator", "weather", "drop"])
    assert told.exit_code == 2
    assert "drop=0.5" in told.output
