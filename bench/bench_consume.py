"""Group commit in process, ledger rows written, beside what PostgreSQL does with the same rows and no decisions.

Peers on the same database: one connection that saves batch after batch with two statements in a pipeline (`update …
from unnest`, `insert … select unnest`) and decides nothing; and `pgbench`, one transaction for each use. Rounds of all
rows are interleaved, the first is warm-up; what is printed is the median round and the best, the processor time of one
use, and the share of the bare batches of the same size. `--long` adds how the cost grows with accounts, and everything
again on top of 5 M ledger entries. Budget: >= 0.65 of the bare batches, >= 0.9 with one hot account.
"""

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from statistics import median

import psycopg
import uvloop
from msgspec import Struct
from psycopg import AsyncConnection
from room import account_key, calls_slot, cpu_s, database, database_cpu_s, fill, fill_ledger

from paygrade.cli.serve import collect_rarely
from paygrade.postgres.store import Store
from paygrade.server.operations.usage.group_commit import GroupCommit
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.process.clock import Clock
from paygrade.server.state.snapshots import Snapshots

ACCOUNTS, ROUNDS, SECONDS = 10_000, 7, 1.2
GROWTH = (1_000, 10_000, 100_000, 1_000_000)
LEDGER_ENTRIES = 5_000_000
ids = (f"{run}-{number:010}" for run in [uuid.uuid4().hex[:12]] for number in itertools.count(1))


class Round(Struct, frozen=True):
    """What one round came to; processor time in seconds, of this process and of the database."""

    uses: int
    seconds: float
    own_s: float
    database_s: float


Rows = dict[str, list[Round]]
Row = Callable[[], Awaitable[int]]
"""Uses units for a round, and says how many times."""


def main() -> None:
    with database() as url:
        collect_rarely()
        fill(url, ACCOUNTS)
        _print(_rounds(url, ACCOUNTS, peers=True))
        if "--long" in sys.argv:
            for accounts in GROWTH:
                fill(url, accounts)
                _print(_rounds(url, accounts, peers=False), f"{accounts:,} accounts: ")
            fill(url, ACCOUNTS)
            fill_ledger(url, LEDGER_ENTRIES)
            _print(_rounds(url, ACCOUNTS, peers=True), "on 5 M entries: ")


def _print(rows: Rows, prefix: str = "") -> None:
    rates = {name: [r.uses / r.seconds for r in seen] for name, seen in rows.items()}
    for name, seen in rows.items():
        own_us = median(1e6 * r.own_s / r.uses for r in seen)
        database_us = median(1e6 * r.database_s / r.uses for r in seen)
        bare = rates.get(f"bare batches of {'64' if name.startswith('64') else '1000'}")
        share = f"   {median(rates[name]) / median(bare):.2f} of bare" if bare and "callers" in name else ""
        figures = f"{median(rates[name]):7,.0f}/s median {max(rates[name]):7,.0f}/s best"
        print(f"  {prefix + name:48} {figures}   CPU {own_us:4.1f} us own, {database_us:4.1f} us database{share}")


def _rounds(url: str, accounts: int, *, peers: bool) -> Rows:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_interleaved(url, accounts, peers=peers))


async def _interleaved(url: str, accounts: int, *, peers: bool) -> Rows:
    seen: Rows = {}
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(url))
        snapshots, clock = Snapshots(), Clock()
        commits = GroupCommit(store, snapshots, clock)
        background = [asyncio.create_task(snapshots.follow(store)), asyncio.create_task(commits.run())]
        await asyncio.sleep(0.5)
        await _callers_use(commits, range(accounts), callers=256, seconds=100, uses_max=min(accounts, 50_000))
        rows = _ours(commits, accounts)
        if peers:
            bare = await stack.enter_async_context(await AsyncConnection.connect(url, autocommit=True))
            rows |= _peers(bare, url, accounts)
        for number in range(ROUNDS + 1):
            for name, row in rows.items():
                measured = await _measured(row, url)
                if number:
                    seen.setdefault(name, []).append(measured)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
    return seen


async def _measured(row: Row, url: str) -> Round:
    own, base, begun = cpu_s(os.getpid()), database_cpu_s(url), time.perf_counter()
    uses = await row()
    seconds = time.perf_counter() - begun
    return Round(uses, seconds, cpu_s(os.getpid()) - own, database_cpu_s(url) - base)


