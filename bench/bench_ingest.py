"""Usage events through the operation: exact dedupe, durable, balances kept; on an empty ledger, then on STORED events.

The peer is what no way through PostgreSQL can avoid: a bare COPY of the same rows into the same table, and the upsert
of their sums. ACCOUNTS accounts take turns at random, ids are random too, CALLERS batches are under way at a time.
Rounds of both are interleaved. Budget: >= 0.5 of bare, batches of 1,000 and up. STORED=0 leaves the second half out.
"""

import asyncio
import gc
import itertools
import os
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from paygrade.embedded_postgres import cluster as embedded
from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.events.ingest import ingest
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.events import UsageEvent

ACCOUNTS = 1000
EVENTS, ROUNDS = 300_000, 3
STORED = int(os.environ.get("STORED", "5000000"))
CALLERS = 3
AT = datetime(2026, 11, 20, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "api_calls": {"kind": "metered", "event": "api_call"},
        "tokens": {"kind": "metered", "event": "completion", "aggregate": "sum", "value": "tokens"},
    },
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "api_calls": {"limit": 1000000, "every": "month"},
                "tokens": {"limit": 1000000, "every": "month"},
            },
        }
    },
}
Batches = list[list[UsageEvent]]


def main() -> None:
    asyncio.run(_main())


async def _main() -> None:
    with _database() as url:
        await migrate(url)
        async with Store(url) as store, _following(store) as snapshots:
            await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=AT, by="bench")
            for number in range(ACCOUNTS):
                await put_account(store, account=_account(number), name="", links={}, traits={}, at=AT)
            await _round(store, snapshots, url, "empty ledger")
            if STORED:
                begun = time.perf_counter()
                await asyncio.to_thread(_store, url)
                print(f"  (stored {STORED:,} events in {time.perf_counter() - begun:.0f} s)")
                await _round(store, snapshots, url, f"on top of {STORED / 1e6:g} M")


async def _round(store: Store, snapshots: Snapshots, url: str, where: str) -> None:
    async def through(batch: list[UsageEvent]) -> None:
        outcome = await ingest(store, snapshots, batch, AT)
        assert outcome.accepted == len(batch)

    await _measure(_batches(5000, 20_000), through)  # warm-up
    for size in (1000, 5000):
        ours, bare = [], []
        async with _bare(url) as bare_call:
            for _ in range(ROUNDS):
                ours.append(await _measure(_batches(size, EVENTS // ROUNDS), through))
                bare.append(await _measure(_batches(size, EVENTS // ROUNDS), bare_call))
        share = median(its / bares for its, bares in zip(ours, bare, strict=True))
        _print(f"operation, batches of {size}, {where}", ours, f"   {share:.2f} of bare")
        _print(f"bare COPY + upsert, {size}, {where}", bare)


def _print(name: str, rates: list[float], more: str = "") -> None:
    print(f"  {name:52} {median(rates):9,.0f} events/s median {max(rates):9,.0f} best{more}", flush=True)


async def _measure(batches: Batches, call: Callable[[list[UsageEvent]], Awaitable[None]]) -> float:
    """Events a second."""
    gc.collect()
    gc.freeze()  # no server has all of these in memory at once
    waiting = iter(batches)

    async def caller() -> None:
        for batch in waiting:
            await call(batch)

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return sum(map(len, batches)) / (time.perf_counter() - begun)


@asynccontextmanager
async def _bare(url: str) -> Any:
    """The same rows, made beforehand by reading each batch once, and written without asking anything."""
    connections: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()
    for _ in range(CALLERS):
        connections.put_nowait(await psycopg.AsyncConnection.connect(url, autocommit=True))
    copy = "copy ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws, properties) from stdin"
    upsert = """
        insert into balances as b (account, pool, slot, used, version)
        select account, pool, slot, units, 1
        from json_to_recordset(%s) as r(account text, pool text, slot text, units bigint)
        on conflict (account, pool, slot) do update set used = b.used + excluded.used, version = b.version + 1
    """

    async def call(batch: list[UsageEvent]) -> None:
        rows = sorted((event.account, event.id) for event in batch)
        instant = AT.isoformat()
        lines = "".join(
            f"{account}\t{id}\tevent\tapi_call\t1\t{instant}\t{instant}\t{hash(id)}\t"
            f'[["api_calls","2026-11-20T00:00:00Z",1,0]]\t{{"model":"large","tokens":512}}\n'
            for account, id in rows
        )
        sums = ",".join(
            f'{{"account":"{account}","pool":"api_calls","slot":"2026-11-20T00:00:00Z","units":{len(list(its))}}}'
            for account, its in itertools.groupby(account for account, _ in rows)
        )
        connection = await connections.get()
        async with connection.transaction():
            async with connection.cursor().copy(copy) as writing:
                await writing.write(lines.encode())
            await connection.execute(upsert, (f"[{sums}]",))
        connections.put_nowait(connection)

    try:
        yield call
    finally:
        while not connections.empty():
            await connections.get_nowait().close()


def _batches(size: int, count: int = EVENTS) -> Batches:
    return [[_event() for _ in range(size)] for _ in range(count // size)]


def _event() -> UsageEvent:
    return UsageEvent(
        id=uuid.uuid4().hex,
        account=_account(random.randrange(ACCOUNTS)),
        event="api_call" if random.random() < 0.5 else "completion",
        time=AT - timedelta(seconds=random.randrange(3600)),
        properties={"model": "large", "tokens": 512},
    )


def _account(number: int) -> str:
    return f"acct_{number:05}"


def _store(url: str) -> None:
    """Events stored before: random ids, spread over the accounts."""
    with psycopg.connect(url, autocommit=True) as connection:
        for start in range(0, STORED, 500_000):
            connection.execute(
                """
                insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws, properties)
                select 'acct_' || lpad((n %% %(accounts)s)::text, 5, '0'), replace(gen_random_uuid()::text, '-', ''),
                       'event', 'api_call', 1, %(at)s, %(at)s, n,
                       '[["api_calls","2026-11-20T00:00:00Z",1,0]]', '{"model":"large","tokens":512}'
                from generate_series(%(start)s::int, %(end)s::int - 1) as n order by 1, 2
                """,
                {"accounts": ACCOUNTS, "at": AT, "start": start, "end": start + min(500_000, STORED - start)},
            )
        connection.execute("checkpoint")


@contextmanager
def _database() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="paygrade-bench-") as folder:
        Path(folder).chmod(0o755)
        with embedded.start(Path(folder) / "data") as running:
            yield running.url


@asynccontextmanager
async def _following(store: Store) -> Any:
    snapshots = Snapshots()
    following = asyncio.create_task(snapshots.follow(store))
    try:
        while not snapshots.remembers(await snapshots.catalog(store)):
            await asyncio.sleep(0.01)
        yield snapshots
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


if __name__ == "__main__":
    main()
