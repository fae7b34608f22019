"""What is written to Stripe: usage told to meters, top-ups bought, and plan changes made.

Laws: everything written carries an id of ours, so that doing it again does nothing; what Stripe refused is Refused and
had no effect, what is in doubt is Unavailable and may be done again.
"""

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from paygrade.billing.facts import Returned
from paygrade.changes.order import ChangeOrder, Progress
from paygrade.providers.stripe.connection import Gone, NotTaken, StripeConnection, not_understood
from paygrade.providers.stripe.fields import Json
from paygrade.providers.stripe.orders import StripeOrders
from paygrade.providers.stripe.top_ups import Purchases
from paygrade.usage.provider_reports import MeterEvent
from paygrade.usage.top_ups import Bill, Order
from paygrade.values.errors import Refused

PAGE_SIZE = 100


class _Meter(Struct, frozen=True):
    """A meter of the Stripe account: under which keys its events name the customer and the value."""

    id: str
    customer_key: str
    value_key: str


class StripeCommands:
    """One Stripe account, written to through one API key. Safe to share between threads; every call blocks."""

    name = "stripe"

    def __init__(self, connection: StripeConnection) -> None:
        self._connection = connection
        self._meters: dict[str, _Meter] = {}
        self._lock = threading.Lock()
        self._purchases = Purchases(connection)
        self._orders = StripeOrders(connection)

    def advance(self, order: Order) -> Bill:
        """Take the next step of a purchase. Refused and Unavailable."""
        return self._purchases.advance(order)

    def returned(self, order: Order) -> Returned:
        """What went back of the money of a purchase. Refused and Unavailable."""
        return self._purchases.returned(order)

    def advance_change(self, order: ChangeOrder) -> Progress:
        """Take the next step of a plan change. Refused and Unavailable."""
        return self._orders.advance(order)

    def report_usage(self, event: MeterEvent) -> None:
        """Tell a meter of usage; an event told before counts once, for at least 24 hours. Refused and Unavailable.

        Stripe keeps its own failures under an idempotency key and answers with them again, so the event's identifier
        alone says that it is the same one (https://docs.stripe.com/api/idempotent_requests).
        """
        meter = self._meter(event.meter)
        try:
            self._connection.post(
                "/v1/billing/meter_events",
                idempotency_key=None,
                event_name=event.meter,
                identifier=event.identifier,
                timestamp=int(event.at.timestamp()),
                payload={meter.customer_key: event.customer, meter.value_key: str(event.quantity)},
            )
        except NotTaken as refused:
            if _told_before(refused, event.identifier):
                return
            with self._lock:
                self._meters.pop(event.meter, None)
            raise Refused("report_refused", f"Stripe refused the usage: {refused.message}") from refused

    def reported_usage(self, *, customer: str, meter: str, from_at: datetime, until: datetime) -> int:
        """What Stripe has been told of a customer within `[from_at, until)`, which are whole minutes.

        Stripe adds up events a while after it took them. Refused and Unavailable.
        """
        found = self._meter(meter)
        path = f"/v1/billing/meters/{found.id}/event_summaries"
        bounds = {"start_time": int(from_at.timestamp()), "end_time": int(until.timestamp())}
        try:
            page = self._connection.get(path, customer=customer, **bounds)
        except Gone as gone:
            raise Refused("report_refused", f"Stripe has no usage of `{customer}`: {gone}") from gone
        rows = page.get("data")
        if not isinstance(rows, list) or page.get("has_more") is True:
            raise not_understood(f"`{path}` answered without one sum in `data`")
        return sum(_value(row) for row in rows)

    def _meter(self, event_name: str) -> _Meter:
        """The active meter of that event name. Refused `report_refused` when there is none that adds up."""
        with self._lock:
            known = self._meters.get(event_name)
        if known is not None:
            return known
        payload = self._find_meter(event_name)
        if payload is None:
            raise Refused("report_refused", f"Stripe has no active meter for events named `{event_name}`")
        formula = _inner(payload, "default_aggregation").get("formula")
        if formula != "sum":
            # Deltas are told, which only a sum puts together again.
            raise Refused("report_refused", f"the meter `{event_name}` aggregates by `{formula}`; it must be `sum`")
        meter = _Meter(
            id=str(payload.get("id")),
            customer_key=str(_inner(payload, "customer_mapping").get("event_payload_key")),
            value_key=str(_inner(payload, "value_settings").get("event_payload_key")),
        )
        with self._lock:
            self._meters[event_name] = meter
        return meter

    def _find_meter(self, event_name: str) -> Json | None:
        after: dict[str, str] = {}
        while True:
            page = self._connection.get("/v1/billing/meters", status="active", limit=PAGE_SIZE, **after)
            meters = page.get("data")
            if not isinstance(meters, list) or not all(isinstance(meter, dict) for meter in meters):
                raise not_understood("`/v1/billing/meters` answered without a list in `data`")
            for meter in meters:
                if meter.get("event_name") == event_name:
                    return dict(meter)
            if page.get("has_more") is not True or not meters:
                return None
            after = {"starting_after": str(meters[-1].get("id"))}


def _told_before(refused: NotTaken, identifier: str) -> bool:
    """Whether Stripe refused an event because it has it. It names no code for that, so its message has to tell."""
    return refused.code == "duplicate_meter_event" or (
        identifier in refused.message and "already exists" in refused.message
    )


# Any: plain JSON of Stripe's.
def _inner(payload: Json, name: str) -> Mapping[str, Any]:
    found = payload.get(name)
    if not isinstance(found, dict):
        raise not_understood(f"a meter has no `{name}`")
    return found


def _value(row: object) -> int:
    value = row.get("aggregated_value") if isinstance(row, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise not_understood("a sum of meter events is not a whole number")
    return int(value)
