"""Rows of subjects: the queue of billing sync.

Laws: a subject is waiting while its dirty mark is above its synced mark, and nothing else says so; the fence grows
with each claim, before the provider is asked, so the reading of a claim that was overtaken can be told; leases
and retries run on the database's clock, which all processes share; a lease ends with the session that holds it, at
the latest when its time is up.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.billing.facts import Body

HOLDERS_LOCK = 4710_0004
"""First key of the advisory locks by which a session shows that it lives; the second is its number, in `leased_by`."""

_bodies: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)


class Claim(Struct, frozen=True):
    """The right to save one reading of `subject`, as long as nobody else has claimed it since.

    `dirty` is the mark this reading will answer for, `events` the billing events that led to it.
    """

    subject: str
    fence: int
    dirty: int
    rereads: int
    attempts: int
    swept: bool = False
    """Only a sweep asked for it."""
    events: tuple["ClaimedEvent", ...] = ()


class ClaimedEvent(Struct, frozen=True):
    """A billing event that waits for its subject to be read."""

    id: str
    type: str
    object_id: str | None
    polled: bool = False
    """A webhook should have brought it; the poll found it."""


class HeldSubject(Struct, frozen=True):
    """A subject's row, locked. `drifted`: drift of it is open."""

    subject: str
    account: str | None
    fence: int
    dirty: int
    drifted: bool = False


class MarkedSubject(Struct, frozen=True):
    """How a subject's row stands when it was just marked; until the end of the transaction nobody else changes it."""

    dirty: int
    fence: int
    read_at: datetime | None


class KnownSubject(Struct, frozen=True):
    """What is stored of a subject: what it said last, and when it was read. `account` None: it never belonged to one.
    `claimed`: it is being read, perhaps since before now; `waiting`: it will be, from a later instant on."""

    account: str | None
    said: Body | None
    read_at: datetime | None
    claimed: bool
    waiting: bool
    dirty: int
    fence: int

    def stood_still(self, marked: MarkedSubject) -> bool:
        """Whether nothing had happened to it since, when it was marked."""
        return (self.dirty + 1, self.fence, self.read_at) == (marked.dirty, marked.fence, marked.read_at)


