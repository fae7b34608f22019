"""Rereads: customers are read again, a few at a time, since a catalog wants to know more of them than was read.

Laws: no more are marked while many wait, so what happens meanwhile is read as soon as ever; those that are marked, and
how far it came, are saved together; who is first read meanwhile, or has nothing that lives, is left out.
"""

from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from paygrade.server.workers.claims import Queue

if TYPE_CHECKING:
    from paygrade.postgres.rereads import SavedReread
    from paygrade.postgres.store import Store
    from paygrade.server.process.clock import Clock

AT_ONCE = 50
"""So many are marked at once, and so many may wait already."""
PAUSE_S = 1.0
LEASE_S = 30.0

REREADS: "Queue[SavedReread]" = Queue("reread", lambda tx: tx.rereads, ("catalog",), LEASE_S, quiet=True)

RereadOutcome = Literal["finished", "marked", "waits", "overtaken"]


async def mark_for_reading(store: "Store", clock: "Clock", claimed: "SavedReread") -> RereadOutcome:
    """Mark the next customers to be read again, unless as many wait already."""
    async with store.transaction(looking=True) as tx:
        waiting = (await tx.subjects.queue())[1]
        found = await tx.rereads.following(claimed.after, limit=AT_ONCE) if waiting < AT_ONCE else None
    async with store.transaction() as tx:
        # Subjects are locked before anything else, everywhere.
        marked = await tx.subjects.mark(found) if found else {}
        held = await tx.rereads.lock(claimed)
        if held is None:
            return "overtaken"
        if found is None:
            await tx.rereads.save(held, retry_s=PAUSE_S)
            return "waits"
        if marked:
            await tx.tell("paygrade_subject")
            await tx.rereads.save(
                replace(held, marked=held.marked + len(marked), after=found[-1], attempts=0, error=None),
                retry_s=PAUSE_S,
            )
            return "marked"
        await tx.rereads.save(replace(held, finished_at=clock.now(), attempts=0, error=None))
        return "finished"
