"""Movements of recurring revenue: what was there and what moved comes to what is there, and each has its name."""

import random
from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.billing.facts import Customer, Fact, Subscription
from paygrade.catalog.model import Price
from paygrade.catalog.parse import parse
from paygrade.reports.movements import MonthOfMovements, movements
from support.samples import CATALOG, fact_lists, item

PRICED = parse(
    {
        "version": 1,
        "features": {"exports": {"kind": "boolean"}},
        "plans": {
            "pro": {
                "prices": {
                    "monthly": {"amount": 1000, "currency": "usd", "interval": "month", "stripe": "pro_monthly"},
                    "yearly": {"amount": 9999, "currency": "usd", "interval": "year", "stripe": "pro_yearly"},
                },
                "entitlements": {"exports": True},
            }
        },
        "policies": {"unpaid": [{"then": "none"}]},
    }
)
_STRIPE = {"pro": "pro_monthly", "scale": "price_y", "extra_calls": "price_calls", "archive": "archive_yearly"}


def _priced(sold: Any) -> Any:
    price = Price("only", 700 + 100 * len(sold.key), "usd", "month", stripe=_STRIPE.get(sold.key))
    return replace(sold, prices={"only": price})


SAMPLE = replace(
    CATALOG,
    plans={key: _priced(plan) for key, plan in CATALOG.plans.items()},
    add_ons={key: _priced(add_on) for key, add_on in CATALOG.add_ons.items()},
)
FIRST, LAST = date(2026, 1, 1), date(2026, 8, 1)


def read(month: int, *, quantity: int = 1, key: str = "pro_monthly", **known: Any) -> Fact:
    """What a reading in this month said of the subscription."""
    at = datetime(2026, month, 10, tzinfo=UTC)
    bought = replace(item("pro"), price="price_1", lookup_key=key, product=None, quantity=quantity)
    its = Subscription("sub_1", known.pop("status", "active"), (bought,), at, **known)
    return Fact(month, "stripe:cus_1", month, at, Customer("cus_1", at, (its,)))


def moved(*facts: Fact) -> dict[str, dict[str, int]]:
    """By month: whatever moved, and what there is after."""
    rows = movements("acme", facts, PRICED, from_at=FIRST, until=LAST)
    names = MonthOfMovements.__struct_fields__[3:]
    return {row.month[5:]: {name: getattr(row, name) for name in names if getattr(row, name)} for row in rows}


def test_each_movement_has_its_name() -> None:
    found = moved(
        read(1), read(2, quantity=5), read(3, quantity=2), read(4, status="paused"), read(5, quantity=2),
        read(6, key="pro_yearly"),
    )  # fmt: skip
    assert found == {
        "01": {"new": 1000, "after": 1000},
        "02": {"expansion": 4000, "after": 5000},
        "03": {"contraction": -3000, "after": 2000},
        "04": {"churn": -2000},
        "05": {"reactivation": 2000, "after": 2000},
        "06": {"contraction": -1167, "after": 833},
        "07": {"after": 833},
    }


def test_a_trial_is_nothing_until_it_is_paid_and_an_end_that_was_set_is_churn_by_itself() -> None:
    trial = read(1, status="trialing", trial_ends_at=datetime(2026, 2, 10, tzinfo=UTC),
                 ends_at=datetime(2026, 4, 10, tzinfo=UTC))  # fmt: skip
    assert moved(trial) == {"02": {"new": 1000, "after": 1000}, "03": {"after": 1000}, "04": {"churn": -1000}}


def test_who_was_taken_over_counts_from_when_their_subscription_began() -> None:
    late = read(4, started_at=datetime(2026, 2, 3, tzinfo=UTC))
    assert moved(late, read(5, quantity=2, started_at=datetime(2026, 2, 3, tzinfo=UTC))) == {
        "02": {"new": 1000, "after": 1000}, "03": {"after": 1000}, "04": {"after": 1000},
        "05": {"expansion": 1000, "after": 2000}, "06": {"after": 2000}, "07": {"after": 2000},
    }  # fmt: skip


@given(fact_lists(), st.randoms(use_true_random=False))
def test_what_was_there_and_what_moved_is_what_is_there_in_whatever_order_facts_come(
    facts: list[Fact], draw: random.Random
) -> None:
    span = {"from_at": date(2025, 12, 1), "until": date(2026, 9, 1)}
    rows = movements("acme", facts, SAMPLE, **span)
    again = facts + draw.sample(facts, len(facts))
    draw.shuffle(again)
    assert movements("acme", again, SAMPLE, **span) == rows
    after: dict[str, int] = {}
    for row in rows:
        assert row.before == after.get(row.currency, 0)
        assert row.after == row.before + row.new + row.expansion + row.contraction + row.churn + row.reactivation
        after[row.currency] = row.after
