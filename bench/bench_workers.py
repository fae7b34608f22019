"""Consume over HTTP with one worker and with two: `paygrade serve --workers`, PostgreSQL durable, on one machine.

The client (`load.py`) shares the cores with the workers and the database, so on two cores the second worker has little
to run on. Each round has a server of each size, started for it alone: a second server that idles would still be told
what the first one writes. What is printed is the median round and the best. Budget: two >= 1.5 of one, cores
permitting.
"""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from statistics import median
from typing import Any

from room import KEY, PORT, database, fill, server

ACCOUNTS, CONNECTIONS, ROUNDS, SECONDS, WARM_S = 10_000, 64, 5, 3.0, 1.0
SIZES = (1, 2)
LOAD = str(Path(__file__).parent / "load.py")


def main() -> None:
    seen: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    with database() as url:
        fill(url, ACCOUNTS)
        for _ in range(ROUNDS):
            for size in SIZES:
                with server(url, workers=size):
                    _asked(seconds=WARM_S)
                    seen[size].append(_asked(seconds=SECONDS))
    for size, rounds in seen.items():
        per_s, best = median(its["per_s"] for its in rounds), max(its["per_s"] for its in rounds)
        p50, p99 = (median(its[key] for its in rounds) for key in ("p50_ms", "p99_ms"))
        name = f"consume, {CONNECTIONS} connections, {size} worker{'s' * (size > 1)}"
        print(f"  {name:48} {per_s:7,.0f}/s median {best:7,.0f}/s best   p50 {p50:5.2f} ms  p99 {p99:6.2f} ms")
    ratio = median(two["per_s"] / one["per_s"] for one, two in zip(*seen.values(), strict=True))
    print(f"  two workers are {ratio:.2f} of one; {ACCOUNTS:,} accounts, {ROUNDS} rounds of {SECONDS} s")


def _asked(*, seconds: float) -> dict[str, Any]:
    ids = uuid.uuid4().hex[:12]
    body = '{"account":"acct_%08d","feature":"calls","quantity":1,"id":"' + ids + '-%010d"}'
    load = {"port": PORT, "key": KEY, "path": "/v1/consume", "body": body, "ids": ids, "accounts": ACCOUNTS,
            "connections": CONNECTIONS, "seconds": seconds}  # fmt: skip
    ended = subprocess.run([sys.executable, LOAD, json.dumps(load)], stdout=subprocess.PIPE, text=True, timeout=110)
    if ended.returncode:
        raise SystemExit("the client gave up")
    figures: dict[str, Any] = json.loads(ended.stdout)
    return figures
