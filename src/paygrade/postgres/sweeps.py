"""Rows of sweeps: how far each came, and the subscriptions that the one under way was told of.

Laws: a provider has at most one unfinished sweep; the cursor moves in the transaction that did what the page asked for,
so a sweep that was killed goes on where it was.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace

from paygrade.postgres.claims import Claims
from paygrade.values.states import TERMINAL


class SavedSweep(Struct, frozen=True):
    """A sweep as saved. `before_at`: when the one before it that was finished began; None: there is none known.
    `cursor` None: nothing was compared yet. Any: a report as JSON."""

    id: int
    provider: str
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


class Sweeps(Claims[SavedSweep]):
    """Sweeps within one transaction."""

    TABLE = "sweeps"
    KEY = ("id",)
    WAITING = (("provider = %(provider)s and finished_at is null", "id"),)
    OPEN = "finished_at is null"
    ROW = SavedSweep
    COLUMNS = SavedSweep.__struct_fields__
    FIXED = frozenset({"provider", "dry_run", "started_at"})
    COMPUTED: ClassVar = {
        "before_at": """(select max(before.started_at) from sweeps before
            where before.provider = sweeps.provider and before.finished_at is not null and not before.dry_run
              and before.id < sweeps.id)"""
    }
    JSON: ClassVar = {"counts": dict[str, int], "report": Any}

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

    async def hold(self, sweep: SavedSweep) -> bool:
        """Keep others from taking it until the end of the transaction; False when somebody has.

        The transaction's end does not wait for the disk: what a crash undoes it undoes whole, and the page is asked for
        again.
        """
        await self._connection.execute("set local synchronous_commit = off")
        return await self.lock(sweep) is not None

    # Any: a report as plain data.
    async def finish(self, sweep: SavedSweep, *, report: Any, at: datetime) -> None:
        """Save that a sweep that this transaction holds is over."""
        await self.save(replace(sweep, finished_at=at, report=report, cursor=None, error=None))
        await self._connection.execute("update sweeps set touched_at = clock_timestamp() where id = %s", (sweep.id,))

    async def latest(self, provider: str) -> SavedSweep | None:
        return await self._one("provider = %s order by id desc limit 1", (provider,))

    async def load(self, id: int) -> SavedSweep | None:
        return await self._one("id = %s", (id,))

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