class Subjects:
    """Subjects within one transaction. `holder`: the number of a session that shows that this process lives, if any."""

    def __init__(self, connection: AsyncConnection[TupleRow], *, holder: int | None = None) -> None:
        self._connection = connection
        self._holder = holder

    async def mark(
        self, subjects: Iterable[str], *, swept: bool = False, patient: Iterable[str] = (), patience_s: float = 0
    ) -> dict[str, MarkedSubject]:
        """Say that these must be read again. One that was doubted is read at once; one that fails keeps its pause.

        `swept`: nothing says that they changed, so those of which something does go first. `patient`: those of them
        that, if they did not wait yet, may wait `patience_s` for an event to say so.
        """
        cursor = await self._connection.execute(
            """
            insert into subjects (subject, dirty, marked_at, swept, retry_at)
            select subject, 1, clock_timestamp(), %(swept)s,
                   case when subject = any(%(patient)s) then clock_timestamp() + %(patience)s end
            from unnest(%(subjects)s::text[]) as subject order by subject
            on conflict (subject) do update set
                dirty = subjects.dirty + 1,
                marked_at = case when subjects.dirty > subjects.synced and subjects.swept <= excluded.swept
                                 then subjects.marked_at else excluded.marked_at end,
                swept = excluded.swept and (subjects.swept or subjects.dirty = subjects.synced),
                retry_at = case when subjects.error is not null then subjects.retry_at
                                when subjects.dirty = subjects.synced then excluded.retry_at end
            returning subject, dirty, fence, read_at
            """,
            {
                "swept": swept,
                "subjects": sorted(set(subjects)),
                "patient": list(patient),
                "patience": timedelta(seconds=patience_s),
            },
        )
        return {subject: MarkedSubject(*row) async for subject, *row in cursor}

    async def stored(self, subjects: Iterable[str]) -> dict[str, KnownSubject]:
        """What is stored of those of these that were ever named; costs one statement."""
        cursor = await self._connection.execute(
            """
            select s.subject, s.account, a.state -> 'statements' -> s.subject ->> 'body', s.read_at,
                   coalesce(s.leased_until > clock_timestamp(), false), s.dirty > s.synced, s.dirty, s.fence
            from subjects s left join accounts a using (account) where s.subject = any(%s)
            """,
            (sorted(set(subjects)),),
        )
        return {
            subject: KnownSubject(account, _bodies.decode(said) if said else None, *row)
            async for subject, account, said, *row in cursor
        }

    async def claim(self, *, limit: int, lease_s: float, at: datetime) -> tuple[Claim, ...]:
        """Take subjects that are waiting, or due by the billing clock `at`, those that wait longest first."""
        cursor = await self._connection.execute(
            """
            with alive as materialized (
                select objid::bigint from pg_locks
                where locktype = 'advisory' and classid = %(holders)s and objsubid = 2 and granted
                  and database = (select oid from pg_database where datname = current_database())),
            waiting as (
                select subject from subjects
                where dirty > synced
                  and (leased_until is null or leased_until <= clock_timestamp()
                       or leased_by is not null and leased_by not in (table alive))
                  and (retry_at is null or retry_at <= clock_timestamp())
                order by swept, marked_at limit %(limit)s for update skip locked),
            due as (
                select subject from subjects
                where due_at <= %(at)s and dirty = synced
                  and (leased_until is null or leased_until <= clock_timestamp()
                       or leased_by is not null and leased_by not in (table alive))
                  and (retry_at is null or retry_at <= clock_timestamp())
                order by due_at limit %(limit)s for update skip locked),
            chosen as (select subject from (table waiting union all table due) either limit %(limit)s)
            update subjects s set fence = s.fence + 1, leased_by = %(holder)s,
                   leased_until = clock_timestamp() + %(lease)s
            from chosen where s.subject = chosen.subject
            returning s.subject, s.fence, s.dirty, s.rereads, s.attempts, s.swept and s.dirty > s.synced
            """,
            {
                "at": at,
                "limit": limit,
                "lease": timedelta(seconds=lease_s),
                "holder": self._holder,
                "holders": HOLDERS_LOCK,
            },
        )
        return tuple([Claim(*row) async for row in cursor])

    async def lock(self, subject: str) -> HeldSubject | None:
        cursor = await self._connection.execute(
            """
            select subject, account, fence, dirty,
                   exists (select from drift d where d.subject = s.subject and d.healed_at is null)
            from subjects s where subject = %s for update
            """,
            (subject,),
        )
        row = await cursor.fetchone()
        return HeldSubject(*row) if row else None

    async def settle(
        self,
        claim: Claim,
        *,
        account: str | None,
        read_at: datetime | None = None,
        due_at: datetime | None = None,
        reread_s: float | None = None,
    ) -> None:
        """Give the claim back, answered. With `reread_s` the answer is doubted: it is read again after that pause."""
        await self._connection.execute(
            """
            update subjects set
                account = %(account)s,
                synced = case when %(reread)s::interval is null then greatest(synced, %(dirty)s) else synced end,
                rereads = case when %(reread)s::interval is null then 0 else rereads + 1 end,
                attempts = 0, error = null, leased_until = null,
                retry_at = clock_timestamp() + %(reread)s::interval,
                marked_at = case when %(reread)s::interval is not null then marked_at
                                 when dirty > %(dirty)s then clock_timestamp() end,
                read_at = greatest(read_at, %(read_at)s), due_at = %(due_at)s
            where subject = %(subject)s and fence = %(fence)s
            """,
            {
                "account": account,
                "reread": None if reread_s is None else timedelta(seconds=reread_s),
                "dirty": claim.dirty,
                "read_at": read_at,
                "due_at": due_at,
                "subject": claim.subject,
                "fence": claim.fence,
            },
        )

    async def fail(self, claim: Claim, *, error: str, retry_s: float) -> None:
        """Give the claim back, not answered: the subject goes on waiting, for at least `retry_s`."""
        await self._connection.execute(
            """
            update subjects set attempts = attempts + 1, error = %s, leased_until = null,
                   retry_at = clock_timestamp() + %s
            where subject = %s and fence = %s
            """,
            (error.replace("\0", ""), timedelta(seconds=retry_s), claim.subject, claim.fence),
        )

    async def queue(self) -> tuple[int, int, float | None]:
        """How many subjects there are, how many wait, and for how many seconds the first of them has."""
        cursor = await self._connection.execute(
            """
            select count(*), count(*) filter (where dirty > synced),
                   extract(epoch from clock_timestamp() - min(marked_at) filter (where dirty > synced))::float8
            from subjects
            """
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    async def failing(self, limit: int) -> tuple[tuple[str, str, int, datetime | None], ...]:
        """Subjects that could not be read, the most stubborn first: error, failures in a row, next try."""
        cursor = await self._connection.execute(
            """
            select subject, error, attempts, retry_at from subjects where error is not null
            order by attempts desc, subject limit %s
            """,
            (limit,),
        )
        return tuple([row async for row in cursor])
