"""Billing sync, as seen from outside: events come in, and how it stands goes out."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from paygrade.catalog import find_bought
from paygrade.findings import findings
from paygrade.server.operations.catalogs import EMPTY

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

NO_SUBJECT = "none"
"""Where events are kept that concern no subject: prices, payouts, types that do not exist yet."""
KEPT = timedelta(days=45)
LISTED_MAX = 100
_PAGE = 1000


class EventRef(Protocol):
    """A billing event reduced to its references, as each provider's `refs` makes it."""

    @property
    def id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def object_id(self) -> str | None: ...


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
    """How billing sync stands. `oldest_dirty_s`: how long the longest waiting subject has been; None: none waits."""

    clock: datetime
    subjects: int
    dirty: int
    oldest_dirty_s: float | None
    failing: tuple[FailingSubject, ...]
    inbox: InboxCount
    last_event_at: datetime | None
    findings: tuple[AccountFinding, ...]


class Marked(Struct, frozen=True):
    """How many subjects will be read again, and how many of them were not known before."""

    subjects: int
    discovered: int


async def receive_event(store: "Store", *, ref: EventRef, body: bytes, at: datetime) -> Received:
    """Keep a verified event and mark its subject. Once this returns, neither can be lost."""
    subject = ref.subject
    async with store.transaction() as tx:
        new = await tx.inbox.add(
            subject=subject or NO_SUBJECT,
            event_id=ref.id,
            type=ref.type,
            object_id=ref.object_id,
            created_at=ref.created_at,
            body=body,
            handled=subject is None,
            at=at,
        )
        if new and subject is not None:
            await tx.subjects.mark([subject])
            await tx.tell("paygrade_subject")
    return Received(new=new)


async def mark_all_dirty(store: "Store") -> int:
    """Read every known subject again, whether or not an event said so; returns how many."""
    marked, after = 0, ""
    while True:
        async with store.transaction() as tx:
            page = await tx.subjects.known(after=after, limit=_PAGE)
            if not page:
                return marked
            await tx.subjects.mark(page, swept=True)
            await tx.tell("paygrade_subject")
        marked, after = marked + len(page), page[-1]


async def mark_discovered(store: "Store", *, subjects: Iterable[str]) -> int:
    """Read those of these subjects that belong to no account yet; returns how many."""
    async with store.transaction() as tx:
        unknown = await tx.subjects.unknown(subjects)
        if unknown:
            await tx.subjects.mark(unknown, swept=True)
            await tx.tell("paygrade_subject")
    return len(unknown)


async def purge_inbox(store: "Store", *, at: datetime) -> int:
    """Forget handled events older than 45 days; returns how many."""
    async with store.transaction() as tx:
        return await tx.inbox.purge(kept=KEPT, at=at)


async def sync_status(store: "Store", *, now: datetime) -> SyncStatus:
    """How billing sync stands, with what a person should look at. Lists at most 100 of each."""
    async with store.transaction() as tx:
        subjects, dirty, oldest_dirty_s = await tx.subjects.queue()
        failing = await tx.subjects.failing(LISTED_MAX)
        received, unhandled, last_event_at = await tx.inbox.count()
        saved = await tx.catalogs.load()
        catalog = saved.catalog if saved else EMPTY
        unmapped = [item for item in await tx.accounts.items_sold() if find_bought(catalog, **item) is None]
        doubted = await tx.accounts.in_doubt(unmapped, LISTED_MAX)
        misplaced = await tx.accounts.misplaced_links(LISTED_MAX)
    found = [
        AccountFinding(finding.code, account.key, finding.subject, finding.detail)
        for account in doubted
        for finding in findings(account, catalog)
    ]
    found += [
        AccountFinding(
            "link_conflict",
            linking,
            subject,
            f"`{linking}` links this customer, its metadata names `{other}`; the metadata wins",
        )
        for subject, linking, other in misplaced
    ]
    return SyncStatus(
        clock=now,
        subjects=subjects,
        dirty=dirty,
        oldest_dirty_s=oldest_dirty_s,
        failing=tuple(FailingSubject(*row) for row in failing),
        inbox=InboxCount(received=received, unhandled=unhandled),
        last_event_at=last_event_at,
        findings=tuple(found[:LISTED_MAX]),
    )
