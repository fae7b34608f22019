"""Usage events on real PostgreSQL: counted once, in the window of their time, and never lost."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from paygrade.billing.facts import Item, Subscription
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_subscription
from paygrade.server.operations.accounts.top_ups import list_top_ups
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.events.batch import BEHIND
from paygrade.server.operations.events.ingest import EVENTS_MAX, Ingested, ingest
from paygrade.server.operations.usage.alerts import list_alerts
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import give
from paygrade.server.operations.usage.history import read_usage
from paygrade.server.operations.usage.requests import Reserve
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import Grant
from paygrade.usage.entries import Posting
from paygrade.usage.events import Refusal, UsageEvent
from paygrade.usage.history import Drawn, fold
from paygrade.values.errors import Refused
from paygrade.values.text import QUANTITY_MAX

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 3, 20, 12, tzinfo=UTC)
MONTH = "2026-03-10T12:00:00Z"
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "seats": {"kind": "level"},
        "api_calls": {"kind": "metered", "event": "api_call"},
        "tokens": {"kind": "metered", "event": "completion", "aggregate": "sum", "value": "tokens"},
        "completions": {"kind": "metered", "event": "completion"},
        "peak": {"kind": "metered", "event": "storage", "aggregate": "max", "value": "bytes"},
        "stored": {"kind": "metered", "event": "storage", "aggregate": "last", "value": "bytes"},
        "users": {"kind": "metered", "event": "login", "aggregate": "unique", "value": "user"},
        "minutes": {"kind": "metered", "event": "call", "aggregate": "sum", "value": "minutes"},
        "chat": {
            "kind": "metered",
            "event": "chat",
            "aggregate": "sum",
            "value": "tokens",
            "burns": {
                "ai_credits": {
                    "rate": 1,
                    "per": 1000,
                    "by": {"property": "model", "rates": {"large": {"rate": 3, "per": 1000}}},
                }
            },
        },
        "images": {
            "kind": "metered",
            "event": "chat",
            "aggregate": "sum",
            "value": "images",
            "burns": {"ai_credits": {"rate": 2, "per": 3}},
        },
        "chats": {"kind": "metered", "event": "chat"},
        "requests": {"kind": "metered", "event": "request"},
        "disk": {"kind": "level", "event": "disk_measured", "aggregate": "last", "value": "gb"},
        "devices": {"kind": "level", "event": "fleet", "aggregate": "max"},
    },
    "credits": {"ai_credits": {}},
    "plans": {
        "free": {"default": True, "entitlements": {"seats": 1, "api_calls": {"limit": 10, "every": "month"}}},
        "pro": {
            "prices": {"monthly": {"amount": 9900, "currency": "usd", "interval": "month", "stripe": "pro_monthly"}},
            "entitlements": {
                "seats": 5,
                "disk": 1000,
                "devices": 10,
                "api_calls": {"limit": 1000, "every": "month"},
                "tokens": {"limit": 1000, "every": "day"},
                "ai_credits": {"grant": 20, "every": "month", "rollover": 5},
                "requests": {
                    "limit": 100,
                    "every": "month",
                    "per_member": 50,
                    "caps": [{"limit": 10, "every": "hour"}, {"limit": 5, "rolling": "1m"}],
                },
            },
        },
    },
}


async def world(store: Store) -> None:
    at = datetime(2026, 1, 10, 12, tzinfo=UTC)
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=at, by="ann")
    for account in ("acme", "bolt"):
        await put_account(store, account=account, name="", links={}, traits={}, at=at)
    pro = Subscription("sub_1", "active", (Item("main", plan="pro"),), at)
    await put_subscription(store, account="acme", subscription=pro, version=1, at=at)


def event(id: str, what: str = "api_call", account: str = "acme", **more: Any) -> UsageEvent:
    return UsageEvent(id=id, account=account, event=what, **more)


def used(id: str, feature: str, quantity: int | None = None, account: str = "acme", **more: Any) -> UsageEvent:
    return UsageEvent(id=id, account=account, feature=feature, quantity=quantity, **more)


async def send(store: Store, *events: UsageEvent | Refusal, at: datetime = T0, **more: Any) -> Ingested:
    return await ingest(store, Snapshots(), events, at, **more)


async def taken(store: Store, *events: UsageEvent, **more: Any) -> None:
    outcome = await send(store, *events, **more)
    assert (outcome.accepted, outcome.rejected) == (len(events), ())


def codes(outcome: Ingested) -> list[tuple[int, str]]:
    return [(rejected.index, rejected.code) for rejected in outcome.rejected]


def balances(url: str) -> dict[tuple[str, str, str], int]:
    """Every balance and grant that is not zero; they have to be what the entries add up to."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("select account, pool, slot, used, detail from balances").fetchall()
        grants = connection.execute("select account, pool, 'grant:' || id, used, null from grants").fetchall()
        entries = connection.execute("select account, time, draws::text from ledger").fetchall()
    stored = {
        (account, pool, slot): (used, _comparable(detail)) for account, pool, slot, used, detail in (*rows, *grants)
    }
    folded: dict[tuple[str, str, str], tuple[int, Any]] = {}
    for account in {account for account, *_ in entries}:
        drawn = [
            Drawn(time.astimezone(UTC), msgspec.json.decode(draws, type=tuple[Posting, ...]))
            for whose, time, draws in entries
            if whose == account
        ]
        for (pool, slot), row in fold(drawn).items():
            folded[(account, pool, slot)] = (row.used, _comparable(msgspec.to_builtins(row.detail)))
    nothing = (0, _comparable(None))
    assert {key: kept for key, kept in folded.items() if kept != nothing} == {
        key: kept for key, kept in stored.items() if kept != nothing
    }
    return {key: used for key, (used, _) in stored.items() if used}


