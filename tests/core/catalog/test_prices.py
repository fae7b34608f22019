"""What usage costs: units, fractions of a cent, tiers; and what is said about prices that mean nothing."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade.catalog.diff import render
from paygrade.catalog.model import Price, Tier
from paygrade.catalog.prices import billed_units, price_said, usage_cost
from support.catalog_texts import FEATURES, mistakes, read


def with_price(price: str) -> str:
    head = "currency: usd, interval: month"
    return f"{FEATURES}plans:\n  pro:\n    prices: {{ use: {{ {head}, {price} }} }}\n"


def usage(*tiers: Tier, volume: bool = False, amount: int = 0, per: int = 1) -> Price:
    mode = "volume" if volume else "graduated"
    return Price("use", amount, "usd", "month", part="usage", feature="calls", per=per, tiers=tiers, tiers_mode=mode)  # type: ignore[arg-type]  # one of the two


TIERS = (Tier(up_to=1000), Tier(3, 100, up_to=11_000, flat=500), Tier(2, 100))


def test_a_usage_price_says_what_a_unit_costs_also_below_a_cent() -> None:
    said = "part: usage, feature: calls, amount: 2, per: 1000, stripe: use"
    (price,) = read(with_price(said)).plans["pro"].prices.values()
    assert price == Price("use", 2, "usd", "month", stripe="use", part="usage", feature="calls", per=1000)
    assert [usage_cost(price, units) for units in (0, 249, 250, 750, 1000, 10**15)] == [0, 0, 1, 2, 2, 2 * 10**12]
    assert price_said(price) == "2 minor units of usd for every 1000 calls"


@pytest.mark.parametrize(
    ("units", "graduated", "volume"),
    [(0, 0, 0), (1000, 0, 0), (1001, 500, 530), (11_000, 800, 830), (11_001, 800, 220), (21_000, 1000, 420)],
)
def test_tiers_cost_as_they_say(units: int, graduated: int, volume: int) -> None:
    assert usage_cost(usage(*TIERS), units) == graduated
    assert usage_cost(usage(*TIERS, volume=True), units) == volume


def test_tiers_are_read_and_written_back() -> None:
    tiers = "[{ up_to: 1000 }, { up_to: 11000, amount: 3, per: 100, flat_amount: 500 }, { amount: 2, per: 100 }]"
    catalog = read(with_price(f"part: usage, feature: calls, amount: 0, tiers_mode: volume, tiers: {tiers}"))
    assert catalog.plans["pro"].prices["use"] == usage(*TIERS, volume=True)
    written = render(catalog)["plans"]["pro"]["prices"]["use"]  # type: ignore[index]  # a document
    assert written["tiers"][1] == {"up_to": 11000, "amount": 3, "per": 100, "flat_amount": 500}


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 99), st.integers(1, 99), st.integers(0, 50)), max_size=4),
    st.integers(0, 3000),
)
def test_more_usage_never_costs_less_and_every_unit_has_one_price(
    said: list[tuple[int, int, int, int]], units: int
) -> None:
    ends = [sum(one[0] for one in said[: place + 1]) for place in range(len(said))]
    tiers = [Tier(amount, per, end, flat) for end, (_, amount, per, flat) in zip(ends, said, strict=True)]
    price = usage(*tiers, Tier(1, 3))
    cost = usage_cost(price, units)
    assert usage_cost(price, units + 1) >= cost
    begun, exact = 0, Fraction(0)
    for tier in price.tiers:
        there = max(0, min(units, tier.up_to or units) - begun)
        exact += Fraction(tier.amount * there, tier.per) + (tier.flat if there else 0)
        begun += there
    assert begun == units
    assert abs(cost - exact) <= Fraction(len(price.tiers), 2)


def test_what_is_billed_is_beside_the_allowance() -> None:
    assert [billed_units(120, 100, "overage"), billed_units(80, 100, "overage"), billed_units(120, 100, "all")] == [
        20, 0, 120
    ]  # fmt: skip
    assert billed_units(120, None, "overage") == 120


@pytest.mark.parametrize(
    ("price", "message"),
    [
        ("amount: 2, feature: calls", "only a price of `part: usage` has `feature`; remove it"),
        ("amount: 2, part: flat, per: 100", "only a price of `part: usage` has `per`; remove it"),
        ("part: usage, feature: calls", "`amount` is missing"),
        ("part: usage, amount: 2, feature: callz", "unknown metered feature `callz`; did you mean `calls`?"),
        ("part: usage, amount: 2, feature: seats", "unknown metered feature `seats`"),
        ("part: usage, amount: 2, tiers: [{ amount: 1 }]", "each of the `tiers` says its own; write `amount: 0`"),
        ("part: usage, amount: 0, per: 2, tiers: [{ amount: 1 }]", "says its own; remove `per`"),
        ("part: usage, amount: 0, tiers: []", "write at least one tier"),
        ("part: usage, amount: 0, tiers: [{ up_to: 5 }]", "the last tier is for all that is more"),
        ("part: usage, amount: 0, tiers: [{ amount: 5 }, {}]", "only the last tier has no `up_to`"),
        ("part: usage, amount: 0, tiers: [{ up_to: 5 }, { up_to: 5 }, {}]", "tiers ascend: write more than 5"),
        ("part: usage, amount: 1, tiers_mode: volume", "there are no `tiers`; remove `tiers_mode`"),
        ("part: usage, amount: 0, tiers_mode: package, tiers: [{}]", "unknown word `package`"),
        ("part: usage, amount: 1, per: 0", "at least 1, not `0`"),
    ],
)
def test_a_wrong_usage_price_is_told_what_to_write(price: str, message: str) -> None:
    assert message in mistakes(with_price(price))[0]
