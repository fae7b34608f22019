"""Rows of subjects: the queue of billing sync.

Law: a subject is waiting while its dirty mark is above its synced mark, and nothing else says so.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import ClassVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from paygrade.billing.facts import Body
from paygrade.postgres.claims import GIVEN_BACK, Candidate, Claims, given_back
from paygrade.postgres.sizes import about

_bodies: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)


class Claim(Struct, frozen=True):
    """The right to save one reading of `subject`, as long as nobody else has claimed it since.

    `dirty` is the mark this reading will answer for, `events` the billing events that led to it. `account` None: it
    never belonged to one. `swept`: only a sweep asked for it. `drifted`: drift of it is open.
    """

    subject: str
    fence: int
    dirty: int
    rereads: int
    attempts: int
    account: str | None = None
    swept: bool = False
    drifted: bool = False
    events: tuple["ClaimedEvent", ...] = ()


class ClaimedEvent(Struct, frozen=True):
    """A billing event that waits for its subject to be read."""

    id: str
    type: str
    object_id: str | None
    polled: bool = False
    """A webhook should have brought it; the poll found it."""
    traceparent: str | None = None
    """The span in which it came."""
    created_at: datetime | None = None
    """When it happened, by the provider's word."""


class MarkedSubject(Struct, frozen=True):
    """How a subject's row stands when it was just marked; until the end of the transaction nobody else changes it."""

    dirty: int
    fence: int
    read_at: datetime | None


class KnownSubject(Struct, frozen=True):
    """What is stored of a subject: what it said last, and when it was read. `account` None: it never belonged to one.
    `claimed`: it is being read, perhaps since before now; `waiting`: it will be, from a later instant on. `synced`: the
    last mark that was answered. `error`: why the last try to read it failed."""

    account: str | None
    said: Body | None
    read_at: datetime | None
    claimed: bool
    waiting: bool
    dirty: int
    fence: int
    synced: int
    error: str | None

    def stood_still(self, marked: MarkedSubject) -> bool:
        """Whether nothing had happened to it since, when it was marked."""
        return (self.dirty + 1, self.fence, self.read_at) == (marked.dirty, marked.fence, marked.read_at)


class Subjects(Claims[Claim]):
    """Subjects within one transaction."""

    TABLE = "subjects"
    KEY = ("subject",)
    WAITING = (("dirty > synced", "swept, marked_at"), ("due_at <= %(at)s and dirty = synced", "due_at, subject"))
    ROW = Claim
    COLUMNS = ("subject", "fence", "dirty", "rereads", "attempts", "account", "swept", "drifted")
    COMPUTED: ClassVar = {
        "swept": "swept and dirty > synced",
        "drifted": "exists (select from drift d where d.subject = subjects.subject and d.healed_at is null)",
    }

    async def mark(
        self,
        subjects: Iterable[str],
        *,
        swept: bool = False,
        patient: Iterable[str] = (),
        patience_s: float = 0,
        asked: bool = False,
    ) -> dict[str, MarkedSubject]:
        """Say that these must be read again. One that was doubted is read at once; one that fails keeps its pause.

        `swept`: nothing says that they changed, so those of which something does go first. `patient`: those of them
        that, if they did not wait yet, may wait `patience_s` for an event to say so. `asked`: somebody waits for it, so
        that one that fails is tried at once, too.
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
                retry_at = case when %(asked)s then null
                                when subjects.error is not null then subjects.retry_at
                                when subjects.dirty = subjects.synced then excluded.retry_at end
            returning subject, dirty, fence, read_at
            """,
            {
                "swept": swept,
                "subjects": sorted(set(subjects)),
                "patient": list(patient),
                "patience": timedelta(seconds=patience_s),
                "asked": asked,
            },
        )
        return {subject: MarkedSubject(*row) async for subject, *row in cursor}

    async def stored(self, subjects: Iterable[str]) -> dict[str, KnownSubject]:
        """What is stored of those of these that were ever named; costs one statement."""
        cursor = await self._connection.execute(
            """
            select s.subject, s.account, a.state -> 'statements' -> s.subject ->> 'body', s.read_at,
                   coalesce(s.leased_until > clock_timestamp(), false), s.dirty > s.synced, s.dirty, s.fence,
                   s.synced, s.error
            from subjects s left join accounts a using (account) where s.subject = any(%s)
            """,
            (sorted(set(subjects)),),
        )
        return {
            subject: KnownSubject(account, _bodies.decode(said) if said else None, *row)
            async for subject, account, said, *row in cursor
        }

    async def take(self, candidate: Candidate, *, lease_s: float, **values: object) -> Claim | None:
        """Claim a subject, with the billing events that it waits for: all that have led to its mark."""
        claim = await super().take(candidate, lease_s=lease_s, **values)
        return None if claim is None else replace(claim, events=await self._unhandled(claim.subject))

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
            f"""
            update subjects set
                account = %(account)s,
                synced = case when %(_retry)s::interval is null then greatest(synced, %(dirty)s) else synced end,
                rereads = case when %(_retry)s::interval is null then 0 else rereads + 1 end,
                attempts = 0, error = null, {GIVEN_BACK},
                marked_at = case when %(_retry)s::interval is not null then marked_at
                                 when dirty > %(dirty)s then clock_timestamp() end,
                read_at = greatest(read_at, %(read_at)s), due_at = %(due_at)s
            where subject = %(subject)s and fence = %(fence)s
            """,
            {
                "account": account,
                "dirty": claim.dirty,
                "read_at": read_at,
                "due_at": due_at,
                "subject": claim.subject,
                "fence": claim.fence,
                **given_back(retry_s=reread_s),
            },
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

    async def about(self) -> int:
        """How many subjects there are, about."""
        return await about(self._connection, "subjects")

    async def waiting(self) -> tuple[int, float | None]:
        """How many subjects wait, and for how many seconds the first of them has."""
        cursor = await self._connection.execute(
            """
            select count(*), extract(epoch from clock_timestamp() - min(marked_at))::float8
            from subjects where dirty > synced
            """
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1]

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

    async def _unhandled(self, subject: str) -> tuple[ClaimedEvent, ...]:
        cursor = await self._connection.execute(
            """
            select event_id, type, object_id, polled, traceparent, created_at from inbox
            where subject = %s and handled_at is null
            order by received_at, event_id
            """,
            (subject,),
        )
        return tuple([ClaimedEvent(*row) async for row in cursor])
