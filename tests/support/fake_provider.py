"""The world that billing sync reads: a provider whose customers a test sets up as it likes, and its events."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from paygrade.billing.facts import Customer, Item, Subscription
from paygrade.billing.invoices import Invoice
from paygrade.server.process.clock import Clock
from paygrade.values.states import Status

T0 = datetime(2026, 3, 10, 12, tzinfo=UTC)

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "features": {
        "exports": {"kind": "boolean", "access": "read"},
        "retention": {"kind": "config", "type": "integer"},
        "seats": {"kind": "level"},
        "api_calls": {"kind": "metered", "event": "api_call"},
    },
    "plans": {
        "free": {"default": True, "entitlements": {"seats": 1}},
        "pro": {
            "prices": {"monthly": {"amount": 9900, "currency": "usd", "interval": "month", "stripe": "pro_monthly"}},
            "entitlements": {"exports": True, "seats": 5, "api_calls": {"limit": 1000, "every": "month"}},
        },
    },
    "policies": {"unpaid": [{"then": "none"}]},
}


class Event(Struct, frozen=True):
    """A billing event, reduced to its references."""

    id: str
    subject: str | None = "stripe:cus_1"
    type: str = "customer.subscription.updated"
    object_id: str | None = "sub_1"
    created_at: datetime = T0


class Elsewhere(Struct, frozen=True):
    """The answer that another subject has what was asked for, and `others`."""

    subject: str
    others: tuple[str, ...] = ()


Answer = Customer | Elsewhere | None


def customer(
    *subscriptions: Subscription, id: str = "cus_1", account: str | None = "acme", deleted: bool = False
) -> Customer:
    return Customer(id, T0, subscriptions, account=account, name="Acme Inc", deleted=deleted)


def pro(status: Status | None = "active", *, id: str = "sub_1", quantity: int = 1, lookup_key: str = "pro_monthly",
        until: datetime | None = None, ends_at: datetime | None = None) -> Subscription:  # fmt: skip
    item = Item("si_1", quantity, lookup_key=lookup_key, period_from_at=T0, period_until=until)
    return Subscription(id, status, (item,), T0, provider_status=status or "napping", ends_at=ends_at)


class World:
    """A provider. `answers` is what it says of each subject now, `billed` of its invoices; `before` runs within each
    fetch, in its thread."""

    name = "stripe"

    def __init__(self, answers: dict[str, Answer] | None = None) -> None:
        self.answers: dict[str, Answer] = answers or {}
        self.billed: dict[str, tuple[Invoice, ...]] = {}
        self.asked: list[str] = []
        self.known_live: list[tuple[str, ...]] = []
        self.before: Callable[[str], None] = lambda subject: None
        self._lock = threading.Lock()

    def fetch(
        self, subject: str, known_live: Sequence[str] = (), *, returned: bool = False, credited: bool = False
    ) -> Answer:
        with self._lock:
            self.asked.append(subject)
            self.known_live.append(tuple(known_live))
        self.before(subject)
        return self.answers.get(subject)

    def invoices(self, subject: str) -> tuple[Invoice, ...]:
        said = self.billed.get(subject, ())
        self.before(f"invoices of {subject}")
        return said


class SetClock(Clock):
    """A clock that stands where it was set."""

    def __init__(self, at: datetime = T0) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        return self.at
