"""What counts where: one feature, used in several ways, is one count."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import msgspec
import psycopg
import pytest

from paygrade.billing.facts import Override
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import check
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.accounts.statements import put_override
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.events.ingest import ingest
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import BalanceView, give, read_balance
from paygrade.server.operations.usage.history import read_usage
from paygrade.server.operations.usage.requests import Asked, Commit, Consume, Reserve
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import Grant
from paygrade.usage.entries import Posting
from paygrade.usage.events import UsageEvent
from paygrade.usage.history import Drawn, fold

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "calls": {"kind": "metered", "event": "call"},
        "reads": {"kind": "metered", "event": "read"},
        "tokens": {"kind": "metered", "event": "chat", "burns": {"coins": {"rate": 1, "per": 3}}},
        "words": {"kind": "metered", "event": "words", "burns": {"credits": {"rate": 1, "per": 2}}},
        "projects": {"kind": "level"},
    },
    "credits": {"coins": {}, "credits": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "calls": "unlimited",
                "projects": "unlimited",
                "credits": {"grant": 10, "every": "month"},
            },
        },
        "pro": {"entitlements": {"reads": {"limit": 100, "every": "month"}}},
    },
}


@pytest.fixture
async def acme(store: Store) -> Store:
    """A store with a catalog and one account that began at T0."""
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account="acme", name="Acme", links={}, traits={}, at=T0)
    return store


async def ask(store: Store, request: Asked, at: datetime) -> Answer:
    (answer,) = await use_together(store, Snapshots(), [request], at)
    assert isinstance(answer, Answer), answer
    assert answer.took_effect
    return answer


async def tell(store: Store, id: str, event: str, at: datetime, quantity: int = 1) -> None:
    told = UsageEvent(id=id, account="acme", event=event, quantity=quantity)
    assert (await ingest(store, Snapshots(), [told], at)).accepted == 1


async def balance(store: Store, pool: str, at: datetime) -> BalanceView:
    return await read_balance(store, Snapshots(), account="acme", pool=pool, at=at)


@pytest.mark.parametrize(
    ("feature", "event", "resets_at"),
    [
        ("calls", "call", datetime(2026, 4, 1, tzinfo=UTC)),  # sold for no window: the calendar's
        ("reads", "read", datetime(2026, 4, 10, 12, tzinfo=UTC)),  # unlimited by override: as it is sold
        ("tokens", "chat", datetime(2026, 4, 1, tzinfo=UTC)),  # paid in a credit that nobody sells
    ],
)
async def test_what_is_consumed_and_what_is_told_of_one_feature_count_in_one_window(
    acme: Store, feature: str, event: str, resets_at: datetime
) -> None:
    await put_override(acme, account="acme", override=Override("reads", unlimited=True), at=T0)
    grant = Grant("bought", "purchase", 100, T0)
    await give(acme, Snapshots(), account="acme", pool="coins", grant=grant, reason="", at=T0)
    at = T0 + DAY
    await ask(acme, Consume("acme", feature, "used", 3), at)
    await tell(acme, "told", event, at, 4)
    await ask(acme, Reserve("acme", feature, "held", 5), at)
    await ask(acme, Commit("acme", "held", 5), at)
    assert (await balance(acme, feature, at)).used == 12
    assert (await balance(acme, feature, at)).resets_at == resets_at
    (window,) = (await read_usage(acme, account="acme", feature=feature, at=at)).windows
    assert (window.used, window.until) == (12, resets_at)
    assert (await balance(acme, feature, resets_at)).used == 0
    await ask(acme, Consume("acme", feature, "next", 1), resets_at)
    windows = (await read_usage(acme, account="acme", feature=feature, at=resets_at)).windows
    assert [(window.from_at, window.used) for window in windows] == [(resets_at, 1), (window.from_at, 12)]


async def test_a_level_without_a_limit_is_held_for_good(acme: Store) -> None:
    await ask(acme, Consume("acme", "projects", "p1", 3), T0)
    told = UsageEvent(id="p2", account="acme", feature="projects", quantity=1)
    await ingest(acme, Snapshots(), [told], T0 + 30 * DAY)
    assert (await balance(acme, "projects", T0 + 60 * DAY)).used == 4


async def test_a_grant_that_is_spent_is_still_explained_by_the_balance(acme: Store) -> None:
    grant = Grant("bought", "purchase", 5, T0)
    await give(acme, Snapshots(), account="acme", pool="coins", grant=grant, reason="", at=T0)
    answer = await ask(acme, Consume("acme", "coins", "used", 5), T0)
    assert (answer.decision.limit, answer.decision.used, answer.decision.remaining) == (5, 5, 0)
    later = await check(acme, Snapshots(), account="acme", feature="coins", quantity=0, at=T0 + 90 * DAY)
    assert (later.limit, later.used, later.remaining) == (0, 0, 0)
    (view,) = (await balance(acme, "coins", T0 + 90 * DAY)).grants
    assert (view.share.granted, view.share.consumed, view.share.available) == (5, 5, 0)
    (denied,) = await use_together(acme, Snapshots(), [Consume("acme", "tokens", "more", 1)], T0)
    assert isinstance(denied, Answer)
    assert denied.decision.reason == "insufficient_credit"


async def test_a_fraction_paid_ahead_stays_with_the_window_it_was_held_in(acme: Store, database_url: str) -> None:
    ends_at = datetime(2026, 4, 10, 12, tzinfo=UTC)
    before, after = ends_at - timedelta(seconds=10), ends_at + timedelta(seconds=10)
    for id in ("one", "two", "three"):
        await ask(acme, Reserve("acme", "words", id, 3), before)
    together = [Commit("acme", "one", 1, keep=True, id="piece"), Commit("acme", "two"), Commit("acme", "one")]
    assert all(isinstance(a, Answer) for a in await use_together(acme, Snapshots(), together, after))
    await ask(acme, Commit("acme", "three", 4), after)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select pool, slot, used, reserved, detail from balances").fetchall()
        entries = connection.execute("select time, draws::text from ledger").fetchall()
    draws = [Drawn(at.astimezone(UTC), msgspec.json.decode(told, type=tuple[Posting, ...])) for at, told in entries]
    folded = fold(draws)
    assert {(pool, slot): (used, reserved) for pool, slot, used, reserved, _ in rows} == {
        key: (row.used, row.reserved) for key, row in folded.items()
    }
    kept = {(pool, slot): Fraction(*((detail or {}).get("ahead") or (0, 1))) for pool, slot, _, _, detail in rows}
    assert kept == {
        key: Fraction(*((row.detail.ahead if row.detail else None) or (0, 1))) for key, row in folded.items()
    }
    # 3 + 3 + 3 words at half a credit in the window before, and one more in this one.
    assert sorted(ahead for (pool, _), ahead in kept.items() if pool == "words") == [Fraction(1, 2), Fraction(1, 2)]
