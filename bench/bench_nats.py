"""Usage events from NATS JetStream beside `POST /v1/events`, in the same rounds: one NATS server, PostgreSQL durable.

Messages are published while their consumer is paused; the time counts from when it goes on until the last of them is
acknowledged. Over HTTP, CALLERS connections send batches of BATCH. Rounds of all rows are interleaved, and the first is
warm-up. Budget: >= 0.8 of `POST /v1/events` in one process; two of them >= 1.6 of one where there are cores for it.
EVENTS and ROUNDS in the environment make it shorter.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import httpx2
from nats.aio.client import Client
from room import KEY, PORT, account_key, database, fill, server

from support.nats_server import Nats, running_nats
from support.waiting import eventually

ACCOUNTS = 1000
EVENTS, ROUNDS = int(os.environ.get("EVENTS", "60000")), int(os.environ.get("ROUNDS", "3"))
BATCH, CALLERS = 1000, 3
TOGETHER = 100
"""Events in one message of the row that has many."""
STREAM, CONSUMER = "PAYGRADE_USAGE", "paygrade"
TAKERS = (PORT + 2, PORT + 3)
HTTP = f"POST /v1/events, batches of {BATCH}"


def main() -> None:
    rows: dict[str, list[float]] = {}
    with database() as url, running_nats() as servers, server(url), ExitStack() as takers:
        fill(url, ACCOUNTS)
        takers.enter_context(_taker(url, servers, TAKERS[0]))
        for number in range(ROUNDS + 1):
            _note(rows, HTTP, _over_http(), warm_up=not number)
            for each in (1, TOGETHER):
                _note(rows, _row(each, 1), _from_nats(servers, each), warm_up=not number)
        takers.enter_context(_taker(url, servers, TAKERS[1]))
        for number in range(ROUNDS + 1):
            _note(rows, _row(TOGETHER, 2), _from_nats(servers, TOGETHER), warm_up=not number)
    for name, rates in rows.items():
        share = median(rates) / median(rows[HTTP])
        print(f"  {name:52} {median(rates):9,.0f} events/s median {max(rates):9,.0f} best   {share:.2f} of HTTP")


def _row(each: int, processes: int) -> str:
    what = "an event" if each == 1 else f"{each} events"
    return f"NATS, {what} in a message, {processes} process{'es' * (processes > 1)}"


def _note(rows: dict[str, list[float]], name: str, rate: float, *, warm_up: bool) -> None:
    if not warm_up:
        rows.setdefault(name, []).append(rate)


def _over_http() -> float:
    bodies = [_events(BATCH) for _ in range(EVENTS // BATCH)]
    with httpx2.Client(trust_env=False, verify=False, timeout=60, headers={"Authorization": f"Bearer {KEY}"}) as http:

        def send(body: bytes) -> None:
            answer = http.post(f"http://127.0.0.1:{PORT}/v1/events", content=body)
            assert answer.json()["accepted"] == BATCH

        begun = time.perf_counter()
        with ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(send, bodies))
        return len(bodies) * BATCH / (time.perf_counter() - begun)


def _from_nats(servers: Nats, each: int) -> float:
    messages = [_events(each) for _ in range(EVENTS // each)]

    async def measure(connection: Client) -> float:
        js = connection.jetstream(timeout=30)
        later = datetime.now(UTC) + timedelta(hours=1)
        await js.pause_consumer(STREAM, CONSUMER, later.isoformat().replace("+00:00", "Z"))
        for start in range(0, len(messages), 1000):
            sent = [await js.publish_async("paygrade.usage.x", body) for body in messages[start : start + 1000]]
            await asyncio.gather(*sent)
        begun = time.perf_counter()
        await js.resume_consumer(STREAM, CONSUMER)
        while True:
            its = await js.consumer_info(STREAM, CONSUMER)
            if not (its.num_pending or its.num_ack_pending):
                return len(messages) * each / (time.perf_counter() - begun)
            await asyncio.sleep(0.02)

    return servers.do(measure)


def _events(count: int) -> bytes:
    """As the body of a request, or of a message; one alone is no array."""
    found = [
        {"id": uuid.uuid4().hex, "account": account_key(random.randrange(ACCOUNTS)), "feature": "calls"}
        for _ in range(count)
    ]
    return json.dumps(found if count > 1 else found[0]).encode()


@contextmanager
def _taker(url: str, servers: Nats, port: int) -> Iterator[None]:
    environment = {**os.environ, "PAYGRADE_DATABASE_URL": url, "PAYGRADE_NATS_URL": servers.url}
    command = [str(Path(sys.executable).parent / "paygrade"), "ingest", "--create", "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            eventually(lambda: _is_ready(port))
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)


def _is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, verify=False).is_success
    except httpx2.TransportError:
        return False


if __name__ == "__main__":
    main()
