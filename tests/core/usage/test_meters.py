"""Meters: what is read of a usage event, and what a window comes to."""

from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.catalog.offers import Aggregate, LevelFeature, MeteredFeature
from paygrade.usage.events import Refusal, UsageEvent
from paygrade.usage.meters import (
    Measured,
    Meters,
    Said,
    Total,
    digest,
    fold,
    measure,
    meters_of,
    suggestion,
    take,
)
from paygrade.values.text import QUANTITY_MAX
from support.samples import CATALOG, T0

METERED = {
    "calls": MeteredFeature("calls", "request"),
    "tokens": MeteredFeature("tokens", "completion", aggregate="sum", value="tokens"),
    "peak": MeteredFeature("peak", "storage", aggregate="max", value="bytes"),
    "stored": MeteredFeature("stored", "storage", aggregate="last", value="bytes"),
    "users": MeteredFeature("users", "login", aggregate="unique", value="user"),
}
HELD = {
    "disk": LevelFeature("disk", event="disk_measured", aggregate="last", value="gb"),
    "devices": LevelFeature("devices", aggregate="max"),
}
METERS: Meters = meters_of(replace(CATALOG, features={**CATALOG.features, **METERED, **HELD}))


def read(*, named: str | None = None, event: str | None = None, **more: Any) -> tuple[Measured, ...] | Refusal:
    return measure(METERS, UsageEvent(id="e1", account="acme", feature=named, event=event, **more))


def units(**more: Any) -> dict[str, int]:
    found = read(**more)
    assert not isinstance(found, Refusal), found
    return {measured.feature: measured.units for measured in found}


def refused(**more: Any) -> Refusal:
    found = read(**more)
    assert isinstance(found, Refusal), found
    return found


def test_a_level_reads_what_it_says_and_adds_up_where_it_says_nothing() -> None:
    assert read(event="disk_measured", properties={"gb": "12.0"}) == (Measured("disk", "last", 12),)
    assert read(named="disk", quantity=5) == (Measured("disk", "last", 5),)
    assert read(named="devices", quantity=3) == (Measured("devices", "max", 3),)
    assert "`devices` reads the `quantity`, which is missing" in refused(named="devices").detail
    assert "must be at least 0" in refused(named="disk", quantity=-1).detail
    assert read(named="seats", quantity=-2) == (Measured("seats", "sum", -2),)
    assert refused(event="devices").code == "unknown_event"


def test_an_event_counts_one_and_a_quantity_counts_itself() -> None:
    assert units(event="request") == {"calls": 1}
    assert units(event="request", quantity=7) == {"calls": 7}
    assert units(named="calls", quantity=-2) == {"calls": -2}
    assert units(named="seats") == {"seats": 1}
    assert units(named="ai_credits", quantity=5) == {"ai_credits": 5}


def test_an_event_feeds_every_feature_that_counts_it() -> None:
    assert units(event="storage", properties={"bytes": 512}) == {"peak": 512, "stored": 512}


def test_a_named_feature_takes_the_quantity_before_the_property() -> None:
    assert units(named="tokens", quantity=3, properties={"tokens": 500}) == {"tokens": 3}
    assert units(named="tokens", properties={"tokens": 500}) == {"tokens": 500}
    assert units(named="tokens") == {"tokens": 1}
    assert units(event="completion", quantity=3) == units(named="tokens", quantity=3) | {"tokens": 3}


@pytest.mark.parametrize(
    ("value", "whole"),
    [(12, 12), (12.0, 12), ("12", 12), ("12.00", 12), ("-3", -3), (0, 0), (QUANTITY_MAX, QUANTITY_MAX), ("007", 7)],
)
def test_whole_values_are_taken_in_any_spelling(value: object, whole: int) -> None:
    assert units(event="completion", properties={"tokens": value})["tokens"] == whole


@pytest.mark.parametrize(
    "value",
    [1.5, "1.5", "", "x", "1e3", "--1", "٣", True, [1], {"n": 1}, QUANTITY_MAX + 1, 1e300, "9" * 400, "1_0", " 1"],
)
def test_values_that_are_not_whole_are_refused_and_never_rounded(value: object) -> None:
    told = refused(event="completion", properties={"tokens": value})
    assert told.code == "invalid_value"
    assert "tokens" in told.detail
    assert len(told.detail) < 300


