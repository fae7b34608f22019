"""Balances over time on real PostgreSQL: expiry, resets, carried units, alerts, and the past asked again."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from paygrade.billing.facts import Override
from paygrade.decisions.decide import Decision
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check, explain
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_override
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.usage.alerts import list_alerts, look_again
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import give, read_ledger, state_usage, void
from paygrade.server.operations.usage.requests import Asked, Commit, Consume, Extend, Release, Reserve
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import Grant
from paygrade.usage.history import fold
from paygrade.values.errors import Refused, Unavailable

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 1, 31, 10, tzinfo=UTC)
"""Windows begin on the 31st, or the month's last day, at 10:00."""
MARCH = datetime(2026, 2, 28, 10, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "calls": {"kind": "metered"},
        "burst": {"kind": "metered", "event": "burst"},
        "tokens": {"kind": "metered", "event": "completion", "aggregate": "sum", "value": "tokens",
                   "burns": {"ai_credits": {"rate": 2, "per": 3}}},
        "seats": {"kind": "level"},
    },
    "credits": {"ai_credits": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "calls": {"limit": 10, "every": "month", "warn": [80]},
                "burst": {"limit": 1000, "every": "month", "caps": [{"limit": 5, "rolling": "1m"}]},
                "ai_credits": {"grant": 10, "every": "month", "rollover": 6},
                "seats": 3,
            },
        }
    },
}  # fmt: skip


@pytest.fixture
async def acme(store: Store) -> Store:
    """A store with a catalog and one account that began at T0."""
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account="acme", name="Acme", links={}, traits={}, at=T0)
    return store


async def asked(store: Store, *requests: Asked, at: datetime) -> list[Answer | Refused]:
    return await use_together(store, Snapshots(), requests, at)


async def answer(store: Store, request: Asked, at: datetime) -> Answer:
    (given,) = await asked(store, request, at=at)
    assert isinstance(given, Answer), given
    return given


async def consume(store: Store, feature: str, quantity: int, at: datetime, id: str | None = None) -> Answer:
    return await answer(store, Consume("acme", feature, id or f"{feature}{quantity}{at}", quantity), at)


async def may(store: Store, feature: str, at: datetime, quantity: int = 1) -> Decision:
    return await check(store, Snapshots(), account="acme", feature=feature, quantity=quantity, at=at)


async def test_a_month_s_usage_is_forgotten_on_the_instant_the_next_begins(acme: Store) -> None:
    assert (await consume(acme, "calls", 10, T0)).took_effect
    assert not (await may(acme, "calls", MARCH - SECOND)).allowed
    assert (await may(acme, "calls", MARCH)).remaining == 10
    assert not (await consume(acme, "calls", 1, MARCH - SECOND)).took_effect
    assert (await consume(acme, "calls", 10, MARCH)).took_effect


async def test_a_level_is_held_over_every_month(acme: Store) -> None:
    await consume(acme, "seats", 3, T0)
    assert not (await may(acme, "seats", T0 + 400 * DAY)).allowed
    await state_usage(
        acme, Snapshots(), account="acme", pool="seats", used=1, id="left", reason="two left", at=T0 + DAY
    )
    assert (await may(acme, "seats", T0 + 400 * DAY)).remaining == 2


async def test_a_reservation_ends_on_its_instant_without_being_told(acme: Store) -> None:
    await answer(acme, Reserve("acme", "calls", "r1", 8, ttl_s=60), T0)
    assert (await may(acme, "calls", T0 + 59 * SECOND)).reserved == 8
    assert (await may(acme, "calls", T0 + 60 * SECOND)).reserved == 0
    assert not (await consume(acme, "calls", 3, T0 + 59 * SECOND)).took_effect
    assert (await consume(acme, "calls", 9, T0 + 60 * SECOND)).took_effect
    (gone,) = await asked(acme, Commit("acme", "r1"), at=T0 + 61 * SECOND)
    assert isinstance(gone, Refused)
    assert gone.code == "reservation_expired"


async def test_an_extended_reservation_holds_until_its_new_end(acme: Store) -> None:
    await answer(acme, Reserve("acme", "calls", "r1", 8, ttl_s=60), T0)
    await answer(acme, Extend("acme", "r1", ttl_s=60), T0 + 30 * SECOND)
    assert not (await consume(acme, "calls", 3, T0 + 89 * SECOND)).took_effect
    assert (await answer(acme, Commit("acme", "r1", 8), T0 + 89 * SECOND)).took_effect
    page = await read_ledger(
        acme, Snapshots(), account="acme", pool="calls", before=None, limit=10, at=T0 + 89 * SECOND
    )
    assert [entry.kind for entry in page.entries if entry.denied is None] == ["commit", "extend", "reserve"]
    assert (await may(acme, "calls", T0 + HOUR)).remaining == 2


