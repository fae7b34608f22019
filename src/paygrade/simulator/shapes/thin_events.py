"""Thin notifications: an event without its object, which the receiver fetches (Stripe docs: event destinations)."""

from __future__ import annotations

from datetime import UTC, datetime

from paygrade.simulator.forms import Json

PATHS = {
    "billing.meter": "billing/meters",
    "dispute": "disputes",
    "subscription_schedule": "subscription_schedules",
    "test_helpers.test_clock": "test_helpers/test_clocks",
}


def notification(event: Json) -> Json:
    """Give the thin form of a snapshot event: its id, its type with the API's version, and where the object is."""
    request = event["request"]
    reason = {"type": "request", "request": {**request, "idempotency_key": request["idempotency_key"] or ""}}
    return {
        "id": event["id"],
        "object": "v2.core.event",
        "type": f"v1.{event['type']}",
        "livemode": False,
        "created": datetime.fromtimestamp(event["created"], UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "context": None,
        "reason": reason if request["id"] else None,
        "related_object": _related(event),
    }


def full(event: Json) -> Json:
    """Give the event as `GET /v2/core/events/{id}` does."""
    return {**notification(event), "changes": None, "snapshot_event": event["id"]}


def _related(event: Json) -> Json | None:
    thing = event["data"]["object"]
    if "id" not in thing:
        return None  # an upcoming invoice
    kind = thing["object"]
    name = "customer.subscription" if kind == "subscription" else kind
    return {"id": thing["id"], "type": name, "url": f"/v1/{PATHS.get(kind, f'{kind}s')}/{thing['id']}"}
