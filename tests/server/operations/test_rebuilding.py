"""Law 2: what is kept beside facts and ledger can be lost, broken or wrong, and comes back as it was."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paygrade.billing.facts import Override
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import get_account, put_account
from paygrade.server.operations.accounts.rebuild import Rebuilt, rebuild
from paygrade.server.operations.accounts.statements import put_override
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.usage.grants import BalanceView, give, read_balance, void
from paygrade.server.operations.usage.requests import Asked, Commit, Consume, Reserve
from paygrade.server.operations.usage.use import use_together
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import Grant
from support.server_process import Api

T0 = datetime(2026, 1, 31, 10, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "calls": {"kind": "metered"},
        "burst": {"kind": "metered", "event": "burst"},
        "tokens": {"kind": "metered", "event": "completion", "burns": {"ai_credits": {"rate": 2, "per": 3}}},
    },
    "credits": {"ai_credits": {}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "calls": {"limit": 100, "every": "month"},
                "burst": {"limit": 1000, "every": "month", "caps": [{"limit": 50, "rolling": "1m"}]},
                "ai_credits": {"grant": 10, "every": "month", "rollover": 6},
            },
        }
    },
}
POOLS = ("calls", "burst", "ai_credits")
NOW = T0 + 40 * DAY

USES = st.lists(
    st.tuples(
        st.sampled_from(["calls", "burst", "tokens"]),
        st.sampled_from(["consume", "reserve", "commit", "keep"]),
        st.integers(1, 9),
        st.integers(0, 34 * 86400),
    ),
    max_size=12,
)


async def opened(store: Store, account: str) -> None:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="ann")
    await put_account(store, account=account, name=account, links={}, traits={}, at=T0)
    await put_override(store, account=account, override=Override("calls", limit=200, reason="more"), at=T0)
    grant = Grant("g1", "purchase", 20, T0)
    await give(store, Snapshots(), account=account, pool="ai_credits", grant=grant, reason="", at=T0)


async def used(store: Store, account: str, uses: list[tuple[str, str, int, int]]) -> None:
    for number, (feature, how, quantity, after_s) in enumerate(sorted(uses, key=lambda use: use[3])):
        at, id = T0 + after_s * SECOND, str(number)
        asked: list[Asked] = [Reserve(account, feature, id, quantity, ttl_s=3600)]
        match how:
            case "consume":
                asked = [Consume(account, feature, id, quantity)]
            case "commit":
                asked.append(Commit(account, id, max(1, quantity - 1)))
            case "keep":
                asked.append(Commit(account, id, 1, keep=True, id=f"{id} part"))
        for one in asked:
            await use_together(store, Snapshots(), [one], at)


async def balances(store: Store, account: str) -> list[BalanceView]:
    return [await read_balance(store, Snapshots(), account=account, pool=pool, at=NOW) for pool in POOLS]


async def broken(store: Store, *statements: str, account: str) -> None:
    async with await psycopg.AsyncConnection.connect(store._database_url, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement, {"account": account})


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(uses=USES)
def test_law_2_where_all_is_well_nothing_differs_and_what_is_lost_comes_back(database_url: str, uses: Any) -> None:
    async def run() -> None:
        async with Store(database_url) as store:
            account = f"acme {datetime.now(UTC).timestamp()}"
            await opened(store, account)
            await used(store, account, uses)
            whole = await rebuild(store, account=account, at=NOW)
            assert whole.differences == ()
            view, counted = await get_account(store, account=account, at=NOW), await balances(store, account)
            await broken(
                store,
                "delete from balances where account = %(account)s and pool in ('calls', 'burst')",
                "update balances set used = used + 5, reserved = 3 where account = %(account)s",
                "update grants set used = used + 1, reserved = reserved + 2 where account = %(account)s",
                "update accounts set state = '{\"key\": 7}', name = '?' where account = %(account)s",
                "delete from subscriptions where account = %(account)s",
                account=account,
            )
            found = await rebuild(store, account=account, at=NOW)
            assert {"name", "key", "statements", "ai_credits grant:g1"} <= {d.name for d in found.differences}
            assert (await get_account(store, account=account, at=NOW), await balances(store, account)) == (
                view,
                counted,
            )
            assert (await rebuild(store, account=account, at=NOW)).differences == ()

    asyncio.run(run())


@pytest.mark.anyio
async def test_a_rebuild_says_what_was_kept_otherwise(store: Store) -> None:
    await opened(store, "acme")
    await used(store, "acme", [("calls", "consume", 4, 0), ("tokens", "reserve", 3, 1)])
    await broken(store, "update balances set used = 9 where account = %(account)s and pool = 'calls'", account="acme")
    found = await rebuild(store, account="acme", at=T0 + 2 * SECOND)
    (only,) = found.differences
    assert (only.what, only.before, only.after) == ("balance", "9 used, 0 held", "4 used, 0 held")
    assert only.name == "calls 2026-01-31T10:00:00Z"
    # The profile and the override; the use and the reservation: a grant draws nothing.
    assert (found.facts, found.entries) == (2, 2)


@pytest.mark.anyio
async def test_a_row_that_was_lost_knows_its_window_again(store: Store) -> None:
    await opened(store, "acme")
    await used(store, "acme", [("calls", "consume", 4, 0)])
    async with await psycopg.AsyncConnection.connect(store._database_url, autocommit=True) as connection:
        query = "select from_at, until, used from balances where pool = 'calls'"
        before = await (await connection.execute(query)).fetchall()
        await connection.execute("delete from balances")
        await rebuild(store, account="acme", at=NOW)
        assert await (await connection.execute(query)).fetchall() == before


@pytest.mark.anyio
async def test_whoever_uses_units_during_a_rebuild_is_counted(store: Store) -> None:
    await opened(store, "acme")

    async def use(number: int) -> None:
        await use_together(store, Snapshots(), [Consume("acme", "calls", f"use {number}", 1)], T0)

    async def over_and_over() -> list[Rebuilt]:
        return [await rebuild(store, account="acme", at=T0) for _ in range(5)]

    *_, rebuilt = await asyncio.gather(*map(use, range(30)), over_and_over())
    assert rebuilt is not None
    assert {one.differences for one in rebuilt} == {()}
    balance = await read_balance(store, Snapshots(), account="acme", pool="calls", at=T0)
    assert balance.used == 30


@pytest.mark.anyio
async def test_what_was_voided_stays_so(store: Store) -> None:
    await opened(store, "acme")
    await void(store, account="acme", pool="ai_credits", id="g1", at=T0 + SECOND)
    counted = await balances(store, "acme")
    assert (await rebuild(store, account="acme", at=NOW)).differences == ()
    assert await balances(store, "acme") == counted


def test_an_account_is_rebuilt_over_http(api: Api, acme: str) -> None:
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "id": "once"})
    found = api.ok("POST", f"/v1/accounts/{acme}/rebuild")
    assert found["account"] == acme
    assert (found["differences"], found["more"], found["entries"]) == ([], False, 1)
    assert found["facts"] > 0
    assert api.problem(404, "POST", "/v1/accounts/nobody/rebuild")["code"] == "unknown_account"
