"""Pages of rows in PostgreSQL: each row is on one page, also where several were made at the same instant."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.provider_reports import list_open_usage_reports, list_usage_reports
from paygrade.server.operations.accounts.top_ups import list_top_ups
from paygrade.server.operations.catalog.migrations import list_migrations
from paygrade.server.operations.changes.plan_changes import list_changes

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
COUNT = 11


@pytest.fixture
async def full(store: Store, database_url: str) -> Store:
    from paygrade.server.operations.accounts.accounts import put_account

    await put_account(store, account="acme", name="", links={}, traits={}, at=START)
    with psycopg.connect(database_url) as connection:
        for number in range(COUNT):
            at = START + timedelta(hours=number // 3)
            connection.execute(
                "insert into top_ups (account, id, credit, units, amount, currency, state, window_at, asked_at,"
                " round_at, balance) values ('acme', %s, 'c', 1, 1, 'usd', 'paid', %s, %s, %s, 0)",
                (f"t{number}", at, at, at),
            )
            connection.execute(
                "insert into reports (account, pool, slot, from_at, reason) values ('acme', %s, %s, %s, 'not_sold')",
                (f"pool{number % 2}", f"slot {number}", at),
            )
            connection.execute(
                "insert into plan_migrations (plan, reason, started_at, started_by, finished_at)"
                " values ('pro', '', %s, 'admin', %s)",
                (at, at),
            )
            connection.execute(
                "insert into plan_changes (account, id, key, source, act, state, subscription, subject, asked_at)"
                " values ('acme', %s, %s, 'request', 'pause', 'applied', 's', 'stripe:s', %s)",
                (f"c{number}", f"k{number}", at),
            )
    return store


async def walk(ask: Callable[..., Awaitable[Any]], rows: str, place: str, limit: int) -> list[Any]:
    found, following = list[Any](), None
    while True:
        page = await ask(limit=limit, **{place: following})
        found += getattr(page, rows)
        assert len(found) <= COUNT
        following = page.next
        if following is None:
            return found


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 4, COUNT, 500])
async def test_each_row_is_on_one_page_in_the_order_of_the_whole(full: Store, limit: int) -> None:
    async def top_ups(**asked: Any) -> Any:
        return await list_top_ups(full, account="acme", **asked)

    async def reports(**asked: Any) -> Any:
        return await list_usage_reports(full, account="acme", at=START, **asked)

    async def open_reports(**asked: Any) -> Any:
        return await list_open_usage_reports(full, at=START, **asked)

    async def migrations(**asked: Any) -> Any:
        return await list_migrations(full, **asked)

    async def changes(**asked: Any) -> Any:
        return await list_changes(full, account="acme", **asked)

    asked: list[tuple[Any, str, str]] = [
        (top_ups, "top_ups", "before"),
        (reports, "reports", "before"),
        (open_reports, "reports", "after"),
        (migrations, "migrations", "before"),
        (changes, "changes", "before"),
    ]
    for ask, rows, place in asked:
        found = await walk(ask, rows, place, limit)
        assert found == list(getattr(await ask(limit=500), rows)), rows
        assert len(found) == COUNT
