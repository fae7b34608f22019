"""Rows of state updates: written with what they tell of, given their places once that is saved.

Theory of operation. A row is written without a place, so nobody waits for anybody. Whoever gives places holds the one
row of `update_log`, numbers what has been committed by then, in the order of its writing, and commits. The next who
holds that row finds so what was given, makes it readable, and goes on. So a reader never sees a place before all
smaller ones can be seen too, even where rows are spread over servers of which one commits later than another.

Laws: places and sequences have no gap; of two updates of one account, where the later writer waited for the earlier
one (as all do who change the account), the later has the larger sequence; what is given or readable stays so.
"""

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.updates.log import News, Update

_UPDATE = "id, type, account, position, sequence, state_version, occurred_at, data::text"
_TIME = """occurred_at >= coalesce(%(from)s::timestamptz, '-infinity')
           and occurred_at < coalesce(%(until)s::timestamptz, 'infinity')"""
# Where a time begins in the log is found by its own index. Left to itself, PostgreSQL would walk the log from its
# beginning, as it takes what is looked for to be spread over all of it.
_OF_TIME = f"with of_time as materialized (select position from updates where position > %(after)s and {_TIME})"
_IN_TIME = f"""and {_TIME} and position >= (select min(position) from of_time)
               and position <= (select max(position) from of_time)"""
NOBODY = ""
"""In place of the account where an update is about none."""


class LogState(Struct, frozen=True):
    """How far the log is: `readable` is the last position that can be read, `purged` the last that is gone."""

    readable: int
    purged: int