def _comparable(detail: dict[str, Any] | None) -> tuple[Any, int]:
    """What of a detail the entries tell: what is paid ahead, and what counted in the last minute before the latest."""
    detail = detail or {}
    buckets = dict(detail.get("buckets", ()))
    latest = max((second for second, units in buckets.items() if units), default=0)
    return tuple(detail.get("ahead") or ()), sum(units for second, units in buckets.items() if second > latest - 60)


def of(url: str, pool: str, account: str = "acme") -> dict[str, int]:
    return {slot: units for (whose, what, slot), units in balances(url).items() if (whose, what) == (account, pool)}


@pytest.fixture
async def sold(store: Store) -> Store:
    await world(store)
    return store


async def test_events_add_up_in_the_window_of_the_subscription(sold: Store, database_url: str) -> None:
    outcome = await send(sold, event("1"), event("2", quantity=4), event("1", account="bolt"))
    assert outcome == Ingested(3, 0, ())
    assert balances(database_url) == {
        ("acme", "api_calls", MONTH): 5,
        ("bolt", "api_calls", MONTH): 1,
    }


async def test_an_id_counts_once_however_often_it_is_sent(sold: Store, database_url: str) -> None:
    batch = [event(str(n)) for n in range(10)]
    await taken(sold, *batch[:6])
    assert await send(sold, *batch) == Ingested(4, 6, ())
    assert await send(sold, *batch) == Ingested(0, 10, ())
    assert await send(sold, event("x"), event("x"), event("x")) == Ingested(1, 2, ())
    assert of(database_url, "api_calls") == {MONTH: 11}


async def test_an_id_with_another_body_is_a_conflict(sold: Store, database_url: str) -> None:
    await taken(sold, event("1"))
    again = await send(sold, event("1", quantity=2), event("1"), event("1", quantity=2), event("2"))
    assert (again.accepted, again.duplicates, codes(again)) == (1, 1, [(0, "id_conflict"), (2, "id_conflict")])
    within = await send(sold, event("3"), event("3", member="ann"))
    assert (within.accepted, codes(within)) == (1, [(1, "id_conflict")])
    assert of(database_url, "api_calls") == {MONTH: 3}


async def test_one_id_of_two_accounts_is_two_events(sold: Store, database_url: str) -> None:
    await taken(sold, event("1"), event("1", account="bolt", quantity=3))
    assert len(balances(database_url)) == 2


async def test_a_retry_is_a_duplicate_though_it_says_no_time(sold: Store) -> None:
    await taken(sold, event("1"))
    assert await send(sold, event("1"), at=T0 + timedelta(hours=1)) == Ingested(0, 1, ())


async def test_a_late_event_counts_in_its_own_window(sold: Store, database_url: str) -> None:
    before = datetime(2026, 3, 1, tzinfo=UTC)
    await taken(sold, event("1"), event("2", time=before), event("3", time=before - timedelta(days=7)))
    assert of(database_url, "api_calls") == {MONTH: 1, "2026-02-10T12:00:00Z": 2}
    days = [used(f"d{n}", "tokens", 5, time=T0 - timedelta(days=n)) for n in range(3)]
    await taken(sold, *days)
    assert of(database_url, "tokens") == {f"2026-03-{day}T12:00:00Z": 5 for day in (18, 19, 20)}


