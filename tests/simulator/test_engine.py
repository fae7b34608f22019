"""The laws of the engine: the same in, the same out; time forward only; the calendar without drift."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paygrade.simulator import forms
from paygrade.simulator.engine import Engine, Response
from paygrade.simulator.products import amounts
from paygrade.simulator.time import cycles

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def ask(engine: Engine, method: str, path: str, **params: Any) -> Any:
    response: Response = engine.request(method, path, params)
    assert response.status == 200, response.body
    return response.body


def play(seed: int, *, steps: list[timedelta]) -> list[dict[str, Any]]:
    engine = Engine(seed, START)
    customer = ask(engine, "POST", "/v1/customers", name="Ada")["id"]
    card = ask(engine, "POST", "/v1/payment_methods/pm_card_chargeCustomerFail/attach", customer=customer)
    default = {"default_payment_method": card["id"]}
    ask(engine, "POST", f"/v1/customers/{customer}", invoice_settings=default)
    price = ask(
        engine,
        "POST",
        "/v1/prices",
        currency="usd",
        unit_amount="900",
        recurring={"interval": "week"},
        product_data={"name": "Pro"},
    )["id"]
    for _ in range(2):
        ask(
            engine,
            "POST",
            "/v1/subscriptions",
            customer=customer,
            items=[{"price": price}],
            trial_period_days="5",
        )
    for step in steps:
        engine.advance(step)
    return engine.take_events()


def test_the_same_seed_and_requests_give_the_same_events() -> None:
    month = [timedelta(days=30)]
    assert play(1, steps=month) == play(1, steps=month)
    assert play(1, steps=month) != play(2, steps=month)


@settings(max_examples=15, deadline=None)  # each plays 40 days twice
@given(st.lists(st.integers(0, 40 * 86_400), min_size=1, max_size=8))
def test_how_time_is_cut_into_steps_does_not_matter(cuts: list[int]) -> None:
    whole = 40 * 86_400
    instants = [0, *sorted(cuts), whole]
    steps = [timedelta(seconds=b - a) for a, b in pairwise(instants)]
    assert play(1, steps=steps) == play(1, steps=[timedelta(seconds=whole)])


def test_the_clock_needs_a_zone_and_never_goes_back() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Engine(1, START.replace(tzinfo=None))
    engine = Engine(1, START)
    engine.advance(timedelta(days=1))
    with pytest.raises(ValueError, match="forward"):
        engine.advance_to(START)
    assert engine.now == START + timedelta(days=1)


def test_events_are_handed_out_once() -> None:
    engine = Engine(1, START)
    ask(engine, "POST", "/v1/customers")
    assert [event["type"] for event in engine.take_events()] == ["customer.created"]
    assert engine.take_events() == []


def test_the_engine_says_when_something_falls_due() -> None:
    engine = Engine(1, START)
    assert engine.next_due is None
    play_in = ask(engine, "POST", "/v1/customers")["id"]
    price = ask(
        engine,
        "POST",
        "/v1/prices",
        currency="usd",
        unit_amount="0",
        recurring={"interval": "day"},
        product_data={"name": "Free"},
    )["id"]
    ask(engine, "POST", "/v1/subscriptions", customer=play_in, items=[{"price": price}])
    assert engine.next_due == START + timedelta(days=1)


ANCHORS = st.integers(0, 4_000_000_000)
EVERY = st.sampled_from([("day", 1), ("day", 3), ("week", 2), ("month", 1), ("month", 6), ("year", 1)])


@settings(deadline=None)
@given(ANCHORS, EVERY, st.integers(0, 4_000_000_000))
def test_every_instant_lies_in_exactly_one_period(anchor: int, every: tuple[str, int], at: int) -> None:
    interval, count = every
    start = cycles.boundary_upto(anchor, interval=interval, count=count, upto=at)
    end = cycles.boundary_after(anchor, interval=interval, count=count, after=at)
    assert start <= at < end
    assert cycles.boundary_after(anchor, interval=interval, count=count, after=start) == end
    assert cycles.boundary_upto(anchor, interval=interval, count=count, upto=anchor) == anchor


@settings(deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(0, 10**7), st.integers(1, 10**7))
def test_a_share_is_the_nearest_minor_unit_and_the_same_for_credit_and_debit(
    amount: int, part: int, whole: int
) -> None:
    shared = amounts.rounded(Fraction(amount * part, whole))
    assert abs(shared * whole - amount * part) * 2 <= whole
    assert amounts.rounded(Fraction(-amount * part, whole)) == -shared


def test_bracketed_forms_become_nested_values() -> None:
    encoded = (
        "items[0][price]=p&items[0][metadata][0]=x&items[1][price]=q&expand[]=a&expand[]=b"
        "&metadata[1]=one&pause_collection=&trial_settings[end_behavior][missing_payment_method]=pause&n=a+b%26"
    )
    assert forms.decode(encoded) == {
        "items": [{"price": "p", "metadata": {"0": "x"}}, {"price": "q"}],
        "expand": ["a", "b"],
        "metadata": {"1": "one"},
        "pause_collection": "",
        "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
        "n": "a b&",
    }
    assert forms.decode("") == {}


@pytest.mark.parametrize("encoded", ["a=1&a[b]=2", "a[b]=1&a[b][c]=2"])
def test_a_field_that_is_both_a_value_and_an_object_is_refused(encoded: str) -> None:
    with pytest.raises(Exception, match="both a value and an object"):
        forms.decode(encoded)
