"""Rows of sweeps: how far each came, and the subscriptions that the one under way was told of.

Laws: a provider has at most one unfinished sweep; each claim raises its fence, and only the latest claim may go on;
the cursor moves in the transaction that did what the page asked for, so a sweep that was killed goes on where it was.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.values.states import TERMINAL

_COLUMNS = """
    id, dry_run, started_at, finished_at,
    (select max(before.started_at) from sweeps before
     where before.provider = sweeps.provider and before.finished_at is not null and not before.dry_run
       and before.id < sweeps.id) as before_at,
    cursor, counts::text, report::text, error, attempts, fence
"""


class SavedSweep(Struct, frozen=True):
    """A sweep as saved. `before_at`: when the one before it that was finished began; None: there is none known.
    `cursor` None: nothing was compared yet. Any: a report as JSON."""

    id: int
    dry_run: bool
    started_at: datetime
    finished_at: datetime | None
    before_at: datetime | None
    cursor: str | None
    counts: dict[str, int]
    report: Any
    error: str | None
    attempts: int
    fence: int


class Sweeps:
    """Sweeps within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def start(self, provider: str, *, dry_run: bool, at: datetime) -> bool:
        """Begin a sweep; False when one is unfinished."""
        cursor = await self._connection.execute(
            """
            insert into sweeps (provider, dry_run, started_at, counts) values (%s, %s, %s, '{}')
            on conflict (provider) where finished_at is null do nothing
            """,
            (provider, dry_run, at),
        )
        return cursor.rowcount == 1

    async def start_regularly(self, provider: str, *, every: timedelta, at: datetime) -> bool:
        """Begin a sweep if the latest one was finished `every` ago, or there was none; whether it began."""
        cursor = await self._connection.execute(
            """
            select 1 from sweeps where provider = %s
              and (finished_at is null or (not dry_run and touched_at > clock_timestamp() - %s::interval)) limit 1
            """,
            (provider, every),
        )
        return await cursor.fetchone() is None and await self.start(provider, dry_run=False, at=at)

    async def claim(self, provider: str, *, lease_s: float) -> SavedSweep | None:
        """Take the unfinished sweep, unless somebody has it or it pauses."""
        cursor = await self._connection.execute(
            f"""
            update sweeps set fence = fence + 1, leased_until = clock_timestamp() + %s::interval
            where provider = %s and finished_at is null
              and (leased_until is null or leased_until <= clock_timestamp())
              and (retry_at is null or retry_at <= clock_timestamp())
            returning {_COLUMNS}
            """,
            (timedelta(seconds=lease_s), provider),
        )
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def hold(self, sweep: SavedSweep) -> bool:
        """Keep others from taking it until the end of the transaction; False when somebody has.

        The transaction's end does not wait for the disk: what a crash undoes it undoes whole, and the page is asked for
        again.
        """
        cursor = await self._connection.execute(
            """
            select set_config('synchronous_commit', 'off', true)
            from sweeps where id = %s and fence = %s and finished_at is null for update
            """,
            (sweep.id, sweep.fence),
        )
        return cursor.rowcount == 1

    async def advance(self, sweep: SavedSweep, *, lease_s: float) -> None:
        """Save how far it came, and go on holding it."""
        await self._connection.execute(
            """
            update sweeps set cursor = %s, counts = %s, attempts = 0, error = null, touched_at = clock_timestamp(),
                   leased_until = clock_timestamp() + %s::interval
            where id = %s and fence = %s
            """,
            (sweep.cursor, _json(sweep.counts), timedelta(seconds=lease_s), sweep.id, sweep.fence),
        )

    # Any: a report as plain data.
    async def finish(self, sweep: SavedSweep, *, report: Any, at: datetime) -> None:
        await self._connection.execute(
            """
            update sweeps set finished_at = %s, counts = %s, report = %s, cursor = null, error = null,
                   leased_until = null, touched_at = clock_timestamp()
            where id = %s and fence = %s
            """,
            (at, _json(sweep.counts), None if report is None else _json(report), sweep.id, sweep.fence),
        )

    async def fail(self, sweep: SavedSweep, *, error: str, retry_s: float) -> None:
        """Give it back for somebody to go on with after a pause."""
        await self._connection.execute(
            """
            update sweeps set error = %s, attempts = attempts + 1, leased_until = null,
                   retry_at = clock_timestamp() + %s::interval
            where id = %s and fence = %s
            """,
            (error.replace("\0", ""), timedelta(seconds=retry_s), sweep.id, sweep.fence),
        )

    async def latest(self, provider: str) -> SavedSweep | None:
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from sweeps where provider = %s order by id desc limit 1", (provider,)
        )
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def load(self, id: int) -> SavedSweep | None:
        cursor = await self._connection.execute(f"select {_COLUMNS} from sweeps where id = %s", (id,))
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def see(self, subscriptions: Iterable[tuple[str, str]]) -> None:
        """Remember subscriptions that the provider told of, each with its subject."""
        subjects, ids = [], []
        for subject, id in subscriptions:
            subjects.append(subject)
            ids.append(id)
        await self._connection.execute(
            """
            insert into sightings (subject, subscription) select * from unnest(%s::text[], %s::text[])
            on conflict do nothing
            """,
            (subjects, ids),
        )

    async def seen(self) -> tuple[int, int]:
        """How many subjects and subscriptions are remembered."""
        cursor = await self._connection.execute("select count(distinct subject), count(*) from sightings")
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1]

    async def forget_seen(self) -> None:
        # Not `truncate`: it would wait for everybody who reads the table.
        await self._connection.execute("delete from sightings")

    async def unseen(self, *, provider: str, since: datetime) -> tuple[str, ...]:
        """Subjects with a live subscription the provider did not tell of, that were last read before `since`."""
        cursor = await self._connection.execute(
            """
            select distinct b.subject from subscriptions b join subjects s using (subject)
            where b.subject like %s and (b.status is null or b.status <> all(%s))
              and (s.dirty = s.synced or s.leased_until > clock_timestamp()) and (s.read_at is null or s.read_at <= %s)
              and not exists (select from sightings g where g.subject = b.subject and g.subscription = b.id)
            order by 1
            """,
            (f"{provider}:%", sorted(TERMINAL), since),
        )
        return tuple([subject async for (subject,) in cursor])

    async def unlisted(self, *, provider: str, since: datetime, limit: int) -> tuple[str, ...]:
        """Subjects of accounts that have bought nothing, so that no page has them; those read longest ago, before
        `since`."""
        cursor = await self._connection.execute(
            """
            select subject from subjects s
            where subject like %s and account is not null and (read_at is null or read_at <= %s)
              and not exists (select from subscriptions b where b.subject = s.subject)
            order by read_at nulls first, subject limit %s
            """,
            (f"{provider}:%", since, limit),
        )
        return tuple([subject async for (subject,) in cursor])

    async def purge(self, *, kept: timedelta) -> None:
        """Forget sweeps finished longer ago than that, but never the latest."""
        await self._connection.execute(
            """
            delete from sweeps s where finished_at is not null and touched_at < clock_timestamp() - %s::interval
              and exists (select from sweeps later where later.provider = s.provider and later.id > s.id)
            """,
            (kept,),
        )


def _saved(row: TupleRow) -> SavedSweep:
    *head, counts, report, error, attempts, fence = row
    decoded = msgspec.json.decode(counts), msgspec.json.decode(report) if report else None
    return SavedSweep(*(*head, *decoded, error, attempts, fence))


# Any: plain data.
def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