async def test_the_edges_of_a_window_belong_to_one_window_each(sold: Store, database_url: str) -> None:
    edge = datetime(2026, 3, 10, 12, tzinfo=UTC)
    await taken(sold, event("1", time=edge - timedelta(microseconds=1)), event("2", time=edge))
    assert of(database_url, "api_calls") == {"2026-02-10T12:00:00Z": 1, MONTH: 1}


async def test_what_clocks_date_a_little_before_the_account_began_counts_as_it_begins(
    sold: Store, database_url: str
) -> None:
    began, instant = datetime(2026, 1, 10, 12, tzinfo=UTC), timedelta(microseconds=1)
    behind = [event(str(n), time=began - before) for n, before in enumerate((instant, BEHIND))]
    assert await send(sold, *behind, event("earlier", time=began - BEHIND - instant), at=began) == Ingested(3, 0, ())
    assert of(database_url, "api_calls") == {"2026-01-10T12:00:00Z": 2, "2025-12-10T12:00:00Z": 1}
    assert await send(sold, *behind, at=began) == Ingested(0, 2, ())


async def test_what_is_too_old_or_in_the_future_is_refused(sold: Store, database_url: str) -> None:
    outcome = await send(
        sold,
        event("old", time=T0 - timedelta(days=34, seconds=1)),
        event("oldest taken", time=T0 - timedelta(days=34)),
        event("next", time=T0 + timedelta(minutes=5)),
        event("future", time=T0 + timedelta(minutes=5, seconds=1)),
    )
    assert codes(outcome) == [(0, "too_old"), (3, "in_the_future")]
    assert "--backfill" in outcome.rejected[0].detail
    assert sum(balances(database_url).values()) == 2


async def test_a_backfill_takes_usage_of_any_age_in_its_own_window(sold: Store, database_url: str) -> None:
    old = [event("a", time=datetime(2024, 2, 29, tzinfo=UTC)), event("b", time=datetime(1999, 1, 1, tzinfo=UTC))]
    outcome = await send(sold, *old, backfill=True)
    assert codes(outcome) == [(1, "too_old")]
    assert of(database_url, "api_calls") == {"2024-02-10T12:00:00Z": 1}


async def test_usage_of_what_is_not_sold_to_the_account_counts_all_the_same(sold: Store, database_url: str) -> None:
    await taken(
        sold,
        used("1", "tokens", 7, account="bolt"),
        used("2", "minutes", 3),
        used("3", "minutes", 4, time=datetime(2026, 2, 28, 23, 59, tzinfo=UTC)),
    )
    assert of(database_url, "tokens", "bolt") == {MONTH.replace("-10", "-20"): 7}
    assert of(database_url, "minutes") == {"2026-03-01T00:00:00Z": 3, "2026-02-01T00:00:00Z": 4}


async def test_usage_over_the_limit_counts(sold: Store, database_url: str) -> None:
    await taken(sold, event("1", account="bolt", quantity=10_000))
    assert of(database_url, "api_calls", "bolt") == {MONTH: 10_000}


async def test_a_bad_event_never_keeps_the_others_out(sold: Store, database_url: str) -> None:
    outcome = await send(
        sold,
        event("1"),
        event("2", account="nobody"),
        event("3", "api_cal"),
        Refusal("invalid_event", "the id is missing"),
        used("4", "exports"),
        event("5", "completion", properties={"tokens": 1.5}),
        event("6"),
    )
    assert outcome.accepted == 2
    assert codes(outcome) == [
        (1, "unknown_account"),
        (2, "unknown_event"),
        (3, "invalid_event"),
        (4, "unknown_feature"),
        (5, "invalid_value"),
    ]
    assert "did you mean `api_call`?" in outcome.rejected[1].detail
    assert of(database_url, "api_calls") == {MONTH: 2}


async def test_a_refused_event_may_come_again_in_order(sold: Store) -> None:
    assert codes(await send(sold, event("1", "completion"))) == [(0, "invalid_value")]
    await taken(sold, event("1", "completion", properties={"tokens": 3}))


