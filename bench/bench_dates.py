"""Dates that come: how late each is told, of thousands of accounts whose overrides end one after the other.

One process follows dates, as a server does, while nothing happens from outside. Late is what lies between an override's
end and the writing of the update that tells of it; another row says until when it can be read. Budget: 1 s.
`--seconds=N` (20) is over how long they are spread, `--accounts=N` (5,000) how many there are.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import structlog
import uvloop

from paygrade.billing.facts import Override
from paygrade.embedded_postgres import cluster as embedded
from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts import statements
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.update_log import give_places
from paygrade.server.process.clock import Clock
from paygrade.server.workers.looks import Looks
from paygrade.server.workers.loop import follow_dates, follow_ends, order_updates

BUDGET_MS = 1000.0
DOCUMENT = {
    "version": 1,
    "features": {"exports": {"kind": "boolean"}},
    "plans": {"free": {"default": True, "entitlements": {}}},
}
AT_ONCE = 8
"""How many accounts are made at a time, before the clock starts."""


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    with tempfile.TemporaryDirectory(prefix="paygrade-bench-") as folder:
        database = embedded.start(Path(folder))
        asyncio.run(migrate(database.url))
        uvloop.run(_measure(database.url, int(_said("--accounts", 5000)), _said("--seconds", 20.0)))
        database.stop()


def _said(name: str, otherwise: float) -> float:
    return next((float(arg.partition("=")[2]) for arg in sys.argv if arg.startswith(f"{name}=")), otherwise)


async def _measure(database_url: str, count: int, seconds: float) -> None:
    async with Store(database_url) as store:
        await _make(store, count)
        begins_at = datetime.now(UTC) + timedelta(seconds=1)
        _spread(database_url, begins_at, count, seconds)
        clock, readable = Clock(), asyncio.create_task(_watch(store, count))
        looks = Looks(store, clock)
        doing = (follow_dates(store, clock, looks), follow_ends(store, clock, looks), order_updates(store, looks))
        loops = [asyncio.create_task(each) for each in (*doing, looks.go_on())]
        used_s = time.process_time()
        seen = await readable
        used_s = time.process_time() - used_s
        for each in loops:
            each.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*loops)
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select extract(epoch from written_at - occurred_at)::float8 * 1000, position from updates"
            " where type = 'override.expired' order by position"
        ).fetchall()
        doubled = connection.execute(
            "select count(*) - count(distinct account) from updates where type = 'override.expired'"
        ).fetchone()
    print(f"  {count:,} overrides end within {seconds:g} s; told twice: {doubled[0] if doubled else '?'};"
          f" {used_s * 1000 / count:.2f} ms of CPU each, with the row that reads them")  # fmt: skip
    _print("written", [late for late, _ in rows])
    _print("can be read", seen)


def _print(what: str, late: list[float]) -> None:
    quantiles = statistics.quantiles(late, n=100)
    print(f"  {what}: p50 {quantiles[49]:,.0f} ms, p99 {quantiles[98]:,.0f} ms, max {max(late):,.0f} ms late"
          f" (budget {BUDGET_MS:,.0f} ms)")  # fmt: skip


async def _make(store: Store, count: int) -> None:
    """Accounts with an override that ends in an hour."""
    at = datetime.now(UTC)
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=at, by="bench")
    numbers = iter(range(count))

    async def make() -> None:
        for number in numbers:
            account = f"acct_{number}"
            await put_account(store, account=account, name="", links={}, traits={}, at=at)
            override = Override(feature="exports", value=True, expires_at=at + timedelta(hours=1))
            await statements.put_override(store, account=account, override=override, at=at)

    await asyncio.gather(*[make() for _ in range(AT_ONCE)])
    # A server that runs has given places to what came before; these would all come first.
    await give_places(store)


def _spread(database_url: str, begins_at: datetime, count: int, seconds: float) -> None:
    """Have the overrides end one after the other: making them takes longer than they last."""
    with psycopg.connect(database_url) as connection:
        its = "%(begins_at)s + split_part(account, '_', 2)::int * make_interval(secs => %(apart)s)"
        ends = f"to_jsonb(to_char(({its}) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))"
        said = {"begins_at": begins_at, "apart": seconds / count}
        for table, column, path in (
            ("accounts", "state", "{statements,override:exports,body,expires_at}"),
            ("announced", "overview", "{overrides,exports,expires_at}"),
        ):
            connection.execute(
                f"update {table} set {column} = jsonb_set({column}::jsonb, '{path}', {ends})::json", said
            )
        connection.execute(f"update announced set due_at = {its}", said)


async def _watch(store: Store, count: int) -> list[float]:
    """How late each could be read, in milliseconds."""
    found: list[float] = []
    async with store.transaction() as tx:
        after = (await tx.updates.state()).readable
    while len(found) < count:
        async with store.transaction() as tx:
            updates = await tx.updates.after(after, limit=1000, types=["override.expired"])
        now = datetime.now(UTC)
        found += [(now - update.occurred_at) / timedelta(milliseconds=1) for update in updates]
        after = updates[-1].position if updates else after
        await asyncio.sleep(0.005)
    return found


if __name__ == "__main__":
    main()
