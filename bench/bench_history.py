"""The past: how many bytes a version takes, and how long a question about an account's history takes among many.

Each of many accounts has 40 overrides, one after the other, so each fact is a version. `--versions=N` (20,000) is how
many there are in all; the history of whoever is asked about is as long, however many others there are.
"""

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import structlog
import uvloop

from paygrade.embedded_postgres import cluster as embedded
from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.access import entitlements
from paygrade.server.operations.accounts.versions import versions
from paygrade.server.operations.catalog.publish import publish_catalog

EACH = 40
ASKED = 200
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
DOCUMENT = {
    "version": 1,
    "features": {"exports": {"kind": "boolean"}, "seats": {"kind": "level"}, "calls": {"kind": "metered"}},
    "plans": {"free": {"default": True, "entitlements": {"seats": 1, "calls": {"limit": 100, "every": "month"}}}},
}
FILL = """
    with accounts_made as (
        insert into accounts (account, state, version, name, known, created_at, updated_at)
        select 'acme' || a, json_build_object('key', 'acme' || a), %(each)s, '', true, %(began)s, %(began)s
        from generate_series(1, %(accounts)s) a)
    insert into facts (account, number, subject, sequence, as_of, recorded_at, body)
    select 'acme' || a, n, case n when 1 then 'profile' else 'override:seats' end, n,
           %(began)s + n * interval '1 day', %(began)s + n * interval '1 day',
           case n when 1 then json_build_object('type', 'profile', 'created_at', %(began)s::timestamptz, 'name', 'Acme')
                  else json_build_object('type', 'override', 'feature', 'seats', 'reason', 'a pilot', 'limit', n) end
    from generate_series(1, %(accounts)s) a, generate_series(1, %(each)s) n
"""
LOG = """
    insert into decision_log (account, id, at, feature, quantity, via, outcome)
    select 'acme' || a, 'dec_' || lpad(to_hex(n), 14, '0') || lpad(to_hex(a), 8, '0'), %(began)s + n * interval '1 day',
           'seats', 1, 'check',
           '{"allowed":false,"reason":"limit_reached","version":"1.40","plan":"free@1","limit":1,"used":1,"reserved":0}'
    from generate_series(1, %(accounts)s) a, generate_series(1, %(each)s) n
"""


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    said = (arg.partition("=")[2] for arg in sys.argv if arg.startswith("--versions="))
    accounts = int(next(said, 20_000)) // EACH
    with tempfile.TemporaryDirectory(prefix="paygrade-bench-") as folder:
        database = embedded.start(Path(folder))
        uvloop.run(_measure(database.url, accounts))
        database.stop()


async def _measure(url: str, accounts: int) -> None:
    await migrate(url)
    async with Store(url) as store:
        await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=BEGAN, by="the build")
        _fill(url, accounts)
        now = BEGAN + timedelta(days=EACH + 1)

        async def page(account: str) -> None:
            found = await versions(store, account=account, now=now)
            assert len(found.versions) == EACH

        async def past(account: str) -> None:
            await entitlements(store, account=account, as_of=BEGAN + timedelta(days=EACH // 2), now=now)

        await _time("a page of all versions of an account", accounts, page)
        await _time("entitlements in the past", accounts, past)


def _fill(url: str, accounts: int) -> None:
    values = {"accounts": accounts, "each": EACH, "began": BEGAN}
    with psycopg.connect(url, autocommit=True) as connection:
        for table, statement in (("facts", FILL), ("decision_log", LOG)):
            connection.execute(statement, values)
            connection.execute(f"vacuum analyze {table}")
            row = connection.execute(f"select pg_total_relation_size('{table}'), pg_table_size('{table}')").fetchone()
            assert row is not None
            whole, rows = (size / (accounts * EACH) for size in row)
            print(f"  {table:<14} {accounts * EACH:,} rows, {whole:.0f} bytes each with indexes, {rows:.0f} without")


async def _time(what: str, accounts: int, ask: Callable[[str], Awaitable[None]]) -> None:
    chosen, took = random.Random(7), list[float]()
    for _ in range(ASKED):
        account, began = f"acme{chosen.randint(1, accounts)}", time.perf_counter()
        await ask(account)
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    print(f"  {what:<40} p50 {statistics.median(took):.1f} ms, p99 {took[int(ASKED * 0.99)]:.1f} ms")