async def test_more_than_5000_events_are_told_to_be_split(sold: Store, database_url: str) -> None:
    with pytest.raises(Refused) as refusal:
        await send(sold, *(event(str(n)) for n in range(EVENTS_MAX + 1)))
    assert refusal.value.code == "too_many_events"
    assert balances(database_url) == {}


async def test_an_event_feeds_all_its_features(sold: Store, database_url: str) -> None:
    await taken(sold, *(event(str(n), "completion", properties={"tokens": n}) for n in range(5)))
    assert (sum(of(database_url, "tokens").values()), sum(of(database_url, "completions").values())) == (10, 5)


async def test_the_greatest_the_latest_and_the_different_are_kept(sold: Store, database_url: str) -> None:
    def storage(id: str, size: int, minutes: int) -> UsageEvent:
        return event(id, "storage", properties={"bytes": size}, time=T0 + timedelta(minutes=minutes))

    def login(id: str, user: object) -> UsageEvent:
        return event(id, "login", properties={"user": user})

    await taken(sold, storage("1", 50, -3), storage("2", 20, -1), storage("3", 30, -2))
    await taken(sold, login("a", "ann"), login("b", "bo"), login("c", "ann"))
    await taken(sold, storage("4", 40, -4), login("d", "bo"), login("e", 7), login("f", "7"))
    calendar = "2026-03-01T00:00:00Z"
    assert of(database_url, "peak") == {calendar: 50}
    assert of(database_url, "stored") == {calendar: 20}
    assert of(database_url, "users") == {calendar: 3}


async def test_a_level_is_given_back_and_never_below_zero(sold: Store, database_url: str) -> None:
    await taken(sold, used("1", "seats", 3), used("2", "seats", -1))
    outcome = await send(sold, used("3", "seats", -3), used("4", "seats", -2), used("4", "seats", -2), event("5"))
    assert (outcome.accepted, outcome.duplicates, codes(outcome)) == (2, 1, [(0, "below_zero")])
    assert of(database_url, "seats") == {}
    outcome = await send(sold, used("6", "seats", -1), used("6", "seats", -1), used("3", "seats", 3))
    assert codes(outcome) == [(0, "below_zero"), (1, "below_zero")]
    assert of(database_url, "seats") == {"lifetime": 3}


async def test_a_correction_takes_back_what_was_counted(sold: Store, database_url: str) -> None:
    await taken(sold, event("1", quantity=10), event("fix", quantity=-4))
    assert of(database_url, "api_calls") == {MONTH: 6}
    assert codes(await send(sold, event("too much", quantity=-7))) == [(0, "below_zero")]
    assert of(database_url, "api_calls") == {MONTH: 6}


async def test_an_amendment_takes_the_place_of_what_was_said(sold: Store, database_url: str) -> None:
    await taken(sold, event("1", quantity=10), event("2", quantity=1))
    await taken(sold, event("1a", quantity=3, amends="1"))
    assert of(database_url, "api_calls") == {MONTH: 4}
    late = datetime(2026, 3, 1, tzinfo=UTC)
    await taken(sold, event("1b", quantity=5, time=late, amends="1"), event("1c", quantity=6, time=late, amends="1a"))
    assert of(database_url, "api_calls") == {MONTH: 1, "2026-02-10T12:00:00Z": 6}
    await taken(sold, used("1d", "tokens", 9, amends="1b"))
    assert of(database_url, "api_calls") == {MONTH: 1}
    assert sum(of(database_url, "tokens").values()) == 9
    assert await send(sold, event("1a", quantity=3, amends="1")) == Ingested(0, 1, ())


async def test_an_amendment_of_nothing_is_refused(sold: Store, database_url: str) -> None:
    outcome = await send(sold, event("1", amends="0"), event("2", account="bolt"), event("3", amends="2"))
    assert codes(outcome) == [(0, "unknown_id"), (2, "unknown_id")]
    assert len(balances(database_url)) == 1


async def test_an_event_is_amended_in_the_batch_that_brought_it(sold: Store, database_url: str) -> None:
    outcome = await send(
        sold, event("x", quantity=2, amends="1"), event("1"), event("y", quantity=3, amends="1"), event("z", amends="y")
    )
    assert (outcome.accepted, codes(outcome)) == (3, [(0, "unknown_id")])
    assert of(database_url, "api_calls") == {MONTH: 1}


