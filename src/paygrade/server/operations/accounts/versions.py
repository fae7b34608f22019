"""The versions of what an account had, a page at a time, the newest first.

Law: a page costs what it shows and what it looks through, which is bounded, however long the account's history is.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.facts import Fact
from paygrade.billing.past import Learned, moments
from paygrade.catalog.model import NO_CATALOG, Catalog
from paygrade.entitlements.history import INSTANT, Boundary, By, Change, EntitlementDelta, boundaries, changes_after
from paygrade.server.operations.accounts.record import load_account
from paygrade.server.operations.accounts.timeline import summary
from paygrade.server.operations.paging import read_place, written

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

LOOKED_MAX = 200
"""How many instants at which something was stated or published one page looks at."""


class FactCause(Struct, frozen=True):
    """A fact that brought a version about: its `number` in the timeline, and the billing events that led to it."""

    number: int
    subject: str
    summary: str
    recorded_at: datetime
    cause: tuple[str, ...]


class Cause(Struct, frozen=True):
    """What brought a version about. `date`: no word of anybody's, but a date that had been stated before."""

    by: By
    facts: tuple[FactCause, ...]


class EntitlementVersion(Struct, frozen=True):
    """What the account had in `[from_at, until)`, as what it changed of the version before. `until` None: it has it
    still."""

    from_at: datetime
    until: datetime | None
    catalog_version: int
    cause: Cause
    delta: tuple[EntitlementDelta, ...]


class VersionPage(Struct, frozen=True):
    """Versions of what an account had, the newest first. `next` is the `before` of the next page, which may be there
    though this one is short; None: this is the last one."""

    account: str
    versions: tuple[EntitlementVersion, ...]
    next: str | None


async def versions(
    store: "Store", *, account: str, before: str | None = None, limit: int = 100, believed: bool = False, now: datetime
) -> VersionPage:
    """List the versions of an account's entitlements.

    Every change of what the account can use, newest first: from when until when, what brought it about, and what it
    gained, lost or had otherwise. By all that is known now, or with `believed` as was known at each instant. Refused
    `unknown_account`, `invalid_query`.
    """
    place = read_place(before, tuple[datetime, datetime | None], name="before")
    look_before, until = place or (None, None)
    async with store.reading() as tx:
        await load_account(tx, account, deleted=True)
        facts = await tx.accounts.facts(account, below=False)
        published = await tx.catalogs.published()
        looked = await asyncio.to_thread(_looked, account, facts, published, believed, look_before, now)
        catalogs = await tx.catalogs.of({one.catalog for one in looked})
    recorded = {one.fact.number: one.recorded_at for one in facts}
    page = await asyncio.to_thread(
        _page, looked, {NO_CATALOG.version: NO_CATALOG, **catalogs}, limit, look_before or now + INSTANT
    )
    shown, ends = list[EntitlementVersion](), until
    for change in page.changes:
        shown.append(_shown(change, ends, recorded))
        ends = change.at
    more = written((page.looked_until, ends)) if page.looked_until is not None else None
    return VersionPage(account, tuple(shown), more)


class _Page(Struct, frozen=True):
    """The changes of a page, the newest first. `looked_until`: where the next one goes on; None: nowhere."""

    changes: Sequence[Change]
    looked_until: datetime | None


def _looked(
    account: str,
    facts: Sequence[Learned],
    published: Sequence[tuple[datetime, int]],
    believed: bool,
    look_before: datetime | None,
    now: datetime,
) -> list[Boundary]:
    """The last instants before the page at which something was stated or published, and one more, in their order."""
    last = deque[Boundary](maxlen=LOOKED_MAX + 1)
    for boundary in boundaries(moments(account, facts, believed=believed), published, account):
        if boundary.since > now or (look_before is not None and boundary.since >= look_before):
            break
        last.append(boundary)
    return list(last)


def _page(looked: Sequence[Boundary], catalogs: Mapping[int, Catalog], limit: int, before: datetime) -> _Page:
    found, until = list[Change](), before
    # Of so many, the earliest is only what the one after it took the place of.
    first = 0 if len(looked) <= LOOKED_MAX else 1
    for n in range(len(looked) - 1, first - 1, -1):
        boundary, earlier = looked[n], looked[n - 1] if n else None
        found += reversed(changes_after(boundary, earlier, catalogs, until=until))
        if len(found) > limit:
            return _Page(found[:limit], found[limit - 1].at)
        until = boundary.since
    return _Page(found, until if first else None)


def _shown(change: Change, until: datetime | None, recorded: Mapping[int, datetime]) -> EntitlementVersion:
    return EntitlementVersion(
        change.at,
        until,
        change.catalog_version,
        Cause(change.by, tuple(_cause(fact, recorded[fact.number]) for fact in change.facts)),
        change.deltas,
    )


def _cause(fact: Fact, recorded_at: datetime) -> FactCause:
    return FactCause(fact.number, fact.subject, summary(fact.body), recorded_at, fact.cause)
