"""Consume and check over HTTP: a real `paygrade serve` of one process, PostgreSQL durable, on one machine.

The client (`load.py`: raw sockets, a request made beforehand, no framework) shares the cores with the server and the
database. Rounds of all rows are interleaved, the first is warm-up; what is printed is the median round and the best,
and the share of bare ASGI (`bare_asgi.py`) at as many connections in the same rounds: machines drift, shares less.
Each consume is saved with its ledger row before it is answered. Budgets: check >= 1.0 of bare alone and >= 0.7 while
2,000 consumes a second run, p99 <= 5 ms; consume >= 0.38 of bare, one hot account >= 0.8 of uniform.
"""

import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from room import KEY, PORT, cpu_s, database, database_cpu_s, fill, server

ACCOUNTS, ROUNDS, SECONDS = 10_000, 7, 2.0
BARE_PORT = PORT + 1
LOAD = str(Path(__file__).parent / "load.py")
Figures = dict[str, float]


def main() -> None:
    rows: dict[str, list[Figures]] = {}
    with database() as url:
        fill(url, ACCOUNTS)
        with server(url) as process, _bare_asgi():
            _finished(_started({**_check(), "answers_max": ACCOUNTS}, seconds=100))
            for number in range(ROUNDS + 1):
                for name, figures in _round(url, process).items():
                    if number:
                        rows.setdefault(name, []).append(figures)
    for name, seen in rows.items():
        print(f"  {name:48} {_line(seen)}")
    for name, bare in SHARES.items():
        print(f"  {name:48} {_share(rows, name, bare):.2f} of bare ASGI")
    uniform, hot = (median(f["per_s"] for f in rows[name]) for name in (UNIFORM, HOT))
    print(f"  one hot account is {hot / uniform:.2f} of uniform; {ACCOUNTS:,} accounts, {ROUNDS} rounds of {SECONDS} s")


ALONE, BESIDE = "check, 32 connections, alone", "check, 32 connections, while consumes run"
UNIFORM, HOT = "consume, 64 connections, uniform", "consume, 64 connections, one hot account"
BARE_32, BARE_64 = "bare ASGI, 32 connections", "bare ASGI, 64 connections"
SHARES = {ALONE: BARE_32, BESIDE: BARE_32, UNIFORM: BARE_64, HOT: BARE_64}


def _share(rows: dict[str, list[Figures]], name: str, bare: str) -> float:
    """The median over rounds: both of a round had the same weather."""
    return median(ours["per_s"] / its["per_s"] for ours, its in zip(rows[name], rows[bare], strict=True))


@contextmanager
def _bare_asgi() -> Iterator[None]:
    program = str(Path(__file__).parent / "bare_asgi.py")
    process = subprocess.Popen([sys.executable, program, str(BARE_PORT)])
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", BARE_PORT)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _round(url: str, process: int) -> dict[str, Figures]:
    alone, uniform, hot = _check(), _consume(ACCOUNTS, 64), _consume(1, 64)
    found = {
        BARE_32: _finished(_started({**alone, "port": BARE_PORT}, seconds=SECONDS)),
        ALONE: _measured(alone, url, process),
        BARE_64: _finished(_started({**_check(), "port": BARE_PORT, "connections": 64}, seconds=SECONDS)),
        UNIFORM: _measured(uniform, url, process),
        HOT: _measured(hot, url, process),
    }
    beside = _started({**_consume(ACCOUNTS, 64), "per_s": 2000}, seconds=SECONDS + 0.5)
    found[BESIDE] = _measured(_check(), url, process)
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
