"""A stand-in for a large Stripe account: every subscription is one that the simulator made, under another id.

The simulator keeps some 200 KB for each subscription and its history, so it cannot hold a hundred thousand; this
holds one, and what differs from it. It answers what a sweep and a reading ask, in the simulator's own shapes.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import psycopg

from paygrade.billing.accounts import Account, apply
from paygrade.billing.facts import Customer, Fact
from paygrade.providers.stripe.pages import page_of
from paygrade.simulator.engine import Engine

BORN = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)

# Any: JSON objects of Stripe's.
Json = dict[str, Any]


class LeanStripe:
    """`count` subscriptions, each of a customer of its own. `quantities` says whose differs from 1, `hidden` whom the
    list leaves out, `refusals` how many of the next requests are told to come back later."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.url = ""
        self.asked: list[str] = []
        self.quantities: dict[int, int] = {}
        self.hidden: set[int] = set()
        self.refusals = 0
        self.before: Callable[[int], None] = lambda number: None
        """Runs within each request, with its number; the first is 1."""
        made = _subscription()
        self._expanded = json.dumps(made).encode()
        self._listed = json.dumps({**made, "latest_invoice": made["latest_invoice"]["id"]}).encode()

    def subscription(self, number: int, *, listed: bool = False) -> bytes:
        made = (self._listed if listed else self._expanded).replace(b"@@", b"%07d" % number)
        quantity = self.quantities.get(number, 1)
        return made if quantity == 1 else made.replace(b'"quantity": 1', b'"quantity": %d' % quantity)

    def buyer(self, number: int) -> bytes:
        return json.dumps(json.loads(self.subscription(number))["customer"]).encode()

    def customer(self, number: int) -> Customer:
        """What a reading makes of it."""
        (listed,) = page_of([json.loads(self.subscription(number))], after=None).customers
        assert listed.customer is not None
        return listed.customer

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        self.asked.append(path)
        self.before(len(self.asked))
        if self.refusals:
            self.refusals -= 1
            return 429, b'{"error": {"message": "slower, please"}}'
        if path == "/v1/subscriptions" and "customer" in query:
            return 200, _list([self.subscription(int(query["customer"][0].removeprefix("cus_")))], False)
        if path == "/v1/subscriptions":
            return 200, self._page(query)
        if path.startswith("/v1/subscriptions/"):
            return 200, self.subscription(int(path.rpartition("_")[2]))
        if path == "/v1/customers":
            # The newest page of them, none of which is news: the rest was listed by the sweep before.
            newest = range(self.count, max(0, self.count - int(query["limit"][0])), -1)
            return 200, _list([self.buyer(number) for number in newest], self.count > len(newest))
        return 200, _list([], False)

    def _page(self, query: dict[str, list[str]]) -> bytes:
        # The newest first, as Stripe has it.
        after = query.get("starting_after")
        start = int(after[0].removeprefix("sub_")) - 1 if after else self.count
        end = max(0, start - int(query["limit"][0]))
        numbers = [number for number in range(start, end, -1) if number not in self.hidden]
        listed = ["data.latest_invoice"] not in query.values()
        return _list([self.subscription(number, listed=listed) for number in numbers], end > 0)

    @contextmanager
    def serving(self) -> Iterator[str]:
        lean = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                status, body = lean.answer(parts.path, parse_qs(parts.query))
                head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
                retry = "Retry-After: 1\r\n" if status == 429 else ""
                self.wfile.write((head + retry + "\r\n").encode() + body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield self.url
        server.shutdown()
        server.server_close()

    def fill(self, database_url: str) -> None:
        """Store everything as if it had been read, and swept once, a day later."""
        with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
            with cursor.copy(
                "copy accounts (account, version, state, known, created_at, updated_at) from stdin"
            ) as rows:
                for number in range(1, self.count + 1):
                    rows.write_row((f"acct_{number:07}", 1, _state(number, self.customer(number)), True, BORN, BORN))
            with cursor.copy("copy subjects (subject, account, dirty, synced, read_at) from stdin") as rows:
                for number in range(1, self.count + 1):
                    rows.write_row((f"stripe:cus_{number:07}", f"acct_{number:07}", 1, 1, BORN))
            names = "account, id, subject, status, provider_status, items"
            with cursor.copy(f"copy subscriptions ({names}) from stdin") as rows:
                for number in range(1, self.count + 1):
                    rows.write_row(
                        (f"acct_{number:07}", f"sub_{number:07}", f"stripe:cus_{number:07}", "active", "active", "[]")
                    )
            cursor.execute(
                """
                insert into sweeps (provider, dry_run, started_at, finished_at, counts)
                values ('stripe', false, %(at)s, %(at)s, '{}')
                """,
                {"at": BORN + DAY},
            )
            cursor.execute("analyze")


def _state(number: int, customer: Customer) -> str:
    fact = Fact(1, f"stripe:{customer.id}", 1, BORN, customer)
    return msgspec.json.encode(apply(Account(key=f"acct_{number:07}"), fact)).decode()


def _list(entries: list[bytes], has_more: bool) -> bytes:
    more = b"true" if has_more else b"false"
    return b'{"object": "list", "has_more": %s, "data": [%s]}' % (more, b",".join(entries))


def _subscription() -> Json:
    """One subscription of the simulator, expanded as a sweep asks for it; `@@` stands where its number goes."""
    engine = Engine(seed=1, now=BORN)

    def post(path: str, params: Json) -> Json:
        answer = engine.request("POST", path, params)
        assert answer.status == 200, answer.body
        return answer.body

    product = post("/v1/products", {"name": "Pro"})["id"]
    recurring = {"interval": "month"}
    price: Json = {"product": product, "currency": "usd", "unit_amount": "9900", "lookup_key": "pro_monthly"}
    price_id = post("/v1/prices", {**price, "recurring": recurring})["id"]
    buyer = post("/v1/customers", {"name": "Acme", "email": "ann@acme.example", "payment_method": "pm_card_visa",
                                   "invoice_settings": {"default_payment_method": "pm_card_visa"}})  # fmt: skip
    bought = post("/v1/subscriptions", {"customer": buyer["id"], "items": [{"price": price_id}]})
    listed = engine.request("GET", "/v1/subscriptions", {"expand": ["data.customer", "data.latest_invoice"]}).body[
        "data"
    ][0]
    text = json.dumps(listed).replace(bought["id"], "sub_@@").replace(buyer["id"], "cus_@@")
    made: Json = json.loads(text)
    made["customer"]["metadata"] = {"paygrade_account": "acct_@@"}
    return made