async def test_what_is_committed_counts_in_the_window_it_was_held_in(acme: Store) -> None:
    await answer(acme, Reserve("acme", "calls", "r1", 8, ttl_s=3600), MARCH - SECOND)
    await answer(acme, Commit("acme", "r1"), MARCH + SECOND)
    assert (await may(acme, "calls", MARCH + SECOND)).used == 0
    assert (await may(acme, "calls", MARCH - SECOND)).used == 8


async def test_requests_decided_together_each_see_the_ones_before(acme: Store) -> None:
    requests = [Consume("acme", "calls", f"c{n}", 3) for n in range(5)]
    given = await asked(acme, *requests, Consume("acme", "calls", "c0", 3), Consume("acme", "calls", "c1", 4), at=T0)
    took = [a.took_effect if isinstance(a, Answer) else a.code for a in given]
    assert took == [True, True, True, False, False, True, "id_conflict"]
    assert isinstance(given[5], Answer)
    assert given[5].replayed
    assert (await may(acme, "calls", T0)).used == 9


async def test_two_verbs_on_one_reservation_in_one_batch_resolve_it_once(acme: Store) -> None:
    await answer(acme, Reserve("acme", "calls", "r1", 8), T0)
    given = await asked(acme, Commit("acme", "r1", 5), Release("acme", "r1"), at=T0)
    assert [type(a).__name__ for a in given] == ["Answer", "Refused"]
    assert (await may(acme, "calls", T0)).used == 5


async def test_unused_units_are_carried_into_the_next_window_up_to_the_cap(acme: Store) -> None:
    await consume(acme, "ai_credits", 7, T0)
    assert (await may(acme, "ai_credits", MARCH)).remaining == 13
    assert (await consume(acme, "ai_credits", 12, MARCH)).took_effect
    april = datetime(2026, 3, 31, 10, tzinfo=UTC)
    assert (await may(acme, "ai_credits", april)).remaining == 11
    assert (await may(acme, "ai_credits", april + 60 * DAY)).remaining == 16


async def test_nothing_is_carried_from_before_the_account_began(acme: Store) -> None:
    assert (await may(acme, "ai_credits", T0)).remaining == 10


async def test_a_fraction_of_a_credit_is_not_charged_twice(acme: Store) -> None:
    for number in range(6):
        await consume(acme, "tokens", 1, T0, f"t{number}")
    assert (await may(acme, "ai_credits", T0)).used == 4
    assert (await may(acme, "tokens", T0)).remaining == 9


async def test_a_rolling_cap_frees_up_as_its_minute_passes(acme: Store) -> None:
    assert (await consume(acme, "burst", 5, T0)).took_effect
    denied = await consume(acme, "burst", 1, T0 + 30 * SECOND)
    assert (denied.took_effect, denied.decision.limited_by) == (False, "rolling 60s")
    assert denied.decision.resets_at == T0 + 61 * SECOND
    assert (await consume(acme, "burst", 5, T0 + 61 * SECOND)).took_effect


async def test_a_grant_expires_with_what_is_left_of_it(acme: Store) -> None:
    grant = Grant("g1", "promotion", 5, T0, T0 + DAY, priority=10)
    await give(acme, Snapshots(), account="acme", pool="calls", grant=grant, reason="hello", at=T0)
    await consume(acme, "calls", 3, T0)
    assert (await may(acme, "calls", T0 + HOUR)).remaining == 12
    assert (await may(acme, "calls", T0 + DAY)).remaining == 10
    with pytest.raises(Refused, match="no grant"):
        await void(acme, account="acme", pool="calls", id="g1", at=T0 + DAY)


async def test_a_threshold_is_raised_once_and_resolved_when_its_window_is_over(acme: Store) -> None:
    await consume(acme, "calls", 7, T0)
    await consume(acme, "calls", 1, T0)
    await consume(acme, "calls", 1, T0 + SECOND)
    listed = await list_alerts(acme, account="acme")
    assert [(a.pool, a.percent, a.used, a.resolved_at) for a in listed.alerts] == [("calls", 80, 8, None)]
    await look_again(acme, Snapshots(), T0 + HOUR)
    assert (await list_alerts(acme, account="acme")).alerts[0].resolved_at is None
    await look_again(acme, Snapshots(), MARCH)
    assert (await list_alerts(acme, account="acme")).alerts[0].resolved_at == MARCH


