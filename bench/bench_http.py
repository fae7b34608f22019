"""Consume and check over HTTP: a real `paygrade serve` of one process, PostgreSQL durable, on one machine.

The client (`load.py`: raw sockets, a request made beforehand, no framework) shares the cores with the server and the
database. Rounds of all rows are interleaved, the first is warm-up; what is printed is the median round and the best.
Each consume is saved with its ledger row before it is answered. Budgets: check 20,000/s with p99 <= 5 ms while 2,000
consumes a second run, 32 connections; consume 12,000/s at 64 connections, one hot account >= 0.8 of uniform.
"""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from statistics import median
from typing import Any

from room import KEY, PORT, cpu_s, database, database_cpu_s, fill, server

ACCOUNTS, ROUNDS, SECONDS = 10_000, 7, 2.0
LOAD = str(Path(__file__).parent / "load.py")
Figures = dict[str, float]


def main() -> None:
    rows: dict[str, list[Figures]] = {}
    with database() as url:
        fill(url, ACCOUNTS)
        with server(url) as process:
            _finished(_started({**_check(), "answers_max": ACCOUNTS}, seconds=100))
            for number in range(ROUNDS + 1):
                for name, figures in _round(url, process).items():
                    if number:
                        rows.setdefault(name, []).append(figures)
    for name, seen in rows.items():
        print(f"  {name:48} {_line(seen)}")
    uniform, hot = (median(f["per_s"] for f in rows[name]) for name in (UNIFORM, HOT))
    print(f"  one hot account is {hot / uniform:.2f} of uniform; {ACCOUNTS:,} accounts, {ROUNDS} rounds of {SECONDS} s")


UNIFORM, HOT = "consume, 64 connections, uniform", "consume, 64 connections, one hot account"


def _round(url: str, process: int) -> dict[str, Figures]:
    alone, uniform, hot = _check(), _consume(ACCOUNTS, 64), _consume(1, 64)
    found = {
        "check, 32 connections, alone": _measured(alone, url, process),
        UNIFORM: _measured(uniform, url, process),
        HOT: _measured(hot, url, process),
    }
    beside = _started({**_consume(ACCOUNTS, 64), "per_s": 2000}, seconds=SECONDS + 0.5)
    found["check, 32 connections, while consumes run"] = _measured(_check(), url, process)
    found["  those consumes, 2,000/s asked for"] = _finished(beside)
    return found


def _check() -> dict[str, Any]:
    body = '{"account":"acct_%08d","feature":"calls","quantity":1}'
    return {"path": "/v1/check", "body": body, "ids": "", "accounts": ACCOUNTS, "connections": 32}


def _consume(accounts: int, connections: int) -> dict[str, Any]:
    ids = uuid.uuid4().hex[:12]
    body = '{"account":"acct_%08d","feature":"calls","quantity":1,"id":"' + ids + '-%010d"}'
    return {"path": "/v1/consume", "body": body, "ids": ids, "accounts": accounts, "connections": connections}


def _measured(asked: dict[str, Any], url: str, process: int) -> Figures:
    server_s, database_s = cpu_s(process), database_cpu_s(url)
    figures = _finished(_started(asked, seconds=SECONDS))
    each = 1e6 / figures["answered"]
    figures["server_us"] = (cpu_s(process) - server_s) * each
    figures["database_us"] = (database_cpu_s(url) - database_s) * each
    return figures


def _started(asked: dict[str, Any], *, seconds: float) -> "subprocess.Popen[str]":
    load = json.dumps({"port": PORT, "key": KEY, "seconds": seconds, **asked})
    return subprocess.Popen([sys.executable, LOAD, load], stdout=subprocess.PIPE, text=True)


def _finished(started: "subprocess.Popen[str]") -> Figures:
    told, _ = started.communicate(timeout=110)
    if started.returncode:
        raise SystemExit("the client gave up")
    figures: Figures = json.loads(told)
    return figures


def _line(seen: list[Figures]) -> str:
    def middle(key: str) -> float:
        return median(f.get(key, 0) for f in seen)

    best = max(f["per_s"] for f in seen)
    processor = f"   CPU {middle('server_us'):3.0f} us server, {middle('database_us'):3.0f} database, "
    processor += f"{middle('client_us'):3.0f} client"
    waits = f"p50 {middle('p50_ms'):5.2f} ms  p99 {middle('p99_ms'):6.2f} ms"
    told = processor if middle("server_us") else f"   CPU {middle('client_us'):3.0f} us client"
    return f"{middle('per_s'):7,.0f}/s median {best:7,.0f}/s best   {waits}{told}"
