"""Pages of rows in PostgreSQL: each row is on one page, also where several were made at the same instant, and where
others are left out; and what is left out is not read."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import psycopg
import pytest

from paygrade.billing.accounts import Account
from paygrade.postgres.accounts import Accounts
from paygrade.postgres.store import Store, Transaction
from paygrade.server.operations.accounts.accounts import list_accounts
from paygrade.server.operations.accounts.provider_reports import list_open_usage_reports, list_usage_reports
from paygrade.server.operations.accounts.top_ups import list_top_ups
from paygrade.server.operations.catalog.migrations import list_migrations
from paygrade.server.operations.changes.plan_changes import list_changes
from paygrade.server.operations.sync.events import list_events
from paygrade.server.operations.update_log import list_updates

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
COUNT = 11
MANY = 3000
"""Accounts among which a few are looked for."""
PLANS = ("pro@1", "pro@2", "team@1")
REPORTED = {0: (5, "away", None), 1: (5, None, "too_late"), 2: (6, None, None), 3: (6, "away", None)}
"""Of five hundred, what the provider says (it was told 5), what fails, and why nothing more is told."""
RARE = {"unknown_status sub_1": {"code": "unknown_status", "subject": "sub_1", "detail": ""}}


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


def overview_of(number: int) -> dict[str, Any]:
    """Every third is on a plan of its own kind, one in a hundred is past due, one in five hundred has a finding."""
    return {
        "exists": True,
        "plan": "rare@7" if number % 300 == 7 else PLANS[number % 3],
        "state": "past_due" if number % 100 == 7 else "active",
        **({"findings": RARE} if number % 500 == 7 else {}),
    }


def name_of(number: int) -> str:
    return f"Name {number % 10}" if number % 750 != 7 else "Ölwerk & Co 100%"


@pytest.fixture
def many(store: Store, database_url: str) -> Store:
    with psycopg.connect(database_url) as connection:
        rows = [(f"a{number:05}", number) for number in range(MANY)]
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into accounts (account, version, state, name, known, created_at, updated_at)"
                " values (%s, 1, %s, %s, true, now(), now())",
                [(key, msgspec.json.encode(Account(key)).decode(), name_of(number)) for key, number in rows],
            )
            cursor.executemany(
                "insert into subjects (subject, account) values (%s, %s)",
                [(f"stripe:cus_{number}", key) for key, number in rows],
            )
            cursor.executemany(
                "insert into subscriptions (account, id, subject, provider_status, items)"
                " values (%s, %s, %s, 'active', '[]')",
                [(key, f"sub_{number}", f"stripe:cus_{number}") for key, number in rows],
            )
            cursor.executemany(
                "insert into inbox (subject, event_id, type, received_at, body, handled_at)"
                " values (%s, %s, 'customer.updated', %s, '{}', %s)",
                [
                    (f"stripe:cus_{number % 500}", f"evt_{number}", START + timedelta(seconds=number // 3),
                     None if number % 500 == 7 else START)
                    for _, number in rows
                ],
            )  # fmt: skip
            cursor.executemany(
                "insert into announced (account, overview) values (%s, %s)",
                [(key, msgspec.json.encode(overview_of(number)).decode()) for key, number in rows],
            )
            cursor.executemany(
                "insert into updates (account, id, type, data, occurred_at, written_at, sequence, position)"
                " values (%s, %s, 'account.updated', '{}', %s, now(), 1, %s)",
                [(key, key, START + timedelta(minutes=number * 7 % MANY), number + 1) for key, number in rows],
            )
            cursor.executemany(
                "insert into reports (account, pool, slot, from_at, told, said, error, reason)"
                " values (%s, 'calls', 's', now(), 5, %s, %s, %s)",
                [(key, *REPORTED.get(number % 500, (5, None, None))) for key, number in rows],
            )
        connection.execute("update update_log set given = %s, readable = %s", (MANY, MANY))
        connection.commit()
        connection.execute("analyze accounts, announced, updates, reports, subjects, subscriptions, inbox")
    return store


FILTERS: tuple[tuple[dict[str, str], Callable[[dict[str, Any], int], bool]], ...] = (
    ({}, lambda its, number: True),
    ({"plan": "rare"}, lambda its, number: its["plan"] == "rare@7"),
    ({"plan": "pro"}, lambda its, number: its["plan"] in ("pro@1", "pro@2")),
    ({"plan": "rar"}, lambda its, number: False),
    ({"state": "past_due"}, lambda its, number: its["state"] == "past_due"),
    ({"finding": "any"}, lambda its, number: "findings" in its),
    ({"finding": "unknown_status"}, lambda its, number: "findings" in its),
    ({"finding": "unmapped_price"}, lambda its, number: False),
    ({"plan": "pro", "state": "past_due"}, lambda its, number: its["plan"][:3] == "pro" and its["state"] == "past_due"),
    ({"state": "past_due", "search": "name 7"}, lambda its, n: n % 100 == 7 and n % 750 != 7),
    ({"search": "NAME 3"}, lambda its, number: number % 10 == 3),
    ({"search": "A000"}, lambda its, number: number < 100),
    ({"search": "lwerk"}, lambda its, number: False),
    ({"search": "Ölwerk & co 100%"}, lambda its, number: number % 750 == 7),
    ({"search": "cus_77"}, lambda its, number: number == 77),
    ({"search": "sub_77"}, lambda its, number: number == 77),
    ({"search": "sub_7", "state": "past_due"}, lambda its, number: number == 7),
    ({"search": "sub_8", "state": "past_due"}, lambda its, number: False),
)


@pytest.mark.anyio
async def test_filtered_accounts_are_each_on_one_page(many: Store) -> None:
    for asked, belongs in FILTERS:
        expected = [f"a{number:05}" for number in range(MANY) if belongs(overview_of(number), number)]
        for limit in (500, 7 if len(expected) < 100 else 333):
            found, after = list[str](), ""
            while True:
                page = await list_accounts(many, after=after, limit=limit, at=START, **asked)  # type: ignore[arg-type]
                found += [one.account for one in page.accounts]
                if page.next is None:
                    break
                assert len(page.accounts) == limit
                after = page.next
            assert found == expected, asked


@pytest.mark.anyio
async def test_filtered_updates_are_read_on_with_next_and_none_is_passed_over(many: Store) -> None:
    begin, end = START + timedelta(minutes=100), START + timedelta(minutes=160)
    expected = [n + 1 for n in range(MANY) if begin <= START + timedelta(minutes=n * 7 % MANY) < end]
    found, after = list[int](), 0
    while (page := await list_updates(many, after=after, limit=7, occurred_from=begin, occurred_until=end)).updates:
        found += [update.position for update in page.updates]
        after = page.next
    assert found == expected
    assert (page.next, page.end) == (MANY, MANY)


@pytest.mark.anyio
async def test_open_reports_are_listed_by_what_is_wrong_with_them(many: Store) -> None:
    for state, kinds in {"failing": (0, 3), "not_reported": (1,), "different": (2, 3), None: (0, 1, 2, 3)}.items():
        found, after = list[str](), None
        while True:
            page = await list_open_usage_reports(many, state=state, after=after, limit=3, at=START)  # type: ignore[arg-type]
            found += [one.account for one in page.reports]
            after = page.next
            if after is None:
                break
        assert found == [f"a{number:05}" for number in range(MANY) if number % 500 in kinds], state


@pytest.mark.anyio
async def test_what_a_filter_leaves_out_is_not_read(many: Store, database_url: str) -> None:
    search = partial(Accounts.page, after="", limit=5)
    asked: dict[str, Callable[[Transaction], Awaitable[object]]] = {
        "accounts_by_key": lambda tx: search(tx.accounts, search="a0123"),
        "accounts_by_name": lambda tx: search(tx.accounts, search="ölw"),
        "subjects_by_customer": lambda tx: search(tx.accounts, search="cus_77"),
        "subscriptions_by_id": lambda tx: search(tx.accounts, search="sub_77", state="past_due"),
        "announced_by_plan": lambda tx: tx.accounts.page(after="a00100", limit=5, plan="rare"),
        "announced_by_state": lambda tx: tx.accounts.page(after="", limit=5, state="past_due"),
        "announced_with_findings": lambda tx: tx.accounts.page(after="", limit=5, finding="any"),
        "inbox_by_event": lambda tx: events(tx, id="evt_77"),
        "inbox_of_subject": lambda tx: events(tx, subject="stripe:cus_77", state="handled"),
        "subjects_of_account": lambda tx: events(tx, account="a00077"),
        "inbox_by_time": lambda tx: events(tx, before=(START + timedelta(seconds=99), "stripe:cus_7", "evt_7")),
        "inbox_unhandled": lambda tx: events(tx, state="failing"),
        "updates_by_time": lambda tx: tx.updates.after(
            0, limit=5, occurred_from=START, occurred_until=START + timedelta(minutes=9)
        ),
        "reports_to_look_at": lambda tx: tx.reports.page(state="different", limit=5),
    }
    for index, ask in asked.items():
        async with many.transaction() as tx:
            plan = await plan_of(tx, ask)
        assert index in plan, plan
        assert "Seq Scan" not in plan.replace("Seq Scan on update_log", ""), plan


EVENTS: tuple[tuple[dict[str, Any], Callable[[int], bool]], ...] = (
    ({}, lambda number: True),
    ({"id": "evt_77"}, lambda number: number == 77),
    ({"subject": "stripe:cus_77"}, lambda number: number % 500 == 77),
    ({"account": "a00077"}, lambda number: number % 500 == 77),
    ({"account": "a00077", "state": "waiting"}, lambda number: False),
    ({"state": "waiting"}, lambda number: number % 500 == 7),
    ({"state": "failing"}, lambda number: False),
    ({"state": "handled"}, lambda number: number % 500 != 7),
    ({"state": "ignored"}, lambda number: False),
)


@pytest.mark.anyio
async def test_filtered_billing_events_are_each_on_one_page_the_latest_first(many: Store) -> None:
    def place(number: int) -> tuple[int, str, str]:
        return number // 3, f"stripe:cus_{number % 500}", f"evt_{number}"

    for asked, belongs in EVENTS:
        expected = [place(number)[2] for number in sorted(filter(belongs, range(MANY)), key=place, reverse=True)]
        for limit in (500, 4 if len(expected) < 100 else 333):
            found, before = list[str](), None
            while True:
                page = await list_events(many, before=before, limit=limit, **asked)
                found += [one.id for one in page.events]
                before = page.next
                if before is None:
                    break
                assert len(page.events) == limit
            assert found == expected, asked


@pytest.mark.anyio
async def test_history_is_found_by_its_account(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into facts (account, number, subject, sequence, as_of, recorded_at, body)"
            """ select 'acme' || a, n, 'override:f', n, now(), now(), '{"type":"override","feature":"f"}'"""
            " from generate_series(1, 300) a, generate_series(1, 40) n"
        )
        connection.execute(
            "insert into decision_log (account, id, at, feature, quantity, via, outcome)"
            " select 'acme' || a, 'dec_' || lpad(n::text, 8, '0'), timestamptz '2026-01-01' + n * interval '1 minute',"
            """ 'f' || n % 20, 1, 'check', '{"allowed":true,"reason":"plan","version":"1.1"}'"""
            " from generate_series(1, 300) a, generate_series(1, 40) n"
        )
        connection.execute("analyze facts, decision_log")
    asked: dict[str, tuple[str, Callable[[Transaction], Awaitable[object]]]] = {
        "the facts an instant rests on": ("facts_", lambda tx: tx.accounts.facts("acme7", recorded_until=START)),
        "the facts of versions": ("facts_", lambda tx: tx.accounts.facts("acme7", below=False)),
        "logged decisions": (
            "decision_log_pkey", lambda tx: tx.decision_log.page("acme7", feature=None, before="dec_2", limit=5)),
        "those on a feature": (
            "decision_log_of_feature", lambda tx: tx.decision_log.page("acme7", feature="f3", before=None, limit=5)),
        "one of them": ("decision_log_pkey", lambda tx: tx.decision_log.find("acme7", "dec_00000003")),
        "those too old": ("decision_log_by_time", lambda tx: tx.decision_log.purge(until=START - timedelta(days=30))),
        "accounts of a report": ("accounts_pkey", lambda tx: tx.accounts.keys(after="acme2", limit=5)),
    }  # fmt: skip
    async with store.transaction() as tx:
        await tx._connection.execute("set local enable_seqscan = off")
        for what, (index, ask) in asked.items():
            plan = await plan_of(tx, ask)
            assert f"using {index}" in plan or f"on {index}" in plan, f"{what}\n{plan}"


def events(tx: Transaction, **asked: Any) -> Awaitable[object]:
    said = dict.fromkeys(("id", "state", "account", "subject", "before"))
    return tx.inbox.page(**{**said, "limit": 5, "nothing": "none", **asked})


async def plan_of(tx: Transaction, ask: Callable[[Transaction], Awaitable[object]]) -> str:
    """How PostgreSQL goes about what is asked."""
    connection = tx.accounts._connection
    execute, said = connection.execute, list[tuple[Any, Any]]()

    async def noting(query: Any, values: Any = None, **more: Any) -> Any:
        said.append((query, values))
        return await execute(query, values, **more)

    connection.execute = noting  # type: ignore[method-assign, assignment]  # it has overloads
    try:
        await ask(tx)
    finally:
        del connection.execute
    ((query, values),) = said
    cursor = await connection.execute(f"explain {query}", values)
    return "\n".join([line async for (line,) in cursor])
