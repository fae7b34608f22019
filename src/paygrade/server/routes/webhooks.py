"""Where billing events come in. No key: a signature over the raw bytes says who sent them."""

from typing import Literal

from litestar import Request, post
from msgspec import Struct

from paygrade.errors import Refused
from paygrade.server.openapi import Sent, tell
from paygrade.server.operations import sync
from paygrade.server.parts import Here
from paygrade.server.routes import examples


class Receipt(Struct, frozen=True):
    """What became of a billing event. A duplicate was kept before; nothing follows from it."""

    received: bool
    duplicate: bool


@post(
    "/webhooks/stripe",
    status_code=200,
    opt=tell(
        "Receive a billing event of Stripe",
        "billing",
        sent=Sent(example=examples.BILLING_EVENT),
        example={"received": True, "duplicate": False},
        problems=("signature_missing", "signature_invalid", "signature_expired", "event_malformed"),
        needs_key=False,
    ),
)
async def stripe_webhook(request: Request, parts: Here) -> Receipt:
    """Keep the event and mark its subject for reading; 200 means both are durable. The event's content is never
    applied. Types that concern no access are kept as well."""
    if parts.verify is None:
        detail = "no webhook secret is set here; put the endpoint's signing secret into PAYGRADE_STRIPE_WEBHOOK_SECRET"
        raise Refused("webhooks_not_configured", detail)
    now = parts.clock.now()
    raw = await request.body()
    try:
        ref = parts.verify(raw, request.headers.get("stripe-signature"), now)
    except Refused:
        parts.metrics.billing_events.labels(outcome="refused").inc()
        raise
    fresh = await sync.receive_event(parts.store, ref=ref, body=raw, at=now)
    parts.metrics.billing_events.labels(outcome="received" if fresh else "duplicate").inc()
    return Receipt(received=True, duplicate=not fresh)
