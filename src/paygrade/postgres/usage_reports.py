"""Rows of reports: the queue of what the provider has to be told of usage, and what it was told.

Laws: what is about to be told is written before it is told, and stays written until it is known to be taken or known
not to be; marking a row never makes it wait longer.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from paygrade.postgres.claims import Claims
from paygrade.usage.provider_reports import OpenReport

_OPEN: dict[OpenReport | None, str] = {
    None: "true",
    "failing": "error is not null",
    "not_reported": "reason is not null",
    "different": "said <> told",
}


class SavedReport(Struct, frozen=True):
    """What the provider was told of one window, and is being told: `pending` None: nothing."""

    account: str
    pool: str
    slot: str
    version: int
    used: int
    reported: int
    customer: str | None
    meter: str | None
    told: int
    number: int
    pending: int | None
    identifier: str | None
    reason: str | None
    error: str | None
    attempts: int
    fence: int
    said: int | None
    from_at: datetime
    until: datetime | None
    stamped_at: datetime | None
    pending_at: datetime | None
    sent_at: datetime | None
    looked_at: datetime | None
    look_at: datetime | None
    check_at: datetime | None
    checked_at: datetime | None
    doubted_at: datetime | None
    asks: int = 0
    """How often it was asked to be compared."""


class Reports(Claims[SavedReport]):
    """Reports within one transaction. One waits while something is pending, or once a date has come by the billing
    clock."""

    TABLE = "reports"
    KEY = ("account", "pool", "slot")
    WAITING = (
        ("pending is not null", "pending_at"),
        (
            "least(look_at, check_at) <= %(at)s and (look_at is not null or check_at is not null) and pending is null",
            "least(look_at, check_at)",
        ),
    )
    ROW = SavedReport
    COLUMNS = SavedReport.__struct_fields__
    FIXED = frozenset({"from_at", "until"})

    async def hold_marking(self, provider: str, *, at: datetime) -> tuple[datetime, datetime, int] | None:
        """Until when windows were marked, when all were, with which catalog. None: somebody else marks just now."""
        await self._connection.execute(
            "insert into reporting (provider, marked_until, scanned_at, catalog) values (%s, %s, %s, -1)"
            " on conflict do nothing",
            (provider, at, at),
        )
        cursor = await self._connection.execute(
            "select marked_until, scanned_at, catalog from reporting where provider = %s for update skip locked",
            (provider,),
        )
        row = await cursor.fetchone()
        return (row[0], row[1], row[2]) if row else None

    async def note_marking(self, provider: str, *, scanned_at: datetime, catalog: int, at: datetime) -> None:
        await self._connection.execute(
            "update reporting set marked_until = %s, scanned_at = %s, catalog = %s where provider = %s",
            (at, scanned_at, catalog, provider),
        )

    async def mark(
        self, pools: Iterable[str], *, rest: timedelta, recorded_from: datetime | None = None, at: datetime
    ) -> int:
        """Have windows of these pools looked at that have changed since, by ledger entries recorded from then on.

        None: all windows that are not over, changed or not. A window that was looked at rests for a while before it
        is looked at again, so that much usage makes few events. Slots with a space in their names count
        within a window, or what is paid for already: they are no windows to report.
        """
        touched = "select distinct account from ledger where recorded_at >= %(from)s"
        chosen = (
            f"b.account in ({touched}) and (r.account is null or r.version < b.version)"
            if recorded_from is not None
            else "(b.until is null or b.until > %(at)s or r.version < b.version)"
        )
        cursor = await self._connection.execute(
            f"""
            insert into reports as old (account, pool, slot, from_at, until, look_at)
            select b.account, b.pool, b.slot, b.from_at, b.until, greatest(%(at)s, r.looked_at + %(rest)s)
            from balances b left join reports r using (account, pool, slot)
            where b.pool = any(%(pools)s) and b.from_at is not null and strpos(b.slot, ' ') = 0 and {chosen}
              and (r.look_at is null or r.look_at > greatest(%(at)s, r.looked_at + %(rest)s))
            order by b.account, b.pool, b.slot
            on conflict (account, pool, slot) do update set look_at = least(old.look_at, excluded.look_at)
            """,
            {"from": recorded_from, "at": at, "rest": rest, "pools": sorted(pools)},
        )
        return cursor.rowcount

    async def want_check(self, account: str | None, *, at: datetime) -> int:
        """Have what was told compared with what the provider says, of one account or of all; returns how many."""
        cursor = await self._connection.execute(
            """
            update reports set check_at = least(check_at, %(at)s), asks = asks + 1
            where customer is not null and (%(account)s::text is null or account = %(account)s)
            """,
            {"account": account, "at": at},
        )
        return cursor.rowcount

    async def balance(self, report: SavedReport) -> tuple[int, int]:
        """What is used in the window, and the version of that."""
        cursor = await self._connection.execute(
            "select used, version from balances where account = %s and pool = %s and slot = %s",
            (report.account, report.pool, report.slot),
        )
        row = await cursor.fetchone()
        return (row[0], row[1]) if row else (0, report.version)

    async def of_account(
        self, account: str, *, before: tuple[datetime, str, str] | None = None, limit: int
    ) -> tuple[SavedReport, ...]:
        """The windows of an account, the latest first; from after the one of this beginning, pool and slot on."""
        at, pool, slot = before or (None, None, None)
        return await self._many(
            """
            account = %(account)s and (%(at)s::timestamptz is null
                or (from_at, pool, slot) < (%(at)s::timestamptz, %(pool)s::text, %(slot)s::text))
            order by from_at desc, pool desc, slot desc limit %(limit)s
            """,
            {"account": account, "at": at, "pool": pool, "slot": slot, "limit": limit},
        )

    async def page(
        self, *, state: OpenReport | None = None, after: tuple[str, str, str] | None = None, limit: int
    ) -> tuple[SavedReport, ...]:
        """Windows a person should look at, by account, pool and slot: something fails, is not told, or differs from
        what the provider says; or those of one of these alone."""
        account, pool, slot = after or (None, None, None)
        return await self._many(
            f"""
            (error is not null or reason is not null or said <> told) and {_OPEN[state]} and (%(account)s::text is null
                or (account, pool, slot) > (%(account)s::text, %(pool)s::text, %(slot)s::text))
            order by account, pool, slot limit %(limit)s
            """,
            {"account": account, "pool": pool, "slot": slot, "limit": limit},
        )

    async def unchecked(self, account: str | None, *, at: datetime) -> int:
        """How many windows wait for being compared with the provider, of one account or of all."""
        cursor = await self._connection.execute(
            """
            select count(*) from reports
            where check_at <= %(at)s and (%(account)s::text is null or account = %(account)s)
            """,
            {"at": at, "account": account},
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def note_mismatch(
        self, report: SavedReport, *, subject: str, field: str, provider: int, at: datetime
    ) -> None:
        """Write down as drift that the provider was found to say otherwise, which is healed from here on."""
        await self._connection.execute(
            """
            insert into drift (subject, account, field, stored, provider, found_by, found_at, healed_at)
            values (%s, %s, %s, %s, %s, 'reconcile', %s, %s)
            """,
            (
                subject,
                report.account,
                field,
                str(report.told),
                str(provider),
                report.doubted_at or at,
                at,
            ),
        )

    async def purge(self, *, kept: timedelta, at: datetime) -> None:
        """Forget windows that were over longer ago than that."""
        await self._connection.execute("delete from reports where until < %s and pending is null", (at - kept,))
