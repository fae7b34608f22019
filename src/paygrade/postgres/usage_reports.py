"""Rows of reports: the queue of what the provider has to be told of usage, and what it was told.

Laws: what is about to be told is written before it is told, and stays written until it is known to be taken or known
not to be; only the latest claim of a row may change it; marking a row never makes it wait longer.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

_COLUMNS = """account, pool, slot, version, used, reported, customer, meter, told, number, pending, identifier, reason,
    error, attempts, fence, said, from_at, until, stamped_at, pending_at, sent_at, looked_at, look_at, check_at,
    checked_at, doubted_at"""


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


class Reports:
    """Reports within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

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
            update reports set check_at = least(check_at, %(at)s)
            where customer is not null and (%(account)s::text is null or account = %(account)s)
            """,
            {"account": account, "at": at},
        )
        return cursor.rowcount

    async def claim(self, *, limit: int, lease_s: float, at: datetime) -> tuple[SavedReport, ...]:
        """Take rows in which something is pending or a date has come by the billing clock `at`, the oldest first."""
        free = """(leased_until is null or leased_until <= clock_timestamp())
                  and (retry_at is null or retry_at <= clock_timestamp())"""
        cursor = await self._connection.execute(
            f"""
            with pending as (
                select account, pool, slot from reports where pending is not null and {free}
                order by pending_at limit %(limit)s for update skip locked),
            due as (
                select account, pool, slot from reports
                where least(look_at, check_at) <= %(at)s and (look_at is not null or check_at is not null)
                  and pending is null and {free}
                order by least(look_at, check_at) limit %(limit)s for update skip locked),
            chosen as (select * from (table pending union all table due) either limit %(limit)s)
            update reports r set fence = r.fence + 1, leased_until = clock_timestamp() + %(lease)s
            from chosen c where (r.account, r.pool, r.slot) = (c.account, c.pool, c.slot)
            returning {_COLUMNS.replace("account, pool, slot", "r.account, r.pool, r.slot")}
            """,
            {"limit": limit, "lease": timedelta(seconds=lease_s), "at": at},
        )
        return tuple([_saved(row) async for row in cursor])

    async def lock(self, claimed: SavedReport) -> SavedReport | None:
        """The row as it is now, held; None when somebody else has claimed it since."""
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from reports where account = %s and pool = %s and slot = %s and fence = %s for update",
            (claimed.account, claimed.pool, claimed.slot, claimed.fence),
        )
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def balance(self, report: SavedReport) -> tuple[int, int]:
        """What is used in the window, and the version of that."""
        cursor = await self._connection.execute(
            "select used, version from balances where account = %s and pool = %s and slot = %s",
            (report.account, report.pool, report.slot),
        )
        row = await cursor.fetchone()
        return (row[0], row[1]) if row else (0, report.version)

    async def save(self, report: SavedReport, *, keep: bool = False, retry_s: float | None = None) -> None:
        """Save a row that this transaction has locked. `keep`: the claim goes on; else it is given back."""
        await self._connection.execute(
            """
            update reports set version = %(version)s, used = %(used)s, reported = %(reported)s, customer = %(customer)s,
                   meter = %(meter)s, told = %(told)s, number = %(number)s, pending = %(pending)s,
                   identifier = %(identifier)s, reason = %(reason)s, error = %(error)s, attempts = %(attempts)s,
                   said = %(said)s, stamped_at = %(stamped_at)s, pending_at = %(pending_at)s, sent_at = %(sent_at)s,
                   looked_at = %(looked_at)s, look_at = %(look_at)s, check_at = %(check_at)s,
                   checked_at = %(checked_at)s, doubted_at = %(doubted_at)s,
                   leased_until = case when %(keep)s then leased_until end,
                   retry_at = clock_timestamp() + %(retry)s::interval
            where account = %(account)s and pool = %(pool)s and slot = %(slot)s
            """,
            {
                **{name: getattr(report, name) for name in SavedReport.__struct_fields__},
                "error": report.error.replace("\0", "") if report.error else None,
                "keep": keep,
                "retry": None if retry_s is None else timedelta(seconds=retry_s),
            },
        )

    async def of_account(self, account: str, *, limit: int) -> tuple[SavedReport, ...]:
        """The windows of an account, the latest first."""
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from reports where account = %s order by from_at desc, pool, slot limit %s",
            (account, limit),
        )
        return tuple([_saved(row) async for row in cursor])

    async def page(self, *, limit: int) -> tuple[SavedReport, ...]:
        """Windows a person should look at: something fails, is not told, or differs from what the provider says."""
        cursor = await self._connection.execute(
            f"""
            select {_COLUMNS} from reports
            where error is not null or reason is not null or said <> told
            order by account, pool, slot limit %s
            """,
            (limit,),
        )
        return tuple([_saved(row) async for row in cursor])

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

    async def note_mismatch(self, report: SavedReport, *, field: str, provider: int, at: datetime) -> None:
        """Write down as drift that the provider was found to say otherwise, which is healed from here on."""
        await self._connection.execute(
            """
            insert into drift (subject, account, field, stored, provider, found_by, found_at, healed_at)
            values (%s, %s, %s, %s, %s, 'reconcile', %s, %s)
            """,
            (
                f"stripe:{report.customer}",
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


def _saved(row: TupleRow) -> SavedReport:
    return SavedReport(*row)