async def test_an_amendment_recounts_what_does_not_add_up(sold: Store, database_url: str) -> None:
    def storage(id: str, size: int, minutes: int, **more: Any) -> UsageEvent:
        return event(id, "storage", properties={"bytes": size}, time=T0 - timedelta(minutes=minutes), **more)

    def login(id: str, user: str, **more: Any) -> UsageEvent:
        return event(id, "login", properties={"user": user}, **more)

    def now() -> tuple[dict[str, int], ...]:
        return of(database_url, "peak"), of(database_url, "stored"), of(database_url, "users")

    window = "2026-03-01T00:00:00Z"
    await taken(sold, storage("1", 50, 3), storage("2", 20, 1), login("a", "ann"), login("b", "bo"), login("c", "bo"))
    assert now() == ({window: 50}, {window: 20}, {window: 2})
    await taken(sold, storage("1a", 10, 3, amends="1"), login("b2", "ann", amends="b"))
    assert now() == ({window: 20}, {window: 20}, {window: 2})
    await taken(sold, storage("2a", 5, 9, amends="2"), login("c2", "ann", amends="c"))
    assert now() == ({window: 10}, {window: 10}, {window: 1})
    await taken(sold, storage("3", 7, 4), login("d", "bo"))
    assert now() == ({window: 10}, {window: 10}, {window: 2})
    await taken(sold, event("1b", amends="1"), event("2b", amends="2a"), event("3b", amends="3"))
    assert now() == ({}, {}, {window: 2})
    await taken(sold, storage("4", 8, 99))
    assert now() == ({window: 8}, {window: 8}, {window: 2})


@pytest.mark.parametrize("other", [event("other", quantity=2), event("other", quantity=2, amends="0")])
async def test_an_overflow_refuses_the_one_event_that_would_be_too_much(
    sold: Store, database_url: str, other: UsageEvent
) -> None:
    most = [event(str(n), quantity=QUANTITY_MAX) for n in range(1024)]
    await taken(sold, *most)
    bolt = [event(id, quantity=3, account="bolt") for id in ("b1", "b2")]
    sent = [bolt[0], event("too much", quantity=QUANTITY_MAX), other, bolt[1], event("more", quantity=5)]
    told = await send(sold, *sent)
    assert (told.accepted, codes(told)) == (4, [(1, "too_much_usage")])
    kept = balances(database_url)
    # Counted exactly, beyond what JSON readers can hold; shown as far as they can.
    amended = QUANTITY_MAX if other.amends else 0
    assert kept.pop(("acme", "api_calls", MONTH)) == 1024 * QUANTITY_MAX + 7 - amended
    assert list(kept.values()) == [6]
    (window,) = (await read_usage(sold, account="acme", feature="api_calls", at=T0)).windows
    assert window.used == QUANTITY_MAX
    decision = await check(sold, Snapshots(), account="acme", feature="api_calls", at=T0)
    assert (decision.used, decision.remaining) == (QUANTITY_MAX, 0)


def minutes(id: str, units: int, minute: int, **more: Any) -> UsageEvent:
    return used(id, "minutes", units, time=T0 - timedelta(minutes=60 - minute), **more)


async def test_events_of_one_batch_take_effect_in_the_order_of_their_times(sold: Store) -> None:
    assert codes(await send(sold, minutes("back", -5, 2), minutes("used", 5, 1))) == []
    assert codes(await send(sold, minutes("more", 5, 4), minutes("too early", -5, 3))) == [(1, "below_zero")]
    assert codes(await send(sold, minutes("a", -5, 9), minutes("b", -1, 9))) == [(1, "below_zero")], "as they were sent"


async def test_what_an_amendment_says_last_counts_whatever_its_time(sold: Store, database_url: str) -> None:
    first, later = minutes("first", 3, 30), minutes("later", 7, 20, amends="first")
    last = minutes("last", 4, 10, amends="first")
    assert codes(await send(sold, minutes("ahead", 1, 40, amends="first"), first, later, last)) == [(0, "unknown_id")]
    assert of(database_url, "minutes") == {"2026-03-01T00:00:00Z": 4}