class Updates:
    """State updates within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, news: Sequence[News], at: datetime, *, traceparent: str | None = None) -> None:
        """Write these down, in this order; they are read once their transaction is committed and they have places.
        `traceparent`: the span in which that happens."""
        await self._connection.execute(
            """
            insert into updates (account, id, type, data, occurred_at, written_at, state_version, traceparent)
            select k.account, k.id, k.type, k.data::json, k.occurred_at, %s, a.version, %s
            from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[]) with ordinality
                 k (account, id, type, data, occurred_at, place)
            left join accounts a on a.account = k.account
            order by place
            """,
            (
                at,
                traceparent,
                [NOBODY if one.account is None else one.account for one in news],
                [f"upd_{secrets.token_hex(12)}" for _ in news],
                [one.type for one in news],
                [msgspec.json.encode(one.data).decode() for one in news],
                [one.occurred_at for one in news],
            ),
        )

    async def state(self) -> LogState:
        cursor = await self._connection.execute("select readable, purged from update_log")
        row = await cursor.fetchone()
        assert row is not None
        return LogState(*row)

    async def latest(
        self,
        *,
        before: int | None = None,
        reach: int,
        limit: int,
        types: Collection[str] | None = None,
        account: str | None = None,
    ) -> tuple[Update, ...]:
        """Readable updates, the latest first, of the `reach` positions below `before` (None: the end)."""
        return await self._read(
            """
            position > least(%(before)s::bigint, 1 + (select readable from update_log)) - 1 - %(reach)s
            and position < least(%(before)s::bigint, 1 + (select readable from update_log))
            and (%(types)s::text[] is null or type = any(%(types)s))
            and (%(account)s::text is null or account = %(account)s)
            order by position desc limit %(limit)s
            """,
            {
                "before": before,
                "reach": reach,
                "types": None if types is None else sorted(types),
                "account": account,
                "limit": limit,
            },
        )

    async def after(
        self,
        position: int,
        *,
        limit: int,
        types: Collection[str] | None = None,
        accounts: Collection[str] | None = None,
        occurred_from: datetime | None = None,
        occurred_until: datetime | None = None,
    ) -> tuple[Update, ...]:
        """Readable updates behind a position, by position; `types` and `accounts`: of these alone, and of what
        occurred in this time."""
        timed = occurred_from is not None or occurred_until is not None
        return await self._read(
            f"""
            position > %(after)s and position <= (select readable from update_log)
            and (%(types)s::text[] is null or type = any(%(types)s))
            and (%(accounts)s::text[] is null or account = any(%(accounts)s))
            {_IN_TIME if timed else ""}
            order by position limit %(limit)s
            """,
            {
                "after": position,
                "types": None if types is None else sorted(types),
                "accounts": None if accounts is None else sorted(accounts),
                "from": occurred_from,
                "until": occurred_until,
                "limit": limit,
            },
            beside=_OF_TIME if timed else "",
        )

    async def of(self, account: str, *, after: int, limit: int) -> tuple[Update, ...]:
        """Readable updates of an account behind a sequence, by sequence."""
        return await self._read(
            """
            account = %(account)s and sequence > %(after)s and position <= (select readable from update_log)
            order by sequence limit %(limit)s
            """,
            {"account": account, "after": after, "limit": limit},
        )

    async def at(self, positions: Collection[int]) -> dict[int, Update]:
        """Those at these positions, as far as they are kept."""
        found = await self._read("position = any(%(positions)s)", {"positions": list(positions)})
        return {update.position: update for update in found}

    async def traceparents(self, positions: Collection[int]) -> dict[int, str]:
        """The spans in which those at these positions were written, as far as somebody took traces then."""
        cursor = await self._connection.execute(
            "select position, traceparent from updates where position = any(%s) and traceparent is not null",
            (list(positions),),
        )
        return {position: traceparent async for position, traceparent in cursor}

    async def last_of(self, account: str) -> int:
        """The sequence of the account's latest update; 0: it has had none."""
        cursor = await self._connection.execute("select sequence from update_sequences where account = %s", (account,))
        row = await cursor.fetchone()
        return row[0] if row else 0

    def waits(self) -> str:
        """Whether there is something that has no place yet, or one that is not readable yet, as SQL."""
        return "(select given > readable or exists (select from updates where position is null) from update_log)"

    async def are_waiting(self) -> bool:
        """Whether there are such; nothing is locked."""
        cursor = await self._connection.execute(f"select {self.waits()}")
        row = await cursor.fetchone()
        return row is not None and bool(row[0])

    async def give_places(self, *, limit: int) -> int | None:
        """Make readable what was given before, and give places to what is committed; the position up to which there is
        more to read now, None where there is not."""
        cursor = await self._connection.execute("select given, readable from update_log for update")
        row = await cursor.fetchone()
        assert row is not None
        given, readable = row
        cursor = await self._connection.execute(
            "select account, id from updates where position is null order by number limit %s", (limit,)
        )
        waiting = await cursor.fetchall()
        if waiting:
            await self._place(waiting, given)
        await self._connection.execute("update update_log set readable = %s, given = %s", (given, given + len(waiting)))
        return given if given > readable else None

    async def purge(self, *, kept: timedelta, at: datetime) -> int:
        """Forget updates written longer ago than that, the oldest first and without a gap; how many."""
        cursor = await self._connection.execute(
            """
            select coalesce(max(position), 0) from updates
            where position <= (select readable from update_log) and position < coalesce((
                  select min(position) from updates where written_at >= %s and position is not null), 2^62)
            """,
            (at - kept,),
        )
        row = await cursor.fetchone()
        assert row is not None
        await self._connection.execute("update update_log set purged = greatest(purged, %s)", row)
        cursor = await self._connection.execute("delete from updates where position <= %s", row)
        return cursor.rowcount

    async def _place(self, waiting: Sequence[TupleRow], given: int) -> None:
        """Give the next places, and each the next of its account, to these rows."""
        counts: dict[str, int] = {}
        for account, _ in waiting:
            counts[account] = counts.get(account, 0) + 1
        ordered = sorted(counts)
        cursor = await self._connection.execute(
            """
            insert into update_sequences as s (account, sequence)
            select * from unnest(%s::text[], %s::bigint[])
            on conflict (account) do update set sequence = s.sequence + excluded.sequence
            returning account, sequence
            """,
            (ordered, [counts[account] for account in ordered]),
        )
        last = {account: sequence - counts[account] async for account, sequence in cursor}
        sequences = []
        for account, _ in waiting:
            last[account] += 1
            sequences.append(last[account])
        await self._connection.execute(
            """
            update updates u set position = k.position, sequence = k.sequence
            from unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) k (account, id, position, sequence)
            where u.account = k.account and u.id = k.id
            """,
            (
                [account for account, _ in waiting],
                [id for _, id in waiting],
                list(range(given + 1, given + 1 + len(waiting))),
                sequences,
            ),
        )

    async def _read(self, which: str, values: dict[str, object], *, beside: str = "") -> tuple[Update, ...]:
        cursor = await self._connection.execute(f"{beside} select {_UPDATE} from updates where {which}", values)
        return tuple([_update(row) async for row in cursor])


def _update(row: TupleRow) -> Update:
    id, type, account, position, sequence, version, occurred_at, data = row
    return Update(id, type, account or None, position, sequence, version, occurred_at, msgspec.json.decode(data))
