"""Where billing events come in. No key: a signature over the raw bytes says who sent them."""

from litestar import post

from paygrade.server.http.bodies import read_aside, refuse_long
from paygrade.server.http.context import HttpRequest, InContext
from paygrade.server.http.openapi import Sent, describe
from paygrade.server.http.routes import examples
from paygrade.server.operations.sync import inbox as sync
from paygrade.values.errors import Refused, Unavailable


@post(
    "/webhooks/stripe",
    status_code=200,
    opt=describe(
        "billing",
        sync.receive_event,
        sent=Sent(examples.BILLING_EVENT),
        example={"new": True},
        problems=("malformed_json", "invalid_body", "provider_payload_invalid", "signature_missing",
                  "signature_invalid", "signature_expired", "webhooks_not_configured", "clock_unavailable",
                  "database_unavailable"),
        scope=None,
    ),
)  # fmt: skip
async def stripe_webhook(request: HttpRequest, context: InContext) -> sync.Received:
    refuse_long(request)
    if context.verify is None:
        detail = "no webhook secret is configured; set PAYGRADE_STRIPE_WEBHOOK_SECRET to the endpoint's signing secret"
        raise Unavailable("webhooks_not_configured", detail)
    now = context.clock.now()
    header = request.headers.get("stripe-signature")
    try:
        context.verify.look(header, now)
        raw = await read_aside(request)
        ref = context.verify.verify(raw, header, now)
    except Refused:
        context.metrics.billing_events.labels(outcome="refused").inc()
        raise
    received = await sync.receive_event(context.store, ref=ref, body=raw, at=now)
    context.metrics.billing_events.labels(outcome="received" if received.new else "duplicate").inc()
    return received
