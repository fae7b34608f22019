"""Ten minutes of use by one SDK, beside a real server: whether anything grows.

Each second some thousand checks over all accounts, uses of leased units, reported usage through a spool, a snapshot
file kept, and changes at the server; the stream is cut now and then. Memory, threads and open files of this process and
of the server, after a warm-up and at the end. `SECONDS`: for how long. It is not run unless it is named.
"""

import gc
import os
import tempfile
import threading
from pathlib import Path
from random import Random
from time import monotonic, sleep

import httpx2
from room import KEY, PORT, account_key, database, fill, server

from paygrade import Paygrade

SECONDS = float(os.environ.get("SECONDS", "600"))
ACCOUNTS, CUT_EVERY_S = 2_000, 30.0
URL = f"http://127.0.0.1:{PORT}"
Figures = tuple[float, int, int]
"""MiB of memory in use, threads, open files."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, database() as url:
        fill(url, ACCOUNTS)
        with (
            server(url) as process,
            Paygrade(
                URL, KEY, timeout_s=60, spool=Path(folder, "spool"), snapshot_file=Path(folder, "snapshot"),
                snapshot_every_s=5,
            ) as sdk,
        ):  # fmt: skip
            accounts = [account_key(number) for number in range(ACCOUNTS)]
            assert sdk.prefetch(accounts, timeout_s=60)
            done = _use(sdk, accounts, max(1.0, SECONDS / 10))
            before = _figures(os.getpid()), _figures(process)
            done += _use(sdk, accounts, SECONDS)
            assert sdk.flush(30)
            after = _figures(os.getpid()), _figures(process)
            status = sdk.status()
    print(
        f"  {f'{done:,} turns in {SECONDS:,.0f} s; events dropped and rejected':58} {status.dropped + status.rejected}"
    )
    for name, begun, ended in zip(("the SDK with its program", "the server"), before, after, strict=True):
        for what, first, last in zip(("MiB of memory", "threads", "open files"), begun, ended, strict=True):
            print(f"  {f'{name}: {what}':58} {first:9,.0f} at the start {last:9,.0f} at the end")


def _use(sdk: Paygrade, accounts: list[str], seconds: float) -> int:
    random, turns, until_s = Random(1), 0, monotonic() + seconds
    cut_at_s = monotonic() + CUT_EVERY_S
    with httpx2.Client(base_url=URL, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, verify=False) as http:
        while monotonic() < until_s:
            for account in random.choices(accounts, k=100):
                sdk.check(account, "calls")
                sdk.consume(accounts[0], "calls")
            sdk.track(random.choice(accounts), "calls")
            if turns % 20 == 0:
                body = {"limit": 1_000_000_000 + turns, "reason": "soak"}
                http.put(f"/v1/accounts/{random.choice(accounts)}/overrides/calls", json=body).raise_for_status()
            if monotonic() > cut_at_s:
                cut_at_s = monotonic() + CUT_EVERY_S
                if (stream := sdk._connection._stream) is not None:
                    stream.end()
            turns += 1
            sleep(0.05)
    return turns


def _figures(process: int) -> Figures:
    gc.collect()
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        threads = len(list(Path(f"/proc/{process}/task").iterdir()))
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, threads, len(list(Path(f"/proc/{process}/fd").iterdir()))
    except OSError:
        return 0.0, threading.active_count() if process == os.getpid() else 0, 0
