"""Stripe as a worker sees it from afar: the engine's answers, late, slow, from the past, or none at all.

Laws: the engine is always at the loop's instant; what it said of each customer at each instant is kept, and so is
every event, so that the requests of one slow fetch, each page of a sweep and each page of events are answered from
the different instants they reach Stripe at; an answer is never from the future.
The client's own code runs (paging, expanding, redirects): only `_get`, which goes to the network,
is replaced by one that goes to the engine.
"""

import bisect
import random
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from paygrade.billing.facts import Customer
from paygrade.providers.stripe import translate
from paygrade.providers.stripe.client import StripeProvider
from paygrade.providers.stripe.connection import Gone
from paygrade.providers.stripe.fields import Json
from paygrade.providers.stripe.planned_prices import PlannedPrices
from paygrade.simulator.engine import Engine
from paygrade.values.errors import Unavailable

from .loop import START, VirtualLoop

Event = dict[str, Any]
EXPANDED = ["data.latest_invoice", "data.customer", "data.schedule"]
LISTED_S = 30 * 86_400
"""How long Stripe lists an event."""
EVENTS_PAGE = 25


class Told(Struct, frozen=True):
    """What Stripe would have answered about a customer from `at_s` on: copies, which nobody changes."""

    at_s: float
    customer: Json
    subscriptions: list[Json]
    invoices: list[Json]


