"""A served simulator, the official client, and something that receives webhooks."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe
import uvicorn

from paygrade.simulator.http.app import Receive, Scope, Send, Simulator, create_app
from paygrade.simulator.http.serve import Running
from support.official_stripe import official_client

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECRET = "whsec_simulator"


@dataclass
class Receiver:
    """Webhook bodies and signatures as they came, and the statuses still to be answered before 200."""

    url: str = ""
    received: list[tuple[bytes, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.received]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


@dataclass
class Simulated:
    """The simulator as its users see it: the client, the controls, and shorthands for both."""

    running: Running
    client: stripe.StripeClient

    def control(self, what: str, wanted: dict[str, Any] | None = None) -> dict[str, Any]:
        status, answer = self.try_control(what, wanted)
        assert status == 200, answer
        return answer

    def try_control(self, what: str, wanted: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        data = None if wanted is None else json.dumps(wanted).encode()
        request = urllib.request.Request(f"{self.running.url}/_simulator/{what}", data=data)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)

    def advance(self, duration: str) -> None:
        self.control("clock", {"advance": duration})

    def advance_to(self, instant: str) -> None:
        self.control("clock", {"to": instant})

    def price(
        self, amount: int = 2500, *, interval: Any = "month", count: int = 1, usage_type: Any = "licensed"
    ) -> str:
        recurring: Any = {"interval": interval, "interval_count": count, "usage_type": usage_type}
        price = self.client.v1.prices.create(
            {
                "currency": "usd",
                "unit_amount": amount,
                "recurring": recurring,
                "product_data": {"name": "Pro"},
            }
        )
        return price.id

    def customer(self, card: str | None = "pm_card_visa") -> str:
        customer = self.client.v1.customers.create({"email": "ada@example.org", "name": "Ada"})
        if card is not None:
            self.set_card(customer.id, card)
        return customer.id

    def set_card(self, customer: str, card: str) -> str:
        method = self.client.v1.payment_methods.attach(card, {"customer": customer})
        self.client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method.id}})
        return method.id

    def subscribe(self, customer: str | None = None, price: str | None = None, **params: Any) -> Any:
        wanted: Any = {
            "customer": customer or self.customer(),
            "items": [{"price": price or self.price()}],
            **params,
        }
        return self.client.v1.subscriptions.create(wanted)

    def subscription(self, id: str, **params: Any) -> Any:
        wanted: Any = params
        return self.client.v1.subscriptions.retrieve(id, wanted)

    def update(self, id: str, **params: Any) -> Any:
        wanted: Any = params
        return self.client.v1.subscriptions.update(id, wanted)

    def status(self, id: str) -> str:
        return str(self.subscription(id).status)

    def latest_invoice(self, id: str) -> Any:
        return self.subscription(id, expand=["latest_invoice"]).latest_invoice

    def charge_of(self, invoice: str) -> Any:
        """Give the charge that paid an invoice, found as Stripe's API allows since basil."""
        [payment] = self.client.v1.invoice_payments.list({"invoice": invoice}).data
        intent: Any = payment.payment.payment_intent
        found: Any = self.client.v1.payment_intents.retrieve(intent, {"expand": ["latest_charge"]}).latest_charge
        return found

    def events(self, type: str) -> list[Any]:
        """Give the events of one type, oldest first."""
        return list(self.client.v1.events.list({"type": type, "limit": 100}).auto_paging_iter())[::-1]


def instant(text: str) -> int:
    """Give the seconds of an instant written as `2026-01-31` or `2026-01-31T12:00`."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def until(holds: Callable[[], object], *, deadline_s: float = 10.0) -> None:
    """Wait for a condition; fail at the deadline."""
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.002)


class Stage:
    """One server for all tests, since starting and stopping one takes longer than most tests: each test
    puts a simulator of its own on it."""

    def __init__(self) -> None:
        self.url = ""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.simulator: Simulator | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.loop = asyncio.get_running_loop()
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            assert self.simulator is not None
            await self.simulator(scope, receive, send)

    @contextmanager
    def playing(self, *, webhook_urls: Sequence[str] = (), seed: int = 1) -> Iterator[Simulated]:
        assert self.loop is not None
        self.simulator = create_app(seed=seed, start=START, webhook_urls=webhook_urls)
        messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        ready = threading.Event()

        async def live() -> None:
            async def sent(message: dict[str, Any]) -> None:
                if message["type"] == "lifespan.startup.complete":
                    ready.set()

            assert self.simulator is not None
            await self.simulator({"type": "lifespan"}, messages.get, sent)

        life = asyncio.run_coroutine_threadsafe(live(), self.loop)
        self.loop.call_soon_threadsafe(messages.put_nowait, {"type": "lifespan.startup"})
        assert ready.wait(10)
        served = Running(url=self.url, key="sk_test_simulator", secret=SECRET, simulator=self.simulator)
        try:
            yield Simulated(served, client_of(served))
        finally:
            self.loop.call_soon_threadsafe(messages.put_nowait, {"type": "lifespan.shutdown"})
            life.result(10)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    stage = Stage()
    config = uvicorn.Config(stage, host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    stage.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    yield stage
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def simulated(stage: Stage) -> Iterator[Simulated]:
    with stage.playing() as simulated:
        yield simulated


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.open.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.open.wait(10)
            answer = receiver.answers.pop(0) if receiver.answers else 200
            if answer == 200:  # noted before the sender can hear of it
                receiver.received.append((body, self.headers["stripe-signature"]))
            self.send_response(answer)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # bursts come at once

        def handle_error(self, request: object, client_address: object) -> None:
            """A connection the simulator let go of is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/webhooks/stripe"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()


def client_of(served: Running, *, key: str | None = None) -> stripe.StripeClient:
    return official_client(key or served.key, served.url, max_network_retries=0)
