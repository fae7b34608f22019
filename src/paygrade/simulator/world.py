"""The simulated account: every object, the clock, what falls due, and the events not yet handed out.

Objects are Stripe's JSON documents, held as dicts and changed in place. A change made inside `changing(…)`
gives exactly one event with its previous attributes. The world never looks at a real clock and draws all of
its randomness from its seed, so the same requests and advances give the same world, ids included.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from paygrade.simulator import errors
from paygrade.simulator.forms import Json
from paygrade.simulator.shapes import account as account_shapes
from paygrade.simulator.state.cards import Card
from paygrade.simulator.state.changes import Debit, HeldChange, Resumption
from paygrade.simulator.state.event_log import EventLog
from paygrade.simulator.state.settings import Settings
from paygrade.simulator.state.usage import Usage
from paygrade.simulator.state.visits import Checkout, PaymentLink, PortalVisit
from paygrade.simulator.time.timeline import Timeline

API_VERSION = "2026-10-28.endive"
ID_LETTERS = string.ascii_letters + string.digits


@dataclass(slots=True)
class Request:
    """The API request under way, as events mention it."""

    id: str | None = None
    idempotency_key: str | None = None
    account: str | None = None  # the connected account it is made for (`Stripe-Account`)


@dataclass(slots=True)
class World:
    seed: int
    time: Timeline  # the one lived by: everyone's, or that of a test clock
    settings: Settings = field(default_factory=Settings)
    objects: dict[str, Json] = field(default_factory=dict)  # by id, every kind
    shelves: dict[str, list[str]] = field(default_factory=dict)  # kind, or kind/owner → ids, oldest first
    places: dict[str, dict[str, int]] = field(default_factory=dict)  # kind → where each id stands on its shelf
    cards: dict[str, Card] = field(default_factory=dict)  # by payment method id
    pending_lines: dict[str, list[Json]] = field(default_factory=dict)  # subscription id → lines to be invoiced
    debits: dict[str, Debit] = field(default_factory=dict)  # subscription item id → its last debit
    resumptions: dict[str, Resumption] = field(default_factory=dict)  # subscription id
    held_changes: dict[str, HeldChange] = field(default_factory=dict)  # by subscription id
    timelines: dict[str, Timeline] = field(default_factory=dict)  # by test clock
    looks: dict[str, int] = field(default_factory=dict)  # test clock under way → how often it was looked at
    usage: dict[tuple[str, str], list[Usage]] = field(default_factory=dict)  # by event name and customer
    identifiers: dict[str, int] = field(default_factory=dict)  # of meter events → when they were told
    checkouts: dict[str, Checkout] = field(default_factory=dict)  # by session id
    payment_links: dict[str, PaymentLink] = field(default_factory=dict)  # by id
    portal_visits: dict[str, PortalVisit] = field(default_factory=dict)  # by session id
    price_options: dict[str, dict[str, Json]] = field(default_factory=dict)  # price id → currency → what it costs
    webhook_secrets: dict[str, str] = field(default_factory=dict)  # of the webhook endpoints made by API, by id
    subscribers_touched: set[str] = field(default_factory=set)  # customers whose entitlements may have changed
    entitled: dict[str, tuple[str, ...]] = field(default_factory=dict)  # customer → the features last told of
    line_rates: dict[str, list[Json]] = field(default_factory=dict)  # line id → the tax rates of its item
    plans: dict[str, Json] = field(default_factory=dict)  # price id → its older face, shared by all items
    request: Request = field(default_factory=Request)
    base_url: str = "http://127.0.0.1:4711"  # where its pages are, as the customer's browser reaches them
    events: EventLog = field(default_factory=EventLog)
    fresh_events: list[str] = field(default_factory=list)
    random: random.Random = field(init=False)
    account: Json = field(init=False)  # who we are, as `GET /v1/account` shows it
    _open: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        # Not drawn from the seed's randomness, so that a seed gives the ids it always gave.
        self.account = account_shapes.account(id=f"acct_simulated{self.seed:09}", at=self.at)

    @property
    def now(self) -> datetime:
        return self.time.now

    @now.setter
    def now(self, instant: datetime) -> None:
        self.time.now = instant

    @contextmanager
    def living_by(self, clock: str | None) -> Iterator[None]:
        """Live in a test clock's time; None changes nothing."""
        before = self.time
        self.time = self.timelines[clock] if clock else before
        try:
            yield
        finally:
            self.time = before

    @property
    def at(self) -> int:
        """The clock in Stripe's whole seconds."""
        return int(self.now.timestamp())

    def new_id(self, prefix: str, *, length: int = 24) -> str:
        return f"{prefix}_{''.join(self.random.choices(ID_LETTERS, k=length))}"

    def put(self, thing: Json, *owners: str) -> Json:
        """Keep a new object, listed under its kind and under each owner (a customer, a subscription, …)."""
        self.objects[thing["id"]] = thing
        self._shelve(thing["object"], thing["id"])
        for owner in owners:
            self.list_under(thing, owner)
        return thing

    def list_under(self, thing: Json, owner: str) -> None:
        """List an object under one more owner; being there already is fine."""
        self._shelve(f"{thing['object']}/{owner}", thing["id"])

    def _shelve(self, shelf: str, id: str) -> None:
        ids = self.shelves.setdefault(shelf, [])
        if self.place(shelf, id) is None:
            if "/" not in shelf:
                self.places.setdefault(shelf, {})[id] = len(ids)
            ids.append(id)

    def place(self, shelf: str, id: str) -> int | None:
        """Tell where an id stands on a shelf. An owner's shelves are short, and searched."""
        if "/" not in shelf:
            return self.places.get(shelf, {}).get(id)
        ids = self.shelves.get(shelf, [])
        return ids.index(id) if id in ids else None

    def find(self, kind: str, id: str | None) -> Json | None:
        thing = self.objects.get(id) if id else None
        return thing if thing is not None and thing["object"] == kind else None

    def get(self, kind: str, id: str, *, param: str = "id") -> Json:
        thing = self.find(kind, id)
        if thing is None:
            raise errors.missing(kind=kind, id=id, param=param)
        return thing

    def live_customer(self, id: str, *, param: str = "customer") -> Json:
        """Give a customer that a request names, unless it is unknown or was deleted."""
        customer = self.get("customer", id, param=param)
        if customer.get("deleted"):
            raise errors.missing(kind="customer", id=id, param=param)
        return customer

    def owned(self, kind: str, owner: str) -> list[Json]:
        """Give the objects of a kind under an owner, newest first."""
        ids = reversed(self.shelves.get(f"{kind}/{owner}", []))
        return [self.objects[id] for id in ids if id in self.objects]

    def schedule(self, due: int, what: str, id: str) -> None:
        """Note what falls due; the one who handles it looks again whether it still applies."""
        self.time.schedule(due, what, id)

    def await_invoice(self, subscription: str, lines: list[Json]) -> None:
        """Let lines wait for the subscription's next invoice; what they debit can be credited from now on."""
        self.pending_lines.setdefault(subscription, []).extend(lines)
        self.remember_debits(lines)

    def prorations(self, customer: str) -> list[Json]:
        """Give the prorations that wait for an invoice of this customer, newest first."""
        its = [id for id in self.pending_lines if self.objects[id]["customer"] == customer]
        waiting = [line for id in its for line in self.pending_lines[id]]
        return [
            line for line in reversed(waiting) if (line["parent"]["subscription_item_details"] or {}).get("proration")
        ]

    def remember_debits(self, lines: list[Json]) -> None:
        """Note what these lines debit, one Debit an item: the lines of its tiers count together, and what was debited
        before a credit is given back by that, however close together they come."""
        fresh: dict[str, Debit] = {}
        for line in lines:
            details = line["parent"]["subscription_item_details"]
            if details is not None and line["amount"] < 0:
                fresh.pop(details["subscription_item"], None)
            elif details is not None and line["quantity"] is not None:
                debit = Debit(
                    amount=line["amount"] - sum(off["amount"] for off in line["discount_amounts"]),
                    quantity=line["quantity"],
                    period_start=line["period"]["start"],
                    period_end=line["period"]["end"],
                    invoice=line["invoice"],
                    lines=(line["id"],),
                )
                before = fresh.get(details["subscription_item"])
                fresh[details["subscription_item"]] = debit if before is None else before.joined(debit)
        self.debits.update(fresh)

    def emit(self, type: str, thing: Json, *, previous: Json | None = None) -> None:
        """Create an event that holds the object as it stands now."""
        data: Json = {"object": thing}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Json = {
            "id": self.new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.at,
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": self.request.id, "idempotency_key": self.request.idempotency_key},
            "type": type,
        }
        if self.request.account is not None:
            event["account"] = self.request.account
        self._keep(event)
        self.fresh_events.append(event["id"])
        if type.startswith("customer.subscription."):
            self.subscribers_touched.add(thing["customer"])

    def repeat_event(self, id: str) -> Json:
        """Make a second event, of another id, that tells of the same change."""
        event = {**self.get_event(id), "id": self.new_id("evt")}
        self._keep(event)
        return event

    def get_event(self, id: str) -> Json:
        event = self.events.get(id)
        if event is None:
            raise errors.missing(kind="event", id=id)
        return event

    def _keep(self, event: Json) -> None:
        self.events.keep(event)
        self._shelve("event", event["id"])

    @contextmanager
    def changing(self, thing: Json, type: str | None = None) -> Iterator[None]:
        """Emit one `….updated` event if the object differs at the end; inner changes join the outer one."""
        if thing["id"] in self._open:
            yield
            return
        before = copied(thing)
        with self.holding(thing):
            yield
        if previous := previous_attributes(before, thing):
            self.emit(type or f"{EVENT_NOUNS[thing['object']]}.updated", thing, previous=previous)

    @contextmanager
    def holding(self, thing: Json) -> Iterator[None]:
        """Emit no updates of an object that is still being made."""
        self._open.add(thing["id"])
        try:
            yield
        finally:
            self._open.discard(thing["id"])