async def test_a_higher_limit_resolves_the_threshold_it_lifts(acme: Store) -> None:
    await consume(acme, "calls", 10, T0)
    assert {a.percent for a in (await list_alerts(acme, account="acme")).alerts} == {80, 100}
    await put_override(acme, account="acme", override=Override("calls", limit=11), at=T0)
    await look_again(acme, Snapshots(), T0 + HOUR)
    standing = [a.percent for a in (await list_alerts(acme, account="acme")).alerts if a.resolved_at is None]
    assert standing == [80]


async def test_the_past_is_explained_with_the_balances_of_the_past(acme: Store) -> None:
    await consume(acme, "calls", 4, T0 + HOUR)
    await answer(acme, Reserve("acme", "calls", "r1", 6, ttl_s=60), T0 + 2 * HOUR)
    await consume(acme, "calls", 5, T0 + 3 * HOUR)
    now = T0 + 4 * HOUR

    async def then(at: datetime) -> tuple[Any, ...]:
        told = await explain(acme, account="acme", feature="calls", at=at, now=now)
        return told.decision.allowed, told.decision.used, told.decision.reserved

    assert await then(T0 + SECOND) == (True, 0, 0)
    assert await then(T0 + HOUR) == (True, 4, 0)
    assert await then(T0 + 2 * HOUR + SECOND) == (False, 4, 6)
    assert await then(T0 + 2 * HOUR + 60 * SECOND) == (True, 4, 0)
    assert await then(now) == (True, 9, 0)


async def test_every_balance_is_the_sum_of_its_ledger_s_draws(acme: Store) -> None:
    await give(
        acme, Snapshots(), account="acme", pool="ai_credits", grant=Grant("g1", "purchase", 5, T0), reason="", at=T0
    )
    await consume(acme, "tokens", 17, T0)
    await answer(acme, Reserve("acme", "tokens", "r1", 4), T0)
    await answer(acme, Commit("acme", "r1", 2), T0 + SECOND)
    await consume(acme, "burst", 3, T0)
    async with acme.transaction() as tx:
        rows = fold(await tx.ledger.drawn("acme", T0 + DAY))
        kept = await tx.ledger.load([("acme", pool, slot) for pool, slot in rows if not slot.startswith("grant:")])
        granted = (await tx.ledger.grants([("acme", "ai_credits")], T0))["acme", "ai_credits"]
    assert {key[1:]: found.row.used for key, found in kept.items()} == {
        key: row.used for key, row in rows.items() if not key[1].startswith("grant:")
    }
    assert all(found.row.reserved == rows[key[1:]].reserved == 0 for key, found in kept.items())
    assert granted[0].used == rows["ai_credits", "grant:g1"].used == 3
    ahead = kept["acme", "tokens", "2026-01-31T10:00:00Z"].row.detail
    assert ahead == rows["tokens", "2026-01-31T10:00:00Z"].detail


async def test_with_the_database_away_booleans_answer_and_counted_features_do_as_they_say(database_url: str) -> None:
    features = {**DOCUMENT["features"], "exports": {"kind": "boolean"},
                "lenient": {"kind": "metered", "event": "lenient", "on_error": "allow"}}  # fmt: skip
    sold = {**DOCUMENT["plans"]["free"]["entitlements"], "exports": True, "lenient": {"limit": 1, "every": "month"}}
    plans = {"free": {"default": True, "entitlements": sold}}
    snapshots, store = Snapshots(), Store(database_url)
    async with store:
        await publish_catalog(
            store, document={**DOCUMENT, "features": features, "plans": plans}, lines={}, dry_run=False, at=T0, by="ann"
        )
        await put_account(store, account="acme", name="Acme", links={}, traits={}, at=T0)
        following = asyncio.create_task(snapshots.follow(store))
        while snapshots.peek("acme", T0) is None:
            await snapshots.load(store, "acme", T0)
            await asyncio.sleep(0.01)
        await use_together(store, snapshots, [Consume("acme", "lenient", "all of it", 1)], T0)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    async def answer(feature: str) -> tuple[bool, str, bool]:
        decision = await check(store, snapshots, account="acme", feature=feature, at=T0 + DAY)
        return decision.allowed, decision.reason, decision.stale

    assert await answer("exports") == (True, "plan", True)
    assert await answer("calls") == (False, "stale", True)
    assert await answer("lenient") == (True, "plan", True)
    with pytest.raises(Unavailable):
        await check(store, snapshots, account="nobody", feature="exports", at=T0)