async def test_what_a_gauge_was_told_last_stands_over_every_window(sold: Store, database_url: str) -> None:
    def measured(id: str, gb: int, day: int = 0, **more: Any) -> UsageEvent:
        return event(id, "disk_measured", properties={"gb": gb}, time=T0 + timedelta(days=day), **more)

    await taken(sold, measured("a", 900), measured("older", 100, -3), event("f1", "fleet", quantity=7))
    later = T0 + timedelta(days=70)
    for feature, left in (("disk", 100), ("devices", 3)):
        for quantity, allowed in ((left, True), (left + 1, False)):
            told = await check(sold, Snapshots(), account="acme", feature=feature, quantity=quantity, at=later)
            assert (told.allowed, told.used, told.resets_at) == (allowed, 900 if feature == "disk" else 7, None)
    now = [measured("b", 40, 70), event("f2", "fleet", quantity=4, time=later), used("c", "devices", 9, time=later)]
    await taken(sold, *now, at=later)
    found = balances(database_url)
    assert {key[1:]: count for key, count in found.items()} == {("disk", "lifetime"): 40, ("devices", "lifetime"): 9}
    await taken(sold, measured("d", 300, 70, amends="b"), at=later)
    assert balances(database_url)["acme", "disk", "lifetime"] == 300
    missing = [event("e", "disk_measured", time=later), used("f", "devices", time=later)]
    refused = await send(sold, *missing, at=later)
    assert [(one.code, "which is missing" in one.detail) for one in refused.rejected] == [("invalid_value", True)] * 2


async def test_hostile_texts_come_back_as_they_were(sold: Store, database_url: str) -> None:
    ids = ["a\\tb", "\\N", "\\.", "ünï", "💥" * 100, "'; drop table ledger; --", "a\\", "%s", "{}", '"', "x" * 400]
    properties = {"\t\n\r\\": ["\\N", {"deep": "\\t"}], "tokens": 1, "🙂": "\u2028", "n": 2**80, "q": "'\""}
    await taken(sold, *(event(id, "completion", properties=properties, member="\\N") for id in ids))
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select id, member, properties from ledger").fetchall()
    assert {id for id, *_ in rows} == set(ids)
    assert all((member, kept) == ("\\N", properties) for _, member, kept in rows)
    assert await send(sold, *(event(id, "completion", properties=properties, member="\\N") for id in ids)) == Ingested(
        0, len(ids), ()
    )


async def test_batches_sent_at_once_and_again_count_each_id_once(sold: Store, database_url: str) -> None:
    events = [event(str(n), account=("acme", "bolt")[n % 2], quantity=n) for n in range(300)]
    events += [used(f"s{n}", "seats", 1) for n in range(20)]
    batches = [events[start : start + 200] for start in (0, 60, 120)] * 3
    outcomes = await asyncio.gather(*(send(sold, *batch) for batch in batches))
    assert sum(outcome.accepted for outcome in outcomes) == len(events)
    assert all(outcome.rejected == () for outcome in outcomes)
    assert sum(of(database_url, "api_calls").values()) == sum(range(0, 300, 2))
    assert of(database_url, "seats") == {"lifetime": 20}


async def test_changes_of_the_account_are_heard_before_the_next_event(sold: Store, database_url: str) -> None:
    snapshots = Snapshots()
    following = asyncio.create_task(snapshots.follow(sold))
    while not snapshots.remembers(await snapshots.catalog(sold)):
        await asyncio.sleep(0.01)
    await ingest(sold, snapshots, [event("1", account="bolt")], T0)
    anchor = datetime(2026, 3, 15, tzinfo=UTC)
    pro = Subscription("sub_2", "active", (Item("main", plan="pro"),), anchor)
    await put_subscription(sold, account="bolt", subscription=pro, version=1, at=T0)
    await ingest(sold, snapshots, [event("2", account="bolt"), event("3", account="bolt")], T0)
    assert of(database_url, "api_calls", "bolt") == {MONTH: 1, "2026-03-15T00:00:00Z": 2}
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def chat(id: str, tokens: int, images: int = 0, **more: Any) -> UsageEvent:
    properties = {"tokens": tokens, "images": images, **more.pop("properties", {})}
    return event(id, "chat", properties=properties, **more)


async def give_credits(
    store: Store, id: str, units: int, *, until: datetime | None = None, pool: str = "ai_credits"
) -> None:
    grant = Grant(id, "purchase", units, T0 - timedelta(days=9), until, priority=10)
    await give(store, Snapshots(), account="acme", pool=pool, grant=grant, reason="", at=T0 - timedelta(days=9))


