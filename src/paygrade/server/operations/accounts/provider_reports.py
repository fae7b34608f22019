"""Usage reports, as seen from outside: what the provider was told of each window, and what it says of that."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.billing.audit_chain import ENVIRONMENT
from paygrade.server.operations.accounts.record import load_account
from paygrade.server.operations.audit.note import note
from paygrade.server.operations.paging import cut, read_place
from paygrade.usage.provider_reports import OpenReport
from paygrade.values.text import on_wire

if TYPE_CHECKING:
    from paygrade.postgres.store import Store
    from paygrade.postgres.usage_reports import SavedReport

KEPT = timedelta(days=400)


class UsageReport(Struct, frozen=True):
    """What the provider was told of the usage in one window.

    `used` as last looked at; `reported` of it, to whichever customer; `pending` is being told now. `told` is what
    `meter` was told of `customer`, `said` what the provider's own sum was at `checked_at`, and `difference` how much
    more that is; None: it was not asked since. `reason` says why nothing more is told: `no_customer` (nobody with a
    live subscription pays), `not_sold` (more was used than a limit allows that nobody may go over), `too_late` (the
    provider takes no usage that old any more), `more_at_provider` (something else tells this meter too).
    """

    account: str
    feature: str
    from_at: datetime
    until: datetime | None
    used: int
    reported: int
    pending: int
    customer: str | None
    meter: str | None
    told: int
    said: int | None
    difference: int | None
    reason: str | None
    error: str | None
    sent_at: datetime | None
    checked_at: datetime | None


class UsageReports(Struct, frozen=True):
    """Windows of reported features. `unchecked`: how many wait for being compared with the provider. `next` is where
    the next page begins; None: this is the last one."""

    reports: tuple[UsageReport, ...]
    unchecked: int
    next: str | None = None


class ReconcileRequest(Struct, frozen=True):
    """Whose windows to compare; None: everybody's."""

    account: str | None = None


async def purge_reports(store: "Store", *, at: datetime) -> None:
    """Forget windows that were over more than a year ago."""
    async with store.transaction() as tx:
        await tx.reports.purge(kept=KEPT, at=at)


async def list_usage_reports(
    store: "Store", *, account: str, before: str | None = None, limit: int, at: datetime
) -> UsageReports:
    """List an account's usage reports.

    What was reported of the account's usage to the provider, by window, newest first. Refused `unknown_account`,
    `invalid_query`.
    """
    place = read_place(before, tuple[datetime, str, str], name="before")
    async with store.reading() as tx:
        await load_account(tx, account, deleted=True)
        # Before the list, which then has the answer of every comparison that this doesn't count as waiting.
        unchecked = await tx.reports.unchecked(account, at=at)
        found = await tx.reports.of_account(account, before=place, limit=limit + 1)
    page, following = cut(found, limit, lambda saved: (saved.from_at, saved.pool, saved.slot))
    return UsageReports(tuple(map(view_report, page)), unchecked, following)


async def list_open_usage_reports(
    store: "Store", *, state: OpenReport | None = None, after: str | None = None, limit: int, at: datetime
) -> UsageReports:
    """List usage reports that need attention.

    Windows of all accounts whose usage can't be reported (`failing`), is not reported, or is different at the
    provider, by account; `state` leaves the others out. Refused `invalid_query`.
    """
    place = read_place(after, tuple[str, str, str], name="after")
    async with store.reading() as tx:
        unchecked = await tx.reports.unchecked(None, at=at)
        found = await tx.reports.page(state=state, after=place, limit=limit + 1)
    page, following = cut(found, limit, lambda saved: (saved.account, saved.pool, saved.slot))
    return UsageReports(tuple(map(view_report, page)), unchecked, following)


async def reconcile(store: "Store", *, account: str | None, at: datetime) -> UsageReports:
    """Reconcile usage with the provider.

    Compare what was reported with the provider's own sums, for one account or for all. `unchecked` in the lists counts
    the windows that still wait for it. Usage that is missing once the provider has had time to add up is reported
    again. Refused `unknown_account`.
    """
    async with store.transaction() as tx:
        if account is not None:
            await load_account(tx, account, deleted=True)
        await tx.reports.want_check(account, at=at)
        note(tx, "usage_report.reconcile", account or ENVIRONMENT, at=at)
        return UsageReports((), await tx.reports.unchecked(account, at=at))


def view_report(saved: "SavedReport") -> UsageReport:
    """What of a report is shown."""
    return UsageReport(
        account=saved.account,
        feature=saved.pool,
        from_at=saved.from_at,
        until=saved.until,
        used=on_wire(saved.used),
        reported=saved.reported,
        pending=saved.pending or 0,
        customer=saved.customer,
        meter=saved.meter,
        told=saved.told,
        said=saved.said,
        difference=None if saved.said is None else saved.said - saved.told,
        reason=saved.reason,
        error=saved.error,
        sent_at=saved.sent_at,
        checked_at=saved.checked_at,
    )