EVENT_NOUNS = {
    "customer": "customer",
    "product": "product",
    "price": "price",
    "payment_method": "payment_method",
    "subscription": "customer.subscription",
    "invoice": "invoice",
    "invoiceitem": "invoiceitem",
    "refund": "refund",
    "dispute": "charge.dispute",
    "credit_note": "credit_note",
    "coupon": "coupon",
    "billing.meter": "billing.meter",
    "subscription_schedule": "subscription_schedule",
    "promotion_code": "promotion_code",
    "billing_portal.configuration": "billing_portal.configuration",
    "charge": "charge",
    "tax_rate": "tax_rate",
    "plan": "plan",
    "entitlements.feature": "entitlements.feature",
    "billing.credit_grant": "billing.credit_grant",
    "payment_link": "payment_link",
}


def copied(thing: Json) -> Json:
    return msgspec.json.decode(msgspec.json.encode(thing), type=dict[str, Any])


def previous_attributes(before: Json, after: Json) -> Json:
    """Give the earlier values of what changed: objects show their changed fields only, arrays come whole."""
    previous: Json = {}
    for name, old in before.items():
        new = after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            if inner := previous_attributes(old, new):
                previous[name] = inner
        elif old != new:
            previous[name] = old
    previous.update({name: None for name in after if name not in before})
    return previous
