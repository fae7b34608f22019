"""Webhooks from one process: deliveries a second to fast receivers, and what a dead one costs the others.

The receivers are one process beside, which answers 204 to whatever it reads and parses nothing of it. Updates are there
before the clock starts, of as many accounts as there are deliveries under way. A bare row posts the same bodies to the
same receiver, with nothing looked up, signed or saved. Budget: 1,000 deliveries a second, and 1 s of delay for 99
endpoints by a hundredth that never answers. `--seconds=N` (3) bounds each row.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import psycopg
import structlog
import uvloop
from msgspec import Struct

from paygrade.embedded_postgres import cluster as embedded
from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store
from paygrade.server.operations.update_log import give_places
from paygrade.server.operations.webhooks.endpoints import NewEndpoint, create_endpoint, remove_endpoint
from paygrade.server.process.clock import Clock
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.outbound import Guard, Sender
from paygrade.server.workers.looks import Looks
from paygrade.server.workers.webhooks import WIDTH, send_webhooks
from paygrade.updates.log import News

ACCOUNTS, ENDPOINTS = 1_000, 100
LOOK_S = 0.01
RECEIVER = """
import asyncio, sys

async def answer(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\\r\\n")[0]))
            if b"post /dead" in head:
                await asyncio.sleep(3600)
            writer.write(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


class Said(Struct):
    """The data of an update: about as much as a plan change has."""

    plan_before: str = "free@1"
    plan: str = "pro@3"
    reason: str = "x" * 120


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    seconds = next((float(arg.partition("=")[2]) for arg in sys.argv if arg.startswith("--seconds=")), 3.0)
    with _receiver() as url, tempfile.TemporaryDirectory(prefix="paygrade-bench-") as folder:
        database = embedded.start(Path(folder))
        asyncio.run(migrate(database.url))
        uvloop.run(_measure(database.url, url, seconds))  # as the server does
        database.stop()


async def _measure(database_url: str, url: str, seconds: float) -> None:
    async with Store(database_url) as store:
        bare, bare_s = await _bare(url, seconds)
        print(f"  bare requests, {WIDTH} at a time: {bare:,.0f}/s, {bare_s * 1000:.2f} ms of CPU each")
        made, used_s = await _delivered(store, database_url, url, seconds)
        cpu = f"{used_s * 1000:.2f} ms of CPU each"
        print(f"  deliveries to one receiver: {made:,.0f}/s, {made / bare:.2f} of bare, {cpu}")
        alone = await _delay(store, database_url, url, dead=False)
        beside = await _delay(store, database_url, url, dead=True)
        print(
            f"  one update to {ENDPOINTS - 1} endpoints: the last after {alone:.2f} s, beside a dead one {beside:.2f} s"
        )


async def _bare(url: str, seconds: float) -> tuple[float, float]:
    """As `_delivered`."""
    body = b"x" * 600
    until, count = time.perf_counter() + seconds, 0

    async def post() -> None:
        nonlocal count
        while time.perf_counter() < until:
            await session.post(f"{url}/fast", {"webhook-id": "upd_1"}, body)
            count += 1

    async with _sender().session() as session:
        used_s = time.process_time()
        await asyncio.gather(*[post() for _ in range(WIDTH)])
        used_s = time.process_time() - used_s
    return count / seconds, used_s / count


async def _delivered(store: Store, database_url: str, url: str, seconds: float) -> tuple[float, float]:
    """How many a second, and the seconds of this process's CPU that one takes: the others may keep it waiting."""
    await create_endpoint(store, _sender(), NewEndpoint(url=f"{url}/fast"), at=datetime.now(UTC))
    await _happen(store, int(4000 * seconds))
    sending, used_s = asyncio.create_task(_send(store)), time.process_time()
    await asyncio.sleep(seconds)
    used_s, count = time.process_time() - used_s, _count(database_url)
    await _end(sending)
    await _remove(store)
    return count / seconds, used_s / count


async def _delay(store: Store, database_url: str, url: str, *, dead: bool) -> float:
    """How long until the last of the others has an update."""
    for number in range(ENDPOINTS):
        path = "dead" if dead and number == 0 else "fast"
        await create_endpoint(store, _sender(), NewEndpoint(url=f"{url}/{path}/{number}"), at=datetime.now(UTC))
    sending = asyncio.create_task(_send(store))
    await asyncio.sleep(1)  # until it listens
    await _happen(store, 1)
    began = time.perf_counter()
    while _count(database_url) < ENDPOINTS - int(dead):
        assert time.perf_counter() - began < 60, "it does not arrive"
        await asyncio.sleep(LOOK_S)
    took = time.perf_counter() - began
    await _end(sending)
    await _remove(store)
    return took


async def _happen(store: Store, count: int) -> None:
    at = datetime.now(UTC)
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        news = [News(f"acct_{number % ACCOUNTS}", "account.plan_changed", Said(), at) for number in numbers]
        async with store.transaction() as tx:
            await tx.announce(news, at)
    await give_places(store)


async def _send(store: Store) -> None:
    clock = Clock()
    looks = Looks(store, clock)
    await asyncio.gather(send_webhooks(store, _sender(), clock, looks, Metrics()), looks.go_on())


async def _end(sending: "asyncio.Task[None]") -> None:
    sending.cancel()
    with suppress(asyncio.CancelledError):
        await sending


async def _remove(store: Store) -> None:
    async with store.transaction() as tx:
        found = await tx.webhook_endpoints.page(after="", limit=ENDPOINTS + 1)
    for endpoint in found:
        await remove_endpoint(store, endpoint.id)


def _sender() -> Sender:
    return Sender(Guard((ip_network("127.0.0.0/8"),)))


def _count(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("select count(*) from webhook_deliveries where state = 'delivered'").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _receiver() -> Iterator[str]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", RECEIVER], stdin=pipe, stdout=pipe, text=True) as running:
        assert running.stdout is not None
        yield f"http://127.0.0.1:{int(running.stdout.readline())}"
        running.kill()


if __name__ == "__main__":
    main()
