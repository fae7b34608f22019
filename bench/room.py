"""Where usage is measured: a database with its durable settings, a catalog, accounts made by one statement, a server.

Not a benchmark itself: `bench_consume.py` and `bench_http.py` stand on it.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import psycopg

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Fact, Profile
from paygrade.catalog.parse import parse
from paygrade.decisions.take import snapshot
from paygrade.embedded_postgres import cluster as embedded
from paygrade.entitlements.model import Entitlement
from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.usage.balances import slot_of

KEY, PORT = "sk_bench", 14740
BORN = datetime.now(UTC).replace(microsecond=0)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean"},
        "retention": {"kind": "config", "type": "integer"},
        "seats": {"kind": "level"},
        "calls": {"kind": "metered"},
        "tokens": {"kind": "metered", "event": "completion", "aggregate": "sum", "value": "tokens",
                   "burns": {"ai_credits": {"rate": 1, "per": 1000}}},
    },
    "credits": {"ai_credits": {}},
    "plans": {"free": {"default": True, "entitlements": {
        "exports": True, "retention": 90, "seats": 5, "calls": {"limit": 1_000_000_000, "every": "month"},
        "ai_credits": {"grant": 1_000_000, "every": "month"}}}},
}  # fmt: skip
"""What is sold: one feature of each kind. `calls` is what is used."""

_ACCOUNT = apply(Account(key="@@"), Fact(1, "profile", 1, BORN, Profile(BORN, "Acme")))


def account_key(number: int) -> str:
    return f"acct_{number:08}"


@contextmanager
def database() -> Iterator[str]:
    """An embedded PostgreSQL with its durable settings (fsync and synchronous commit on), with the catalog."""
    with tempfile.TemporaryDirectory(prefix="paygrade-bench-") as folder:
        Path(folder).chmod(0o755)
        with embedded.start(Path(folder) / "data") as running:
            asyncio.run(_prepare(running.url))
            yield running.url


async def _prepare(url: str) -> None:
    await migrate(url)
    async with Store(url) as store:
        await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=BORN, by="bench")


def fill(url: str, accounts: int) -> None:
    """As many accounts in place of those there were, each with a balance of `calls`, and one for peers, which tell
    nobody what they change."""
    calls = _calls()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("truncate accounts, balances, ledger")
        connection.execute(
            """
            insert into accounts (account, version, state, name, known, created_at, updated_at)
            select key, 1, replace(%(state)s, '@@', key)::json, 'Acme', true, %(at)s, %(at)s
            from (select 'acct_' || lpad(n::text, 8, '0') key from generate_series(0, %(count)s - 1) n) keys
            """,
            {"state": msgspec.json.encode(_ACCOUNT).decode(), "at": BORN, "count": accounts},
        )
        connection.execute(
            "insert into balances (account, pool, slot, version, from_at, until) select account, pool, %s, 1, %s, %s "
            "from accounts, (values ('calls'), ('peer')) p (pool)",
            (slot_of(calls.from_at), calls.from_at, calls.resets_at),
        )
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")


def fill_ledger(url: str, entries: int) -> None:
    """As many entries of the past, spread over the accounts there are."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            """
            insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws, answer)
            select account, 'past-' || n, 'consume', 'calls', 1, %(at)s, %(at)s, n,
                   json_build_array(json_build_array('calls', slot, 1, 0)), to_json(repeat('x', 150))
            from generate_series(1, %(count)s / (select count(*) from accounts)) n, balances where pool = 'calls'
            """,
            {"at": BORN, "count": entries},
        )
        connection.execute("vacuum analyze ledger")
        connection.execute("checkpoint")


def calls_slot() -> str:
    """The slot in which every account counts its calls."""
    return slot_of(_calls().from_at)


def _calls() -> Entitlement:
    return snapshot(_ACCOUNT, parse(DOCUMENT, version=1), BORN).segments[0].entitlements["calls"]


@contextmanager
def server(url: str, *, workers: int | None = None) -> Iterator[int]:
    """A `paygrade serve` of its own over this database, of so many workers or of one process; its process id."""
    environment = {
        **os.environ,
        "PAYGRADE_DATABASE_URL": url,
        "PAYGRADE_ADMIN_KEY": KEY,
        "PAYGRADE_PORT": str(PORT),
        "PAYGRADE_WORKERS": str(workers or ""),
    }
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "paygrade"), "serve"], env=environment, stdout=log, stderr=log
        )
        try:
            _wait_until_ready(workers or 1)
            yield process.pid
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_until_ready(workers: int) -> None:
    with httpx2.Client(trust_env=False, verify=False) as http:
        for _ in range(2400):
            try:
                # With several, a scrape has the numbers of those that are ready.
                shown = http.get(f"http://127.0.0.1:{PORT}/metrics").text if workers > 1 else ""
                if http.get(f"http://127.0.0.1:{PORT}/readyz").is_success and all(
                    f'worker="{number}"' in shown for number in range(1, workers + 1) if workers > 1
                ):
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
    raise SystemExit("the server did not become ready")


def cpu_s(process: int) -> float:
    """Seconds of processor time a process has had; 0 where there is no /proc to ask."""
    mine, _ = _ticks(process)
    return mine / os.sysconf("SC_CLK_TCK")


def database_cpu_s(url: str) -> float:
    """The same of all processes of the database that this address leads to, and of those that have ended."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("select pid from pg_stat_activity union select pg_backend_pid()").fetchall()
        row = connection.execute("select setting from pg_settings where name = 'data_directory'").fetchone()
        postmaster = int(Path(row[0], "postmaster.pid").read_text().split()[0]) if row else 0
    ended = _ticks(postmaster)[1]
    return sum(cpu_s(pid) for (pid,) in rows) + ended / os.sysconf("SC_CLK_TCK")


def _ticks(process: int) -> tuple[int, int]:
    """What a process has had, and what those have had that it started and that have ended."""
    try:
        parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0
    return int(parts[11]) + int(parts[12]), int(parts[13]) + int(parts[14])
