"""The state of billing sync as a page shows it: at the same cost however many customers there are."""

from datetime import datetime
from typing import TYPE_CHECKING

from paygrade.server.operations.accounts.survey import survey
from paygrade.server.operations.sync.inbox import (
    LISTED_MAX,
    AccountFinding,
    FailingSubject,
    InboxCount,
    SyncStatus,
    link_conflicts,
)
from paygrade.server.operations.sync.repair import repair_status

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


async def sync_glance(store: "Store", provider: str, *, now: datetime) -> SyncStatus:
    """What `sync_status` says, but that what is many is counted about, and that findings are looked for where accounts
    had some when they were last announced."""
    async with store.reading() as tx:
        repair = await repair_status(tx, provider, now, roughly=True)
        subjects = await tx.subjects.about()
        dirty, oldest_dirty_s = await tx.subjects.waiting()
        failing = await tx.subjects.failing(LISTED_MAX)
        received, unhandled, last_event_at = await tx.inbox.about()
        misplaced = await tx.accounts.misplaced_links(LISTED_MAX)
        reread = await tx.rereads.latest()
    found = await survey(store, limit=LISTED_MAX, finding="any", at=now)
    findings = [
        AccountFinding(each.code, its.account.account, each.subject, each.detail)
        for its in found.accounts
        for each in its.account.findings
    ]
    return SyncStatus(
        clock=now,
        subjects=subjects,
        dirty=dirty,
        oldest_dirty_s=oldest_dirty_s,
        failing=tuple(FailingSubject(*row) for row in failing),
        inbox=InboxCount(received=received, unhandled=unhandled),
        last_event_at=last_event_at,
        findings=tuple([*findings, *link_conflicts(misplaced)][:LISTED_MAX]),
        repair=repair,
        reread=reread,
    )
