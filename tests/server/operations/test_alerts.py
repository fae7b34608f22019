"""Alerts as they are told: both edges, each once, whoever changed what is used or how much there is."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paygrade.billing.facts import Item, Override, Subscription
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_override, put_subscription
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.events.ingest import ingest
from paygrade.server.operations.usage.alerts import look_again
from paygrade.server.operations.usage.grants import give, state_usage, void
from paygrade.server.operations.usage.requests import Commit, Consume, Reserve
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import Grant
from paygrade.usage.events import UsageEvent

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CALLS = {"limit": 100, "every": "month", "warn": [80]}
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "calls": {"kind": "metered"},
        "tokens": {"kind": "metered", "event": "chat", "burns": {"coins": {"rate": 1, "per": 100}}},
    },
    "credits": {"coins": {}},
    "plans": {
        "free": {"default": True, "entitlements": {"calls": CALLS}},
        "team": {"entitlements": {"calls": {**CALLS, "limit": 2000}}},
        "pro": {
            "entitlements": {
                "calls": {**CALLS, "limit": 1000},
                "coins": {"grant": 10, "every": "month"},
            }
        },
    },
    "policies": {"plan_change": [{"when": "now", "usage": "convert"}]},
}


class Listener:
    """An account, what is used of it, and the alerts that are told."""

    def __init__(self, store: Store) -> None:
        self.store, self.told = store, list[tuple[str, str, int]]()
        self.uses = 0
        store.hear_own(self._hear)

    def _hear(self, channel: str, payload: str) -> None:
        if channel == "paygrade_alert":
            told = json.loads(payload)
            self.told.append((told["what"], told["feature"], told["percent"]))

    def news(self) -> list[tuple[str, str, int]]:
        """What was told since this was last asked."""
        told, self.told[:] = list(self.told), []
        return told

    async def use(self, quantity: int, feature: str = "calls", at: datetime = T0) -> None:
        self.uses += 1
        asked = Consume("acme", feature, f"use {self.uses}", quantity)
        await use_together(self.store, Snapshots(), [asked], at)

    async def report(self, *quantities: int, feature: str = "calls", amends: str | None = None) -> None:
        self.uses += 1
        events = [
            UsageEvent(id=f"event {self.uses} {n}", account="acme", feature=feature, quantity=quantity, amends=amends)
            for n, quantity in enumerate(quantities)
        ]
        assert (await ingest(self.store, Snapshots(), events, T0)).rejected == ()

    async def subscribe(self, plan: str, version: int) -> None:
        one = Subscription("sub_1", status="active", anchor_at=T0, items=(Item("si_1", plan=plan),))
        await put_subscription(self.store, account="acme", subscription=one, version=version, at=T0)


@pytest.fixture
async def acme(store: Store) -> Listener:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account="acme", name="", links={}, traits={}, at=T0)
    return Listener(store)


async def test_an_alert_is_told_once_however_often_it_is_met(acme: Listener) -> None:
    await acme.use(79)
    assert acme.news() == []
    await acme.use(1)
    assert acme.news() == [("warning", "calls", 80)]
    await acme.use(1)
    await acme.report(1)
    await acme.report(1, -1)
    assert acme.news() == []
    await acme.report(30)
    assert acme.news() == [("reached", "calls", 100)]
    await acme.report(5)
    assert acme.news() == []


async def test_both_edges_are_told_each_time_they_are_passed(acme: Listener) -> None:
    await acme.use(90)
    await acme.report(-20)
    await acme.report(-1)
    assert acme.news() == [("warning", "calls", 80), ("resolved", "calls", 80)]
    await acme.report(20)
    await state_usage(acme.store, Snapshots(), account="acme", pool="calls", used=3, id="s", reason="", at=T0)
    assert acme.news() == [("warning", "calls", 80), ("resolved", "calls", 80)]


async def test_what_is_noticed_by_looking_again_is_told_once(acme: Listener) -> None:
    await acme.use(90)
    await put_override(acme.store, account="acme", override=Override("calls", limit=200), at=T0)
    acme.news()
    for look in range(1, 4):
        await look_again(acme.store, Snapshots(), T0 + look * timedelta(minutes=1))
    assert acme.news() == [("resolved", "calls", 80)]


async def test_a_commit_of_what_was_held_passes_a_threshold_and_holding_does_not(acme: Listener) -> None:
    await use_together(acme.store, Snapshots(), [Reserve("acme", "calls", "r", 90)], T0)
    assert acme.news() == []
    await use_together(acme.store, Snapshots(), [Commit("acme", "r")], T0 + SECOND)
    assert acme.news() == [("warning", "calls", 80)]


async def test_units_that_are_granted_lift_an_alert_and_voiding_them_raises_it_again(acme: Listener) -> None:
    await acme.use(90)
    acme.news()
    grant = Grant("g", "promotion", 100, T0, priority=1)
    await give(acme.store, Snapshots(), account="acme", pool="calls", grant=grant, reason="", at=T0)
    assert acme.news() == [("resolved", "calls", 80)]
    # 90 and 70 of the 200 there are: what comes from a grant counts as well.
    await acme.use(70)
    assert acme.news() == [("warning", "calls", 80)]
    await void(acme.store, account="acme", pool="calls", id="g", at=T0)
    assert acme.news() == []
    await acme.report(-90)
    assert acme.news() == [("resolved", "calls", 80)]


async def test_what_a_plan_change_carries_over_passes_thresholds(acme: Listener) -> None:
    await acme.subscribe("pro", 1)
    await acme.use(890)
    assert acme.news() == [("warning", "calls", 80)]
    # 890 of 1,000 become 1,780 of 2,000: 80 percent stand already.
    await acme.subscribe("team", 2)
    assert acme.news() == []
    await acme.use(220)
    assert acme.news() == [("reached", "calls", 100)]
    # 2,000 of 2,000 become 1,000 of 1,000.
    await acme.subscribe("pro", 3)
    await acme.report(-100)
    assert acme.news() == [("resolved", "calls", 100)]


async def test_the_alert_of_what_credits_pay_for_is_the_credit_s(acme: Listener) -> None:
    await acme.subscribe("pro", 1)
    await acme.use(100, feature="tokens")
    await acme.report(100, feature="tokens")
    assert acme.news() == [], "2 of 10 coins, whatever 200 tokens are"
    await acme.report(800, feature="tokens")
    # A fifth of them was left on the way.
    assert acme.news() == [("warning", "coins", 80), ("reached", "coins", 100)]
