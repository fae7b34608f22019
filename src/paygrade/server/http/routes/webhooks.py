"""Where billing events come in. No key: a signature over the raw bytes says who sent them."""

from litestar import post

from paygrade.server.http.bodies import read_aside
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.sync import inbox as sync
from paygrade.values.errors import Refused, Unavailable


@post(
    "/webhooks/stripe",
    status_code=200,
    opt=describe(
        "Receive a billing event of Stripe",
        "billing",
        sent=Sent(example=examples.BILLING_EVENT),
        example={"new": True},
        problems=(
            "malformed_json",
            "invalid_body",
            "provider_payload_invalid",
            "signature_missing",
            "signature_invalid",
            "signature_expired",
            "webhooks_not_configured",
        ),
        needs_key=False,
    ),
)
async def stripe_webhook(request: HttpRequest, parts: InContext) -> sync.Received:
    """Keep the event and mark its subject for reading; 200 means both are durable. The event's content is never
    applied. Types that concern no access are kept as well."""
    if parts.verify is None:
        detail = "no webhook secret is set here; put the endpoint's signing secret into PAYGRADE_STRIPE_WEBHOOK_SECRET"
        raise Unavailable("webhooks_not_configured", detail)
    now = parts.clock.now()
    header = request.headers.get("stripe-signature")
    try:
        parts.verify.look(header, now)
        raw = await read_aside(request)
        ref = parts.verify.verify(raw, header, now)
    except Refused:
        parts.metrics.billing_events.labels(outcome="refused").inc()
        raise
    received = await sync.receive_event(parts.store, ref=ref, body=raw, at=now)
    parts.metrics.billing_events.labels(outcome="received" if received.new else "duplicate").inc()
    return received