async def test_credits_are_paid_to_the_fraction_however_usage_is_split(sold: Store, database_url: str) -> None:
    await taken(sold, *(chat(str(n), 100) for n in range(25)))
    assert of(database_url, "chat") == {MONTH: 2500}
    assert of(database_url, "ai_credits") == {MONTH: 3}
    await taken(sold, chat("large", 1000, properties={"model": "large"}), chat("i1", 0, 1), chat("i2", 0, 2))
    assert of(database_url, "ai_credits") == {MONTH: 3 + 3 + 2}
    assert of(database_url, "chats") == {"2026-03-01T00:00:00Z": 28}


async def test_credits_are_spent_in_burn_order_and_over_them_too(sold: Store, database_url: str) -> None:
    await give_credits(sold, "bought", 10)
    await taken(sold, chat("1", 4000), chat("2", 8000))
    assert of(database_url, "ai_credits") == {"grant:bought": 10, MONTH: 2}
    await taken(sold, chat("3", 100_000))
    # What is carried into the window burns after the window's own, and what nothing covers goes to the window.
    assert of(database_url, "ai_credits") == {"grant:bought": 10, MONTH: 97, f"carried {MONTH}": 5}


async def test_a_late_event_spends_what_could_be_spent_then(sold: Store, database_url: str) -> None:
    await give_credits(sold, "ended", 10, until=T0 - timedelta(hours=2))
    await taken(sold, chat("1", 4000), chat("2", 3000, time=T0 - timedelta(hours=3)))
    assert of(database_url, "ai_credits") == {MONTH: 4, "grant:ended": 3}


async def test_credits_nobody_granted_are_counted_all_the_same(sold: Store, database_url: str) -> None:
    await taken(sold, chat("1", 4500, account="bolt"))
    assert of(database_url, "ai_credits", "bolt") == {MONTH: 5}
    assert of(database_url, "chat", "bolt") == {MONTH: 4500}


async def test_units_granted_by_themselves_are_used_by_events(sold: Store, database_url: str) -> None:
    await give_credits(sold, "more", 3, pool="api_calls")
    await taken(sold, event("1", quantity=2), event("2", quantity=2), event("3", account="bolt"))
    assert of(database_url, "api_calls") == {"grant:more": 3, MONTH: 1}


async def test_shorter_windows_and_members_are_counted_beside(sold: Store, database_url: str) -> None:
    await taken(
        sold,
        event("1", "request", member="ann", quantity=3),
        event("2", "request", member="bo"),
        event("3", "request", time=T0 - timedelta(hours=1)),
    )
    assert of(database_url, "requests") == {
        MONTH: 5,
        f"{MONTH} member:ann": 3,
        f"{MONTH} member:bo": 1,
        "hour 2026-03-20T11:00:00Z": 1,
        "hour 2026-03-20T12:00:00Z": 4,
        "rolling 60s": 5,
    }


async def test_amending_gives_credits_back_to_where_they_came_from(sold: Store, database_url: str) -> None:
    await give_credits(sold, "bought", 10)
    await taken(sold, chat("1", 12_500, 1), event("r", "request", member="ann", quantity=3))
    assert of(database_url, "ai_credits") == {"grant:bought": 10, MONTH: 4}
    await taken(sold, chat("1a", 1500, amends="1"), event("ra", "request", member="bo", amends="r"))
    assert of(database_url, "ai_credits") == {"grant:bought": 2}
    assert of(database_url, "requests")[f"{MONTH} member:bo"] == 1
    assert f"{MONTH} member:ann" not in of(database_url, "requests")
    await taken(sold, chat("1b", 0, amends="1a"))
    assert of(database_url, "ai_credits") == {}
    assert codes(await send(sold, chat("minus", -1))) == [(0, "below_zero")]


async def test_what_ran_out_is_given_back_before_events_are_drawn(sold: Store, database_url: str) -> None:
    await give_credits(sold, "bought", 10)
    snapshots, before = Snapshots(), T0 - timedelta(hours=1)
    (answer,) = await use_together(sold, snapshots, [Reserve("acme", "chat", "held", 9000, 60)], before)
    assert isinstance(answer, Answer)
    await taken(sold, chat("1", 5000))
    assert of(database_url, "ai_credits") == {"grant:bought": 5}


NO_CATALOG = "truncate ledger, balances, grants, seen_values, accounts, facts, catalogs"