def test_a_property_that_is_missing_is_named() -> None:
    told = refused(event="login", properties={"usr": "ann"})
    assert (told.code, "`user`, which is missing" in told.detail) == ("invalid_value", True)
    assert refused(event="storage").code == "invalid_value"
    assert refused(named="peak", quantity=-1).code == "invalid_value"


def test_different_spellings_of_one_value_are_one_to_a_unique_meter() -> None:
    def value(user: object) -> str | None:
        found = read(event="login", properties={"user": user})
        assert not isinstance(found, Refusal), found
        return found[0].value

    assert value("ann") == "ann"
    assert value(7) == value(7.0) == value("7") == "7"
    assert value(True) == "true"
    assert len(value("x" * 5000) or "") < 100
    assert value("x" * 5000) != value("x" * 5001)
    assert refused(event="login", properties={"user": None}).code == "invalid_value"
    assert refused(event="login", properties={"user": {"id": 1}}).code == "invalid_value"


def test_a_name_nothing_counts_is_refused_with_the_nearest_one() -> None:
    event = UsageEvent(id="e1", account="acme", event="complétion")
    told = measure(METERS, event)
    assert isinstance(told, Refusal)
    assert told.code == "unknown_event"
    assert suggestion(METERS, event) == "did you mean `completion`?"
    assert refused(named="exports").code == "unknown_feature"
    assert "is a feature" in suggestion(METERS, UsageEvent(id="e", account="a", event="users"))


def test_an_event_names_either_a_feature_or_an_event() -> None:
    assert refused().code == "invalid_event"
    assert refused(named="calls", event="request").code == "invalid_event"


def test_the_digest_tells_bodies_apart_but_not_the_order_of_properties() -> None:
    event = UsageEvent(id="e1", account="acme", event="completion", properties={"tokens": 5, "model": "large"})
    assert digest(event) == digest(replace(event, properties={"model": "large", "tokens": 5}))
    others = [
        replace(event, quantity=1),
        replace(event, properties={"tokens": 6, "model": "large"}),
        replace(event, time=T0),
        replace(event, member="ann"),
        replace(event, event=None, feature="completion"),
    ]
    assert len({digest(other) for other in (event, *others)}) == len(others) + 1
    assert -(2**63) <= digest(event) < 2**63


AGGREGATES = get_args(Aggregate)
said_lists = st.lists(
    st.builds(
        Said,
        st.sampled_from(["a", "b", "c", "d"]),
        st.integers(0, 3).map(lambda minutes: T0 + timedelta(minutes=minutes)),
        st.integers(0, 9),
        st.sampled_from(["ann", "bo", "cy"]),
    ),
    unique_by=lambda said: (said.id, said.time),
    max_size=12,
)


def taken(total: Total, aggregate: Aggregate, said: list[Said], values: set[str | None]) -> Total:
    for each in said:
        measured = Measured("f", aggregate, each.units, each.value)
        total = take(total, measured, id=each.id, time=each.time, seen=each.value in values)
        values.add(each.value)
    return total


@given(st.sampled_from(AGGREGATES), said_lists, st.integers(0, 12))
def test_splitting_a_batch_anywhere_gives_the_same_sums(aggregate: Aggregate, said: list[Said], cut: int) -> None:
    values: set[str | None] = set()
    halfway = taken(Total(), aggregate, said[:cut], values)
    assert taken(halfway, aggregate, said[cut:], values) == fold(aggregate, said)


@given(st.sampled_from(AGGREGATES), said_lists, st.randoms())
def test_the_order_of_arrival_changes_no_window(aggregate: Aggregate, said: list[Said], random: Any) -> None:
    shuffled = list(said)
    random.shuffle(shuffled)
    assert fold(aggregate, shuffled) == fold(aggregate, said)


@given(st.sampled_from(["max", "last", "unique"]), said_lists)
def test_replaying_readings_gives_nothing_new(aggregate: Aggregate, said: list[Said]) -> None:
    assert fold(aggregate, [*said, *said]) == fold(aggregate, said)


def test_the_latest_event_is_the_latest_by_time_then_by_id() -> None:
    def said(id: str, time: datetime, units: int) -> Said:
        return Said(id, time, units)

    later = T0 + timedelta(seconds=1)
    assert fold("last", [said("b", later, 1), said("a", later, 2), said("z", T0, 3)]).used == 1