class Stripe:
    """The engine on the loop's clock, and its past."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.engine = Engine(seed, START)
        self.customers: list[str] = []
        self.sent: Callable[[list[Event]], None] = lambda events: None
        self._loop = loop
        self._told: dict[str, list[Told]] = {}
        self._events: list[tuple[float, Event]] = []

    def ask(self, path: str, *, method: str = "POST", **params: Any) -> Any:
        """Change something, as the shop or its customers do; None where Stripe refuses."""
        self.catch_up()
        response = self.engine.request(method, path, params)
        assert response.status in (200, 400, 402, 404), response
        self._publish()
        return response.body if response.status == 200 else None

    def request(self, method: str, path: str, params: dict[str, Any], key: str | None) -> tuple[int, dict[str, Any]]:
        """What Stripe answers to one request of ours, and when it is seen: at once."""
        self.catch_up()
        response = self.engine.request(method, path, params, idempotency_key=key)
        body = msgspec.json.decode(msgspec.json.encode(response.body))
        self._publish()
        return response.status, body

    @property
    def history(self) -> tuple[Event, ...]:
        """Every event there ever was, the oldest first."""
        return tuple(event for _, event in self._events)

    def catch_up(self) -> None:
        """Let everything happen that is due by now."""
        if self.engine.now < self._loop.now():
            self.engine.advance_to(self._loop.now())
            self._publish()

    def due_s(self) -> float | None:
        """When the engine does something by itself, on the loop's clock."""
        due = self.engine.next_due
        return None if due is None else (due - START).total_seconds()

    def truth(self, customer: str) -> tuple[Json, list[Json], list[Json]]:
        """What Stripe says of a customer right now: itself, all subscriptions, all open invoices, and of those in
        arrears the last that was paid."""
        bought = self._listed("/v1/subscriptions", customer=customer, status="all", expand=EXPANDED)
        owing = [entry for entry in bought if entry["status"] in ("past_due", "unpaid")]
        invoices = self._listed("/v1/invoices", customer=customer, status="open")
        for entry in owing:
            invoices += self._read("/v1/invoices", subscription=entry["id"], status="paid", limit="1")["data"]
        return (
            self._read(f"/v1/customers/{customer}"),
            PlannedPrices(lambda path: self._read(path)).filled_in(bought),
            invoices,
        )

    def translated(self, customer: str) -> Customer:
        """The same, in our words."""
        payload, bought, invoices = self.truth(customer)
        invoices = PlannedPrices(lambda path: self._read(path)).with_prices(invoices, bought)
        return translate.customer(payload, bought, invoices)

    def told(self, customer: str, at_s: float) -> Told | None:
        """What it would have said at that instant; None: there was no such customer yet."""
        past = self._told.get(customer, [])
        found = bisect.bisect_right(past, at_s, key=lambda told: told.at_s)
        return past[found - 1] if found else None

    def subscriptions(self, at_s: float) -> list[Json]:
        """Every subscription there was at that instant, as it was then, the newest first."""
        told = filter(None, (self.told(customer, at_s) for customer in self.customers))
        found = {entry["id"]: entry for each in told for entry in each.subscriptions}
        return [found[id] for id in reversed(self.engine.world.shelves.get("subscription", [])) if id in found]

    def buyers(self, at_s: float) -> list[Json]:
        """Every customer there was at that instant and was not deleted, the newest first."""
        told = filter(None, (self.told(customer, at_s) for customer in self.customers))
        found = {each.customer["id"]: each.customer for each in told}
        there = [found[id] for id in reversed(self.engine.world.shelves.get("customer", [])) if id in found]
        return [entry for entry in there if not entry.get("deleted")]

    def events(self, at_s: float, *, since: int, types: Collection[str]) -> list[Event]:
        """The events of these types that Stripe listed at that instant, the newest first."""
        oldest = max(since, int(START.timestamp() + at_s) - LISTED_S)
        known = [event for published_s, event in self._events if published_s <= at_s]
        return [event for event in reversed(known) if event["created"] >= oldest and event["type"] in types]

    def price(self, id: str) -> Json:
        """A price; nobody in the shop gives one another lookup key."""
        found: Json = self._read(f"/v1/prices/{id}")
        return found

    def anchors(self, subscription: str) -> set[datetime]:
        """Every billing cycle anchor this subscription was ever told to have."""
        told = (event["data"]["object"] for event in self.history if event["type"].startswith("customer.subscription."))
        return {datetime.fromtimestamp(one["billing_cycle_anchor"], UTC) for one in told if one["id"] == subscription}

    def owner(self, kind: str, id: str) -> str | None:
        found = self.engine.world.find(kind, id)
        return str(found["customer"]) if found else None

    def _publish(self) -> None:
        events = self.engine.take_events()
        for customer in dict.fromkeys(filter(None, map(concerned, events))):
            if customer not in self._told:
                self._told[customer] = []
                self.customers.append(customer)
            told = msgspec.json.decode(msgspec.json.encode(self.truth(customer)))
            self._told[customer].append(Told(self._loop.time(), *told))
        self._events += [(self._loop.time(), event) for event in events]
        if events:
            self.sent(events)

    def _listed(self, path: str, **params: Any) -> list[Json]:
        page = self._read(path, limit="100", **params)
        assert not page["has_more"]
        return list(page["data"])

    def _read(self, path: str, **params: Any) -> Any:
        response = self.engine.request("GET", path, params)
        assert response.status == 200, response
        return response.body


class Network(Struct, frozen=True):
    """How the way to Stripe is: shares of requests that fail, and how far behind the answers may be."""

    failing: float = 0.0
    slow: float = 0.0
    lag_s: float = 0.0


