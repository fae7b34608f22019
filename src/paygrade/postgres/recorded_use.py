"""What was asked of the ledger and reported to it, read again in the order in which it was recorded."""

from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.usage.balances import Grant
from paygrade.usage.entries import Entry, Posting

Place = tuple[datetime, int, str]
"""Where an entry stands: when it was recorded, before or after others of that instant, and its id."""


class RecordedEntry(NamedTuple):
    """An entry with its place."""

    place: Place
    entry: Entry


class RecordedGrant(Struct, frozen=True):
    """Units that were granted by themselves, as they were at first."""

    pool: str
    grant: Grant
    recorded_at: datetime


class RecordedUse:
    """Entries and grants of one account at a time."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def begins_at(self, account: str, *, until: datetime, entries_max: int) -> datetime | None:
        """When the latest `entries_max` entries begin; None: there are no more than those."""
        cursor = await self._connection.execute(
            "select recorded_at from ledger where account = %s and recorded_at < %s order by recorded_at desc "
            "offset %s limit 1",
            (account, until, entries_max),
        )
        found = await cursor.fetchone()
        return found[0] if found is not None else None

    async def entries(
        self, account: str, *, since: datetime | None, until: datetime, after: Place | None, limit: int
    ) -> list[RecordedEntry]:
        """The next entries behind `after` that were recorded in `(since, until)`. Of one instant, units are stated and
        held before they are used, and what was denied comes last: nobody kept the order. Of an event that was
        amended, only the last amendment is there."""
        cursor = await self._connection.execute(
            """
            select * from (
                select id, kind, feature, quantity, time, recorded_at, digest, draws::text, denied, member,
                       properties::text,
                       case when kind in ('reserve', 'commit', 'release') or denied is not null then answer::text end,
                       case when denied is not null then 9
                            else array_position(array['grant', 'void', 'set', 'carry_over', 'reserve', 'extend',
                                                      'commit', 'release'], kind) end as rank
                from ledger l
                where account = %(account)s and recorded_at < %(until)s
                  and (%(since)s::timestamptz is null or recorded_at > %(since)s) and kind <> 'expire'
                  and not exists (select from ledger a where a.account = l.account and a.amends = l.id)
                  and (amends is null or not exists (
                      select from ledger a where a.account = l.account and a.amends = l.amends
                        and (a.answer ->> 'generation')::int > (l.answer ->> 'generation')::int))
            ) its (id, kind, feature, quantity, time, recorded_at, digest, draws, denied, member, properties, answer,
                   rank)
            where %(at)s::timestamptz is null
               or (recorded_at, coalesce(rank, 8), id) > (%(at)s, %(rank)s::int, %(id)s::text)
            order by recorded_at, coalesce(rank, 8), id limit %(limit)s
            """,
            {
                "account": account,
                "since": since,
                "until": until,
                "at": after and after[0],
                "rank": after and after[1],
                "id": after and after[2],
                "limit": limit,
            },
        )
        return [_recorded(account, row) async for row in cursor]

    async def grants(self, account: str) -> list[RecordedGrant]:
        """All that was ever granted, the earliest first."""
        cursor = await self._connection.execute(
            """
            select pool, id, kind, units, priority, from_at, until, recorded_at from grants
            where account = %s order by recorded_at, pool, id
            """,
            (account,),
        )
        return [
            RecordedGrant(pool, Grant(id, kind, units, from_at, until, priority), recorded_at)
            async for pool, id, kind, units, priority, from_at, until, recorded_at in cursor
        ]


def _recorded(account: str, row: TupleRow) -> RecordedEntry:
    id, kind, feature, quantity, time, recorded_at, mark, draws, denied, member, properties, answer, rank = row
    entry = Entry(
        account, id, kind, feature, quantity, time, recorded_at, mark, _draws.decode(draws), denied, member,
        None if properties is None else _properties.decode(properties), None if answer is None else answer.encode(),
    )  # fmt: skip
    return RecordedEntry((recorded_at, 8 if rank is None else rank, id), entry)


_draws = msgspec.json.Decoder(tuple[Posting, ...])
_properties = msgspec.json.Decoder(dict[str, Any])
"""Any: JSON as it was told."""
