"""Plan changes of all accounts, as people look for them: by how they stand, whose they are, and when.

Law: a page costs what it shows, however many changes there are.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from msgspec import Struct

from paygrade.changes.plan_change import PlanChange
from paygrade.server.operations.paging import cut, read_place

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

Standing = Literal["under_way", "to_come", "applied", "failed", "canceled"]
"""`under_way`: asked for, or waiting for a payment; `to_come`: scheduled."""
STANDINGS: tuple[Standing, ...] = get_args(Standing)


class ChangesOfAll(Struct, frozen=True):
    """Plan changes: those to come by date, all others the latest first. `next` is where the next page begins; None:
    this is the last one."""

    changes: tuple[PlanChange, ...]
    next: str | None


async def search_changes(
    store: "Store",
    *,
    standing: Standing,
    account: str | None = None,
    from_at: datetime | None = None,
    until: datetime | None = None,
    place: str | None = None,
    limit: int,
) -> ChangesOfAll:
    """Those that stand like this, and came or come to it in `[from_at, until)`. Refused `invalid_query`."""
    after = read_place(place, tuple[datetime, str, str], name="before")
    async with store.reading() as tx:
        found = await tx.plan_changes.search(
            standing, account=account, from_at=from_at, until=until, after=after, limit=limit + 1
        )
    return ChangesOfAll(*cut(found, limit, lambda change: (when(change), change.account, change.id)))


def when(change: PlanChange) -> datetime:
    """When it takes effect, if that is to come; or when it came to stand as it does."""
    if change.state == "scheduled" and change.effective_at is not None:
        return change.effective_at
    return change.resolved_at or change.asked_at