def _ours(commits: GroupCommit, accounts: int) -> dict[str, Row]:
    return {
        "64 callers, uniform": lambda: _callers_use(commits, range(accounts), callers=64),
        "64 callers, one hot account": lambda: _callers_use(commits, range(1), callers=64),
        "2,000 callers, uniform": lambda: _callers_use(commits, range(accounts), callers=2000),
        "2,000 callers, one hot account": lambda: _callers_use(commits, range(1), callers=2000),
    }


def _peers(bare: "AsyncConnection[tuple[object, ...]]", url: str, accounts: int) -> dict[str, Row]:
    rows: dict[str, Row] = {
        "bare batches of 64": lambda: _bare_batches(bare, accounts, size=64),
        "bare batches of 1000": lambda: _bare_batches(bare, accounts, size=1000),
    }
    if program := _pgbench(url):
        rows["pgbench, 64 clients, a transaction each"] = lambda: _pgbench_uses(program, url, accounts)
    return rows


async def _callers_use(
    commits: GroupCommit, accounts: range, *, callers: int, seconds: float = SECONDS, uses_max: int = 10**9
) -> int:
    """Each caller uses one unit after the other. A multiplicative walk: every account in turn, none near another."""
    until = time.perf_counter() + seconds
    uses = itertools.count(1)
    keys = [account_key(number * 7919 % len(accounts)) for number in accounts]
    walk = itertools.cycle(keys)

    async def use() -> int:
        done = 0
        while time.perf_counter() < until and next(uses) <= uses_max:
            answer = await commits.ask(Consume(next(walk), "calls", next(ids)))
            assert answer.took_effect
            done += 1
        return done

    return sum(await asyncio.gather(*(use() for _ in range(callers))))


async def _bare_batches(connection: "AsyncConnection[tuple[object, ...]]", accounts: int, *, size: int) -> int:
    until, done, slot, at = time.perf_counter() + SECONDS, 0, calls_slot(), datetime.now(UTC)
    draws, answer = f'[["calls","{slot}",1,0]]', f'"{"x" * 130}"'
    walk = itertools.cycle(account_key(number * 7919 % accounts) for number in range(accounts))
    while time.perf_counter() < until:
        keys = sorted(itertools.islice(walk, size))
        async with connection.pipeline(), connection.transaction():
            await connection.execute(
                """
                update balances b set used = b.used + 1, version = b.version + 1
                from unnest(%s::text[]) k (account) where b.account = k.account and b.pool = 'peer' and b.slot = %s
                """,
                (keys, slot),
            )
            await connection.execute(
                """
                insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws, answer)
                select a, i, 'consume', 'calls', 1, %s, %s, 1, %s::json, %s::json
                from unnest(%s::text[], %s::text[]) k (a, i)
                """,
                (at, at, draws, answer, keys, list(itertools.islice(ids, size))),
            )
        done += size
    return done


def _pgbench(url: str) -> str | None:
    """The program that came with this PostgreSQL, or the machine's own."""
    with psycopg.connect(url) as connection:
        row = connection.execute("select setting from pg_config() where name = 'BINDIR'").fetchone()
    return shutil.which("pgbench", path=row[0] if row else None) or shutil.which("pgbench")


async def _pgbench_uses(program: str, url: str, accounts: int) -> int:
    script = rf"""
\set a random(0, {accounts - 1})
\set n random(1, 4000000000000000000)
with b as (update balances set used = used + 1, version = version + 1 where pool = 'peer' and slot = '{calls_slot()}'
           and account = 'acct_' || lpad(:a::text, 8, '0') returning account)
insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws, answer)
select account, 'pgbench-' || :n, 'consume', 'calls', 1, now(), now(), 1,
       '[["calls","{calls_slot()}",1,0]]', to_json(repeat('x', 130)) from b;
"""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        command = [program, "-n", "-M", "prepared", "-c", "64", "-T", "2", "-f", file.name, url]
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    line = next(line for line in ended.stdout.splitlines() if line.startswith("tps ="))
    return round(float(line.split()[2]) * SECONDS)
