"""The first of a month: 10,000 signed billing events about 2,000 customers at once, to a server with all its workers.

The sender and the provider are stand-ins, so that what is measured is ours: the sender keeps `CONNECTIONS` requests
under way over raw sockets, the provider is a process that answers every customer with one canned subscription, changed
since the last time. The database is the embedded one with its durable settings. No budget; nothing may be lost.
"""

import asyncio
import hashlib
import hmac
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import parse_qs

import httpx2
import uvicorn

from support.stripe_shapes import buyer, endive, line

CUSTOMERS, EVENTS, CONNECTIONS = 2_000, 10_000, 32
PORT, PROVIDER_PORT, KEY, SECRET = 14720, 14721, "sk_bench", "whsec_bench"
API = f"http://127.0.0.1:{PORT}"
TYPES = (
    "invoice.created",
    "invoice.finalized",
    "charge.succeeded",
    "invoice.paid",
    "customer.subscription.updated",
)
CATALOG = """
version: 1
features: { seats: { kind: level } }
plans: { pro: { prices: { monthly: { amount: 9900, currency: usd, interval: month, stripe: pro_monthly } },
                entitlements: { seats: { limit: quantity } } } }
"""


def main() -> None:
    with _house():
        events = [(number // len(TYPES), kind) for number, kind in enumerate(TYPES * CUSTOMERS)]
        random.Random(1).shuffle(events)
        begun = time.perf_counter()
        acks = asyncio.run(_send([_event(number, *event) for number, event in enumerate(events)]))
        sent_s = time.perf_counter() - begun
        drained_s = _drained(begun)
        cuts = quantiles(acks, n=100)
        print(
            f"  {EVENTS} events acknowledged in {sent_s:.1f} s: {EVENTS / sent_s:,.0f}/s over {CONNECTIONS} connections"
        )
        print(f"  an acknowledgement {median(acks):.1f} ms median, {cuts[98]:.1f} ms p99, {max(acks):.1f} ms max")
        print(f"  {CUSTOMERS} customers drained {drained_s:.1f} s after the first event; load {os.getloadavg()[0]:.1f}")


def _event(number: int, customer: int, kind: str) -> bytes:
    """One whole HTTP request."""
    id = f"cus_{customer}"
    about = {"id": f"sub_{id}", "object": "subscription"} if "subscription" in kind else {"id": f"in_{number}"}
    event = {
        "id": f"evt_{number}",
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "type": kind,
        "data": {"object": {**endive(), **about, "customer": id}},
    }
    body = json.dumps(event).encode()
    moment = int(time.time())
    mac = hmac.new(SECRET.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhooks/stripe HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Stripe-Signature: t={moment},v1={mac}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _send(requests: list[bytes]) -> list[float]:
    """Send them all; how long each acknowledgement took, in milliseconds."""
    waiting, acks = iter(requests), []

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        for request in waiting:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(part for part in head.lower().split(b"\r\n") if part.startswith(b"content-length:"))
            answer = await reader.readexactly(int(length.partition(b":")[2]))
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"not acknowledged: {head!r} {answer!r}")
            acks.append((time.perf_counter() - begun) * 1000)
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return acks


def _drained(begun: float) -> float:
    with httpx2.Client(base_url=API, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as http:
        while (status := http.get("/v1/sync/status").json())["dirty"]:
            if time.perf_counter() - begun > 110:
                raise SystemExit(f"not drained: {status['dirty']} subjects wait")
            time.sleep(0.25)
        drained_s = time.perf_counter() - begun
        kept, subjects = status["inbox"], status["subjects"]
        if (kept["received"], kept["unhandled"], subjects) != (EVENTS, 0, CUSTOMERS):
            raise SystemExit(f"lost: {kept}, {subjects} subjects")
        return drained_s


class _Provider:
    """Says of every customer that it has one subscription, with one more unit each time."""

    def __init__(self) -> None:
        self._quantity = 0

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        # Any: ASGI's own types are open mappings.
        if scope["type"] != "http":
            return
        asked = parse_qs(scope["query_string"].decode()).get("customer", [""])[0]
        self._quantity += 1
        subscription = endive(
            id=f"sub_{asked}",
            customer=buyer(id=asked),
            latest_invoice=None,
            items={"object": "list", "data": [line(quantity=self._quantity)], "has_more": False},
        )
        body = json.dumps({"object": "list", "data": [subscription], "has_more": False}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@contextmanager
def _house() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="paygrade-bench-") as folder:
        Path(folder).chmod(0o755)
        catalog = Path(folder) / "paygrade.yaml"
        catalog.write_text(CATALOG)
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PAYGRADE_DATA_DIR": f"{folder}/data",
            "PAYGRADE_ADMIN_KEY": KEY,
            "PAYGRADE_CATALOG": str(catalog),
            "PAYGRADE_PORT": str(PORT),
            "PAYGRADE_STRIPE_API_KEY": "sk_test_bench",
            "PAYGRADE_STRIPE_API_BASE": f"http://127.0.0.1:{PROVIDER_PORT}",
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": SECRET,
        }
        paygrade = str(Path(sys.executable).parent / "paygrade")
        with (Path(folder) / "log").open("w") as log:
            parts = [
                subprocess.Popen(command, env=environment, stdout=log, stderr=log)
                for command in ([sys.executable, __file__, "provider"], [paygrade, "serve"])
            ]
            try:
                _wait_until_ready()
                yield
            finally:
                for part in reversed(parts):
                    part.terminate()
                    part.wait(timeout=20)


def _wait_until_ready() -> None:
    with httpx2.Client(trust_env=False, verify=False) as http:
        for _ in range(600):
            try:
                if http.get(f"{API}/readyz").is_success:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
    raise SystemExit("the server did not become ready")


if __name__ == "__main__" and sys.argv[1:] == ["provider"]:
    uvicorn.run(_Provider(), port=PROVIDER_PORT, log_level="warning", access_log=False)
