"""A sweep of a large account against stored state: seconds, requests to the provider, memory.

The simulator keeps the whole history of each subscription, some 200 KB, so it cannot hold this many. In its place
stands `tests/lean_stripe.py` as a process of its own: it serves the shape of one subscription that the simulator made,
expanded as a sweep asks for it (4 KB each), under as many ids, `DIFFERENT` of them with another quantity. What it lacks
is Stripe's own time to answer: a page of a hundred takes Stripe a second or so, and one page must follow another.
Budget: 100,000 subscriptions in 60 s, with 1,010 requests, at no more than 20 requests a second. What
the work alone takes is measured first, without that pace.
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import psycopg

from paygrade.embedded_postgres import cluster as embedded
from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.connection import REQUESTS_PER_SECOND
from paygrade.server.operations.sync.repair import Sweep, load_sweep, start_sweep
from paygrade.server.process.clock import Clock
from paygrade.server.workers.claims import take
from paygrade.server.workers.sweeps import run_sweep, sweeps_of
from support.large_account import LeanStripe

COUNT = int(os.environ.get("SUBSCRIPTIONS", "100000"))
DIFFERENT = 3_000
TESTS = Path(__file__).parent.parent / "tests"
SERVE = """
import sys, time
sys.path.insert(0, sys.argv[1])
from support.large_account import LeanStripe
lean = LeanStripe(int(sys.argv[2]))
lean.quantities = {number * (lean.count // int(sys.argv[3])): 7 for number in range(1, int(sys.argv[3]) + 1)}
with lean.serving() as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def main() -> None:
    with _provider() as url, tempfile.TemporaryDirectory(prefix="paygrade-bench-") as folder:
        database = embedded.start(Path(folder))
        asyncio.run(migrate(database.url))
        LeanStripe(COUNT).fill(database.url)
        _measure(database.url, url, per_second=None)
        with psycopg.connect(database.url) as connection:
            # As if what differed had been neither found nor read.
            connection.execute("update subjects set dirty = synced")
            connection.execute("delete from drift")
        _measure(database.url, url, per_second=REQUESTS_PER_SECOND)
        database.stop()
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  at most {megabytes:.0f} MB, with what filled the database")


def _measure(database_url: str, url: str, *, per_second: float | None) -> None:
    began, cpu_began = time.perf_counter(), time.process_time()
    counts = asyncio.run(_sweep(database_url, url, per_second)).counts
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    found = f"{counts.subscriptions:,} subscriptions, {counts.different:,} customers different"
    took = f"{seconds:.1f} s ({cpu_seconds:.1f} s of one core) with {counts.requests:,} requests"
    print(f"  {found}, in {took}, {f'{per_second:g} a second at most' if per_second else 'without a pace'}")


async def _sweep(database_url: str, url: str, per_second: float | None) -> Sweep:
    provider = StripeProvider(api_key="sk_test_lean", api_base=url, max_requests_per_second=per_second)
    async with Store(database_url) as store:
        started = await start_sweep(store, "stripe", dry_run=False, at=datetime.now(UTC))
        (claimed,) = await take(store, sweeps_of("stripe"), limit=1, at=datetime.now(UTC))
        assert await run_sweep(store, provider, Clock(), claimed) == "finished"
        return await load_sweep(store, id=started.sweep.id)


@contextmanager
def _provider() -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(TESTS), str(COUNT), str(DIFFERENT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert httpx2.get(f"{url}/v1/events", trust_env=False).is_success
    try:
        yield url
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    main()
