"""The snapshot report: what every account has at an instant, seats, limits, credits and usage, a row for each feature.

Law: a page is read in one transaction, and costs what it shows; it says what `entitlements` and balances say.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.decisions.decide import decide
from paygrade.decisions.snapshots import entitlements_at
from paygrade.entitlements.model import Kind, Reason
from paygrade.server.operations.accounts.access import known_at

if TYPE_CHECKING:
    from paygrade.billing.accounts import Account
    from paygrade.catalog.model import Catalog
    from paygrade.decisions.snapshots import Snapshot
    from paygrade.postgres.store import Store


class SnapshotRow(Struct, frozen=True):
    """What one account has of one feature or credit. `used`, `reserved` and `remaining` None: nothing is
    counted. `version`: of the catalog and the account."""

    account: str
    name: str
    version: str
    feature: str
    kind: Kind
    granted: bool
    reason: Reason
    plan: str | None
    value: bool | int | str | None
    limit: int | None
    unlimited: bool
    used: int | None
    reserved: int | None
    remaining: int | None
    resets_at: datetime | None


class SnapshotReport(Struct, frozen=True):
    """A page of what accounts have at `as_of`, by account. `next` is the `after` of the next page; None: this is the
    last one."""

    as_of: datetime
    rows: tuple[SnapshotRow, ...]
    next: str | None


async def snapshot_report(
    store: "Store", *, at: datetime, now: datetime, believed: bool, after: str, limit: int
) -> SnapshotReport:
    """Report what accounts have.

    Seats, limits, credits and usage of all accounts at an instant: a row for each account and feature, a page of
    accounts at a time. Of the past by all that is known now, or with `believed` by what was known then. Accounts that
    didn't exist at that instant are left out, so a page may be empty.
    """
    rows = list[SnapshotRow]()
    async with store.transaction() as tx:
        keys = await tx.accounts.keys(after=after, limit=limit + 1)
        for key in keys[:limit]:
            known, catalog, held = await known_at(tx, key, at=at, now=now, believed=believed)
            if known.exists:
                rows += _rows(known, catalog, held, at)
    return SnapshotReport(at, tuple(rows), keys[limit - 1] if len(keys) > limit else None)


def _rows(known: "Account", catalog: "Catalog", held: "Snapshot", at: datetime) -> list[SnapshotRow]:
    found = []
    for key, its in sorted(entitlements_at(held, at).items()):
        decided = decide(held, key, 0, at)
        found.append(
            SnapshotRow(
                account=known.key,
                name=known.name,
                version=f"{catalog.version}.{known.version}",
                feature=key,
                kind=its.kind,
                granted=its.granted,
                reason=its.reason,
                plan=its.plan,
                value=its.value,
                limit=its.limit,
                unlimited=its.unlimited,
                used=decided.used,
                reserved=decided.reserved,
                remaining=decided.remaining,
                resets_at=its.resets_at,
            )
        )
    return found