class EngineProvider(StripeProvider):
    """The client of `providers/stripe`, asking the engine."""

    def __init__(self, stripe: Stripe, loop: VirtualLoop, draw: random.Random, network: Network) -> None:
        self.network = network
        self.page_size = 100
        """How much Stripe puts on a page of all subscriptions or customers."""
        self._engine, self._loop, self._draw = stripe, loop, draw
        self._planned = PlannedPrices(self._find)
        self._is_test = True
        self._began_s = self._reached_s = -1.0
        self._lag_s = 0.0

    def thread_s(self) -> float:
        """How long a call takes."""
        if self._draw.random() < self.network.slow:
            return self._draw.choice((1.0, 5.0, 20.0, 70.0)) * self._draw.random()
        return 0.05 + 0.3 * self._draw.random()

    def _get(self, path: str, **params: Any) -> Json:
        if self._draw.random() < self.network.failing:
            raise self.failure()
        self._reach()
        _, _, kind, *ids = path.split("/")
        match kind, ids:
            case "customers", [id]:
                return self._told(id).customer
            case "subscriptions", [id]:
                told = self._told(self._engine.owner("subscription", id))
                return _one(told.subscriptions, id)
            case "subscription_schedules", [id]:
                return {"id": id, "customer": self._owner("subscription_schedule", id)}
            case "prices", [id]:
                return self._engine.price(id)
            case "invoices", [id]:
                return {"id": id, "customer": self._owner("invoice", id)}
            case "subscriptions", [] if "customer" in params:
                return {"data": self._told(params["customer"]).subscriptions}
            case "invoices", [] if "subscription" in params:
                told = self._told(self._engine.owner("subscription", params["subscription"]))
                return {"data": [one for one in told.invoices if _is_paid_of(one, params["subscription"])]}
            case "invoices", []:
                return {"data": [one for one in self._told(params["customer"]).invoices if one["status"] == "open"]}
            case "subscriptions", []:
                return self._cut(self._engine.subscriptions(self._as_of_s), params, self.page_size)
            case "customers", []:
                return self._cut(self._engine.buyers(self._as_of_s), params, self.page_size)
            case "events", []:
                known = self._engine.events(self._as_of_s, since=params["created"]["gte"], types=params["types"])
                return self._cut(known, params, EVENTS_PAGE)
        raise AssertionError(f"nobody asks for {path}")

    def _reach(self) -> None:
        """The first request of a thread reaches Stripe after it was begun, each other one after the one before, and the
        last is answered before the thread ends. All answers of a thread are equally old."""
        if self._loop.began_s != self._began_s:
            self._began_s = self._reached_s = self._loop.began_s
            behind = self.network.lag_s > 0 and self._draw.random() < 0.5
            self._lag_s = self._draw.random() * self.network.lag_s if behind else 0.0
        self._reached_s += (self._loop.time() - self._reached_s) * self._draw.random()

    @property
    def _as_of_s(self) -> float:
        return self._reached_s - self._lag_s

    def _cut(self, entries: Sequence[Json], params: dict[str, Any], size: int) -> Json:
        after, start = params.get("starting_after"), 0
        if after is not None:
            start = next((n for n, entry in enumerate(entries, 1) if entry["id"] == after), -1)
            if start < 0:
                raise Gone(f"no such object: '{after}'")
        end = start + size
        return {"data": entries[start:end], "has_more": end < len(entries)}

    def _told(self, customer: str | None) -> Told:
        told = self._engine.told(customer, self._as_of_s) if customer else None
        if told is None:
            raise Gone("no such customer")
        return told

    def _owner(self, kind: str, id: str) -> str:
        owner = self._engine.owner(kind, id)
        if owner is None:
            raise Gone(f"no such {kind}")
        return owner

    def failure(self) -> Unavailable:
        """What somebody hears whose request did not get through."""
        if self._draw.random() < 0.3:
            return Unavailable("provider_rate_limited", "Stripe asks to go slower", retry_after_s=5)
        return Unavailable("provider_unreachable", "Stripe answered 503")


def concerned(event: Event) -> str | None:
    """The customer whose answers an event may have changed."""
    thing = event["data"]["object"]
    named = thing["id"] if thing["object"] == "customer" else thing.get("customer")
    found: str | None = named or event["data"].get("previous_attributes", {}).get("customer")
    return found


def _is_paid_of(invoice: Json, subscription: str) -> bool:
    made_for = (invoice["parent"] or {}).get("subscription_details") or {}
    return bool(invoice["status"] == "paid" and made_for.get("subscription") == subscription)


def _one(found: list[Json], id: str) -> Json:
    for entry in found:
        if entry["id"] == id:
            return entry
    raise Gone(f"no such subscription: '{id}'")
