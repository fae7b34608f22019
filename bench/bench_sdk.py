"""The SDK beside a real `paygrade serve`: a check in the caller's own process, uses of leased units, and how soon a
change is seen.

Checks are medians over rounds, interleaved, beside a bare lookup in a dict of dicts; accounts are drawn at random,
beforehand. Budgets: check <= 1.5 us, flat from one account to all of them; leased uses >= 200,000/s a process, a change
seen within 100 ms at p99.
"""

import subprocess
import sys
import threading
from collections.abc import Callable
from random import Random
from statistics import median, quantiles
from time import perf_counter, perf_counter_ns, sleep

import httpx2
from room import KEY, PORT, database, fill, server

from paygrade import Paygrade

ACCOUNTS, CALLS, ROUNDS, CHANGES, PROCESSES, SECONDS = 10_000, 5_000, 40, 200, 2, 3.0
URL = f"http://127.0.0.1:{PORT}"
HOT = "acct_00000000"


def main() -> None:
    with database() as url:
        fill(url, ACCOUNTS)
        with server(url), Paygrade(URL, KEY, timeout_s=60, accounts_max=ACCOUNTS) as sdk:
            _show_checks(sdk)
            _show_changes(sdk)
            _show_uses()


def _show_checks(sdk: Paygrade) -> None:
    accounts = [f"acct_{number:08d}" for number in range(ACCOUNTS)]
    begun = perf_counter()
    assert sdk.prefetch(accounts, timeout_s=120)
    print(f"  {'accounts known, a second':46} {ACCOUNTS / (perf_counter() - begun):9,.0f}/s")
    drawn = Random(1).choices(accounts, k=CALLS)
    table = {account: {"calls": True} for account in accounts}
    rows: dict[str, Callable[[str], object]] = {
        "dict of dicts, at random": lambda account: table[account]["calls"],
        "check, metered, one account": lambda _: sdk.check(HOT, "calls"),
        f"check, metered, {ACCOUNTS:,} accounts at random": lambda account: sdk.check(account, "calls"),
    }
    seen: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, call in rows.items():
            begun_ns = perf_counter_ns()
            for account in drawn:
                call(account)
            seen[name].append((perf_counter_ns() - begun_ns) / CALLS / 1000)
    assert not sdk.check(HOT, "calls").stale
    for name, figures in seen.items():
        print(f"  {name:46} {median(figures):9.3f} us median   {min(figures):7.3f} us best")


def _show_changes(sdk: Paygrade) -> None:
    """From the answer to a write until the SDK has told who listens."""
    told, waits_ms = threading.Event(), []
    stop = sdk.on_change(lambda account: told.set() if account == HOT else None)
    with httpx2.Client(base_url=URL, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, verify=False) as http:
        for number in range(CHANGES):
            told.clear()
            begun = perf_counter()
            body = {"limit": 1_000_000 + number, "reason": "bench"}
            http.put(f"/v1/accounts/{HOT}/overrides/calls", json=body).raise_for_status()
            assert told.wait(10)
            waits_ms.append((perf_counter() - begun) * 1000)
            sleep(0.005)
        http.delete(f"/v1/accounts/{HOT}/overrides/calls").raise_for_status()
    stop()
    p99 = quantiles(waits_ms, n=100)[98]
    print(f"  {'a change until it is seen, the write included':46} {median(waits_ms):9.1f} ms p50   {p99:7.1f} ms p99")


def _show_uses() -> None:
    print(f"  {'uses of leased units, one process':46} {_uses_per_s():9,.0f}/s")
    alone = [sys.executable, __file__]
    others = [subprocess.Popen(alone, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    per_s = [float(process.communicate(timeout=60)[0]) for process in others]
    print(f"  {f'the same, {PROCESSES} processes, one account':46} {sum(per_s):9,.0f}/s")


def _uses_per_s() -> float:
    with Paygrade(URL, KEY, timeout_s=60) as sdk:
        sdk.check(HOT, "calls")
        until, used = perf_counter() + 1.0, 0
        while perf_counter() < until:
            sdk.consume(HOT, "calls")  # the lease grows with the rate
        begun = perf_counter()
        while perf_counter() - begun < SECONDS:
            for _ in range(100):
                used += bool(sdk.consume(HOT, "calls"))
        return used / (perf_counter() - begun)


if __name__ == "__main__":
    print(_uses_per_s())
