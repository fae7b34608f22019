"""Billing sync, as seen from outside: events come in, and how it stands goes out."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.drift import Reread
from paygrade.catalog.model import find_bought
from paygrade.entitlements.findings import findings
from paygrade.providers.port import EventRef, PolledEvent
from paygrade.server.operations.sync.repair import RepairStatus, repair_status
from paygrade.server.process import tracing

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

NO_SUBJECT = "none"
"""Where events are kept that concern no subject: prices, payouts, types that do not exist yet."""
KEPT = timedelta(days=45)
LISTED_MAX = 100


class Received(Struct, frozen=True):
    """What became of an event. `new` False: it was received before, and nothing more happens."""

    new: bool


class AccountFinding(Struct, frozen=True):
    """Something a person should look at, and of which account."""

    code: str
    account: str
    subject: str
    detail: str


class FailingSubject(Struct, frozen=True):
    """A subject that could not be read, how often in a row, and when it is tried again."""

    subject: str
    error: str
    attempts: int
    retry_at: datetime | None


class InboxCount(Struct, frozen=True):
    """How many billing events are kept, and how many of them wait for their subject to be read."""

    received: int
    unhandled: int


class SyncStatus(Struct, frozen=True):
    """The state of billing sync. `oldest_dirty_s`: how long the longest waiting subject has been; None: none waits.
    `reread`: how far reading customers again has come that a catalog asked for; None: none ever did."""

    clock: datetime
    subjects: int
    dirty: int
    oldest_dirty_s: float | None
    failing: tuple[FailingSubject, ...]
    inbox: InboxCount
    last_event_at: datetime | None
    findings: tuple[AccountFinding, ...]
    repair: RepairStatus
    reread: Reread | None = None


async def receive_event(store: "Store", *, ref: EventRef, body: bytes, at: datetime) -> Received:
    """Receive a billing event of Stripe.

    Store the event and mark its customer to be read; 200 means both are durable. The event's content is never applied.
    Types that don't concern access are stored as well.

    The event is verified. Once this returns, neither can be lost.
    """
    async with store.transaction() as tx:
        new = await _keep(tx, ref, body, polled=False, at=at)
        if new and ref.subject is not None:
            await tx.subjects.mark([ref.subject])
            await tx.tell("paygrade_subject")
    return Received(new=new)


async def receive_polled(store: "Store", *, events: Sequence[PolledEvent], missed: bool, at: datetime) -> int:
    """Keep events the provider listed and mark the subjects of new ones; returns how many were new.

    `missed`: they should have come by webhook.
    """
    async with store.transaction() as tx:
        new = [event for event in events if await _keep(tx, event, event.body, polled=missed, at=at)]
        subjects = [event.subject for event in new if event.subject is not None]
        if subjects:
            await tx.subjects.mark(subjects)
            await tx.tell("paygrade_subject")
    return len(new)


async def _keep(tx: "Transaction", ref: EventRef, body: bytes, *, polled: bool, at: datetime) -> bool:
    return await tx.inbox.add(
        subject=ref.subject or NO_SUBJECT,
        event_id=ref.id,
        type=ref.type,
        object_id=ref.object_id,
        created_at=ref.created_at,
        body=body,
        handled=ref.subject is None,
        polled=polled,
        traceparent=tracing.traceparent(),
        at=at,
    )


async def purge_inbox(store: "Store", *, at: datetime) -> int:
    """Forget handled events older than 45 days; returns how many."""
    async with store.transaction() as tx:
        return await tx.inbox.purge(kept=KEPT, at=at)


async def sync_status(store: "Store", provider: str, *, now: datetime) -> SyncStatus:
    """Retrieve the state of billing sync.

    How many customers wait to be read and for how long, which fail and why, the state of the latest sweep and of the
    poll, how many fields differ, and what needs attention.

    Lists at most 100 of each.
    """
    async with store.reading() as tx:
        # First of all: whoever sees a sweep finished must see what it marked.
        repair = await repair_status(tx, provider, now)
        subjects, dirty, oldest_dirty_s = await tx.subjects.queue()
        failing = await tx.subjects.failing(LISTED_MAX)
        received, unhandled, last_event_at = await tx.inbox.count()
        catalog = await tx.catalogs.in_force()
        unmapped = [item for item in await tx.accounts.items_sold() if find_bought(catalog, **item) is None]
        doubted = await tx.accounts.in_doubt(unmapped, LISTED_MAX)
        misplaced = await tx.accounts.misplaced_links(LISTED_MAX)
        reread = await tx.rereads.latest()
    found = [
        AccountFinding(finding.code, account.key, finding.subject, finding.detail)
        for account in doubted
        for finding in findings(account, catalog, account.time(now))
    ]
    found += link_conflicts(misplaced)
    return SyncStatus(
        clock=now,
        subjects=subjects,
        dirty=dirty,
        oldest_dirty_s=oldest_dirty_s,
        failing=tuple(FailingSubject(*row) for row in failing),
        inbox=InboxCount(received=received, unhandled=unhandled),
        last_event_at=last_event_at,
        findings=tuple(found[:LISTED_MAX]),
        repair=repair,
        reread=reread,
    )


def link_conflicts(misplaced: Iterable[tuple[str, str, str]]) -> list[AccountFinding]:
    """Of subjects that one account links and the metadata gives to another: subject, one, other."""
    return [
        AccountFinding(
            "link_conflict",
            linking,
            subject,
            f"`{linking}` links this customer, its metadata names `{other}`; the metadata wins",
        )
        for subject, linking, other in misplaced
    ]
