"""Billing events as support looks for them: whether one arrived, and what came of it.

Law: what an event says is not shown; it was never applied either.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from paygrade.server.operations.paging import cut, read_place
from paygrade.server.operations.sync.inbox import NO_SUBJECT

if TYPE_CHECKING:
    from paygrade.postgres.inbox import SavedEvent
    from paygrade.postgres.store import Store

EventState = Literal["waiting", "failing", "handled", "ignored"]


class BillingEvent(Struct, frozen=True, kw_only=True):
    """A billing event that was received. `state`: `waiting` for its subject to be read; `failing`: the subject can't be
    read, which `error`, `attempts` and `retry_at` say more of; `handled`: the subject was read since, at `handled_at`;
    `ignored`: it concerns no customer. `missed`: no webhook brought it; it was found in the provider's list.
    `created_at` is the provider's word."""

    id: str
    type: str
    subject: str | None
    account: str | None
    object_id: str | None
    created_at: datetime | None
    received_at: datetime
    missed: bool
    state: EventState
    handled_at: datetime | None
    error: str | None
    attempts: int
    retry_at: datetime | None


class BillingEventList(Struct, frozen=True):
    """Billing events, the latest first. `next` is the `before` of the next page; None: there is none."""

    events: tuple[BillingEvent, ...]
    next: str | None


async def list_events(
    store: "Store",
    *,
    id: str | None = None,
    state: EventState | None = None,
    account: str | None = None,
    subject: str | None = None,
    before: str | None = None,
    limit: int,
) -> BillingEventList:
    """List billing events.

    What the provider sent within the last 45 days, the latest first, and what came of each. An event that concerns two
    customers is listed for each. Refused `invalid_query`.
    """
    place = read_place(before, tuple[datetime, str, str], name="before")
    async with store.reading() as tx:
        found = await tx.inbox.page(
            id=id, state=state, account=account, subject=subject, before=place, limit=limit + 1, nothing=NO_SUBJECT
        )
    shown, next = cut(found, limit, lambda each: (each.received_at, each.subject, each.id))
    return BillingEventList(tuple([_view(each) for each in shown]), next)


def _view(event: "SavedEvent") -> BillingEvent:
    is_ignored, waits = event.subject == NO_SUBJECT, event.handled_at is None
    state: EventState = "handled"
    if is_ignored:
        state = "ignored"
    elif waits:
        state = "waiting" if event.error is None else "failing"
    return BillingEvent(
        id=event.id,
        type=event.type,
        subject=None if is_ignored else event.subject,
        account=event.account,
        object_id=event.object_id,
        created_at=event.created_at,
        received_at=event.received_at,
        missed=event.polled,
        state=state,
        handled_at=None if is_ignored else event.handled_at,
        # What else is wrong with the subject has come after an event that was handled.
        error=event.error if waits else None,
        attempts=event.attempts if waits else 0,
        retry_at=event.retry_at if waits else None,
    )