sent = st.lists(
    st.one_of(
        st.builds(event, st.sampled_from("abcdef"), quantity=st.none() | st.integers(-5, 5)),
        st.builds(
            event,
            st.sampled_from("ghij"),
            st.just("storage"),
            properties=st.integers(0, 9).map(lambda n: {"bytes": n}),
            time=st.integers(0, 9).map(lambda n: T0 - timedelta(minutes=n)),
            amends=st.none() | st.sampled_from("ghij"),
        ),
        st.builds(
            event,
            st.sampled_from("klmn"),
            st.just("login"),
            properties=st.sampled_from(["ann", "bo", "cy"]).map(lambda user: {"user": user}),
            amends=st.none() | st.sampled_from("klmn"),
        ),
        st.builds(used, st.sampled_from("opq"), st.just("seats"), st.integers(-3, 3)),
        st.builds(
            chat,
            st.sampled_from("uvwx"),
            st.integers(-900, 9000),
            st.integers(0, 4),
            amends=st.none() | st.sampled_from("uvwx"),
        ),
        st.builds(
            event,
            st.sampled_from("yz"),
            st.just("request"),
            member=st.none() | st.sampled_from(["ann", "bo"]),
            time=st.integers(0, 90).map(lambda n: T0 - timedelta(minutes=n)),
        ),
        st.builds(event, st.sampled_from("rst"), amends=st.none() | st.sampled_from("abcdefrst")),
    ),
    max_size=14,
    unique_by=lambda event: event.id,
)


@given(events=sent, cut=st.integers(0, 14))
@settings(
    max_examples=20,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_splitting_a_batch_or_sending_it_again_changes_no_balance(
    events: list[UsageEvent], cut: int, database_url: str
) -> None:
    async def after(*batches: list[UsageEvent]) -> tuple[dict[tuple[str, str, str], int], int]:
        async with Store(database_url) as store:
            async with store.transaction() as tx:
                await tx._connection.execute(NO_CATALOG)
            await world(store)
            await give_credits(store, "bought", 7)
            accepted = 0
            refused: set[str] = set()
            for batch in batches:
                outcome = await send(store, *batch)
                accepted += outcome.accepted
                refused |= {batch[rejected.index].id for rejected in outcome.rejected}
            stored = balances(database_url)
            again = [event for batch in batches for event in batch if event.id not in refused]
            assert await send(store, *again) == Ingested(0, accepted, ())
            assert balances(database_url) == stored
        return stored, accepted

    async def both() -> None:
        assert await after(events[:cut], events[cut:]) == await after(events)

    asyncio.run(both())


async def test_events_pass_thresholds_as_other_usage_does(sold: Store) -> None:
    await taken(sold, event("1", quantity=999), event("b", account="bolt", quantity=9))
    await taken(sold, event("2"), used("seat", "seats", 5), used("seat back", "seats", -1))
    await give_credits(sold, "bought", 10)
    await taken(sold, chat("c", 29_000))
    await taken(sold, chat("d", 6_000))
    found = (await list_alerts(sold, account="acme")).alerts
    assert {(alert.pool, alert.percent, alert.used, alert.units) for alert in found} == {
        ("api_calls", 100, 1000, 1000),
        ("ai_credits", 80, 29, 35),
        ("ai_credits", 100, 35, 35),
    }
    assert (await list_alerts(sold, account="bolt")).alerts == ()
    await taken(sold, event("back", quantity=-1))
    resolved = [alert for alert in (await list_alerts(sold, account="acme")).alerts if alert.pool == "api_calls"]
    assert [alert.resolved_at for alert in resolved] == [T0]


async def test_credits_that_events_run_down_are_topped_up(sold: Store) -> None:
    top_up = {"below": 5, "add": 50, "at_most": 3, "every": "month", "price": {"amount": 2000, "currency": "usd"}}
    document = {**DOCUMENT, "policies": {"top_up": {"ai_credits": top_up}}}
    await publish_catalog(sold, document=document, lines={}, dry_run=False, at=T0, by="ann")
    await taken(sold, chat("1", 20_000))
    assert (await list_top_ups(sold, account="acme", limit=9)).top_ups == ()
    await taken(sold, chat("2", 1_000))
    (asked,) = (await list_top_ups(sold, account="acme", limit=9)).top_ups
    assert (asked.credit, asked.state, asked.balance) == ("ai_credits", "asked", 4)
    await taken(sold, used("3", "ai_credits", 1))
    assert len((await list_top_ups(sold, account="acme", limit=9)).top_ups) == 1
