"""Where units that nobody used will not be carried over, a quote says so."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paygrade.billing.accounts import replay
from paygrade.billing.facts import Customer, Fact, Item, Subscription
from paygrade.catalog.parse import parse
from paygrade.changes.quote import quote
from paygrade.changes.request import ChangeRequest
from paygrade.decisions.take import snapshot

AT = datetime(2026, 3, 10, tzinfo=UTC)


def held(id: str, price: str, *, since: datetime = AT) -> Subscription:
    item = Item(f"si_{id}", 1, f"price_{price}", price, period_from_at=since, period_until=since + timedelta(days=31))
    return Subscription(id, "active", (item,), since, billing_mode="flexible", started_at=since)


SAVING = held("sub_1", "saving_month")


def told(wanted: ChangeRequest, rule: dict[str, Any], *bought: Subscription) -> list[str]:
    def plan(key: str, calls: Any) -> dict[str, Any]:
        prices = {
            every: {"amount": 1000, "currency": "usd", "interval": every, "stripe": f"{key}_{every}"}
            for every in ("month", "year")
        }
        return {"prices": prices, "entitlements": {"calls": calls}}

    sold = parse(
        {
            "version": 1,
            "features": {"calls": {"kind": "metered"}},
            "plans": {
                "free": {"default": True},
                "saving": plan("saving", {"limit": 100, "every": "month", "rollover": 50}),
                "more": plan("more", {"limit": 500, "every": "month", "rollover": 80}),
                "less": plan("less", {"limit": 500, "every": "month", "rollover": 20}),
                "lapsing": plan("lapsing", {"limit": 500, "every": "month"}),
                "endless": plan("endless", "unlimited"),
            },
            "policies": {"plan_change": [rule]},
        }
    )
    account = replay("acme", [Fact(1, "stripe:cus_1", 1, AT, Customer("cus_1", AT, bought or (SAVING,)))])
    at = AT + timedelta(days=9)
    made = quote(account, sold, snapshot(account, sold, at), wanted, at)
    return [caveat.detail for caveat in made.warnings if caveat.code == "rollover_lost"]


NOW = {"when": "now", "proration": "charge_now"}


@pytest.mark.parametrize(
    ("wanted", "rule", "said"),
    [
        (ChangeRequest(plan="more"), NOW, []),
        (ChangeRequest(plan="endless"), NOW, []),
        (
            ChangeRequest(plan="less"),
            NOW,
            ["up to 50 unused units of `calls` are carried over now; up to 20"],
        ),
        (ChangeRequest(plan="lapsing"), NOW, ["carried over now; none will be"]),
        (ChangeRequest(plan="lapsing"), {"when": "period_end"}, ["carried over now; none will be"]),
        (ChangeRequest(plan="free"), NOW, ["carried over now; none will be"]),
    ],
)
def test_a_plan_that_carries_less_over_is_told(wanted: ChangeRequest, rule: dict[str, Any], said: list[str]) -> None:
    found = told(wanted, rule)
    assert len(found) == len(said)
    assert all(text in detail for text, detail in zip(said, found, strict=True))


def test_into_a_window_that_begins_with_the_change_and_is_paid_for_units_are_carried() -> None:
    assert told(ChangeRequest(plan="more"), {**NOW, "anchor": "reset"}) == []


@pytest.mark.parametrize("since", [AT - timedelta(days=40), AT + timedelta(days=5)])
def test_units_that_are_not_carried_into_the_window_of_another_subscription_are_told(since: datetime) -> None:
    leading, other = held("sub_1", "less_month"), held("sub_2", "saving_month", since=since)
    (detail,) = told(ChangeRequest(plan="free", subscription="sub_1"), NOW, leading, other)
    assert "not carried into the window that counts after the change" in detail
