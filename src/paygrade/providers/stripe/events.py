"""What a Stripe event is about: which object, which subject, nothing more.

Laws: an event's body is never applied, only reduced to whom to ask about; snapshot events (`event`) and thin ones
(`v2.core.event`) reduce to the same; an event of an unknown type is no error.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

from paygrade.providers.stripe.fields import Json, Payload
from paygrade.providers.stripe.translate import owner_of

_SUBJECTS = frozenset(
    {
        "customer",
        "subscription",
        "subscription_schedule",
        "invoice",
        "charge",
        "dispute",
        "refund",
        "checkout.session",
        "test_helpers.test_clock",
    }
)
"""The objects a subject can be named after (the client resolves all but the first to their customer)."""


TYPES = (
    "customer.created",
    "customer.updated",
    "customer.deleted",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "subscription_schedule.updated",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_failed",
    "invoice.overdue",
    "invoice.marked_uncollectible",
    "invoice.voided",
    "charge.refunded",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.closed",
)
"""What a webhook endpoint has to send and a poll asks for (20 at most): docs/stripe.md says why each."""
TEST_TYPES = ("test_helpers.test_clock.ready",)
"""The same in test mode alone."""


class EventRef(Struct, frozen=True):
    """An event reduced to its references.

    `subject` is `stripe:cus_…`; `stripe:sub_…`, `stripe:sub_sched_…`, `stripe:in_…`, and that of a charge, refund or
    dispute where no customer is named; None where the event concerns no customer (products, prices, payouts…).
    """

    id: str
    type: str
    created_at: datetime
    subject: str | None
    object_id: str | None


class ListedEvent(EventRef, frozen=True):
    """An event as the list of events has it: its references, and its body."""

    body: bytes


def listed_event(event: Json) -> ListedEvent:
    """Reduce an event of the list; Refused("provider_payload_invalid") if it is no event."""
    found = refs(event)
    return ListedEvent(
        found.id, found.type, found.created_at, found.subject, found.object_id, msgspec.json.encode(event)
    )


def refs(event: Json) -> EventRef:
    """Reduce an event of either kind; Refused("provider_payload_invalid") if it is no event."""
    source = Payload(event, "event")
    thin = source.text("object") == "v2.core.event"
    created_at = source.written_instant("created") if thin else source.instant("created")
    if created_at is None:
        source.refuse("created", "an instant")
    if thin:
        concerned = source.child("related_object")
        object_id = concerned.text("id")
        named = object_id if concerned.text("type") in _SUBJECTS else None
    else:
        object_id, named = _snapshot(source.child("data"))
    return EventRef(
        id=source.required_text("id"),
        type=source.required_text("type"),
        created_at=created_at,
        subject=f"stripe:{named}" if named else None,
        object_id=object_id or None,
    )


def _snapshot(data: Payload) -> tuple[str | None, str | None]:
    concerned = data.child("object")
    object_id = concerned.text("id")
    if concerned.text("object") == "customer":
        return object_id, object_id
    # A payment method that was detached names its customer among the previous values only.
    customer = owner_of(concerned) or data.child("previous_attributes").id_of("customer")
    # A session without a customer sold nothing to anybody who has an account.
    if customer is None and concerned.text("object") in _SUBJECTS - {"checkout.session"}:
        return object_id, object_id
    return object_id, customer or concerned.id_of("subscription") or concerned.id_of("invoice")
