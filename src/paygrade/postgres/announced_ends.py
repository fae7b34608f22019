"""Windows that have ended, grants and API keys that have expired, gone through in the order of their ends.

Laws: who goes on holds the row that says how far it was gone, until what was found is saved; so each end is found once,
whoever looks and however late.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import starmap
from typing import Literal

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

End = tuple[datetime, str, str, str]
"""When, and of which account, pool and slot or grant."""
_BEHIND = timedelta(minutes=1)
"""How far what was gone through may stay behind the time while nothing is found: so looking costs little, and so does
writing it down."""
What = Literal["windows", "grants", "keys", "expiring_keys"]
WEEK = timedelta(days=7)
"""How long before its end a key is told to be expiring."""
# By hours: how long a day of an interval is, is the session's business.
_QUERIES: Mapping[What, str] = {
    "windows": """
        select until, account, pool, slot, used, from_at from balances
        where (until, account, pool, slot) > (%(last)s, %(account)s, %(pool)s, %(key)s) and until <= %(at)s
          and used <> 0 and from_at is not null and position(' ' in slot) = 0
        order by until, account, pool, slot limit %(limit)s
    """,
    "grants": """
        select until, account, pool, id, kind, units, units - used - reserved - voided from grants
        where (until, account, pool, id) > (%(last)s, %(account)s, %(pool)s, %(key)s) and until <= %(at)s
          and units > used + reserved + voided
        order by until, account, pool, id limit %(limit)s
    """,
    "keys": """
        select expires_at, '', '', id, name, mode, publishable, expires_at from api_keys
        where (expires_at, id) > (%(last)s, %(key)s) and expires_at <= %(at)s and revoked_at is null
        order by expires_at, id limit %(limit)s
    """,
    "expiring_keys": """
        select expires_at - interval '168 hours', '', '', id, name, mode, publishable, expires_at from api_keys
        where (expires_at, id) > (%(last)s + interval '168 hours', %(key)s)
          and expires_at <= %(at)s + interval '168 hours' and expires_at > %(at)s and revoked_at is null
        order by expires_at, id limit %(limit)s
    """,
}


def _more(what: What, query: str) -> str:
    """Whether there is more to go through, as SQL."""
    columns = {"last": "ended_at", "account": "account", "pool": "pool", "key": "key"}
    for name, column in columns.items():
        query = query.replace(f"%({name})s", f"(select {column} from announced_ends where what = '{what}')")
    return f"exists ({query.replace('%(limit)s', '1')})"


_BEHIND_S = int(_BEHIND.total_seconds())
_WAITS = f"""(
    (select count(*) from announced_ends where ended_at > %(at)s - interval '{_BEHIND_S} seconds') < {len(_QUERIES)}
    or {" or ".join(starmap(_more, _QUERIES.items()))})
"""


class EndedWindow(Struct, frozen=True):
    """A window in which units were used."""

    until: datetime
    account: str
    pool: str
    slot: str
    used: int
    from_at: datetime


class ExpiredGrant(Struct, frozen=True):
    """A grant of which units were left."""

    until: datetime
    account: str
    pool: str
    id: str
    kind: str
    units: int
    left: int


class ExpiringKey(Struct, frozen=True):
    """An API key that expires, and when that is to be told: then, or a week before."""

    told_at: datetime
    account: str
    pool: str
    id: str
    name: str
    mode: str
    publishable: bool
    expires_at: datetime


class AnnouncedEnds:
    """How far ends were gone through, within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def windows(self, *, limit: int, at: datetime) -> tuple[EndedWindow, ...]:
        """The next windows that have ended by `at`; from now on they have been gone through."""
        return tuple([EndedWindow(*row) for row in await self._next("windows", limit, at)])

    async def grants(self, *, limit: int, at: datetime) -> tuple[ExpiredGrant, ...]:
        """The next grants that have expired by `at`; from now on they have been gone through."""
        return tuple([ExpiredGrant(*row) for row in await self._next("grants", limit, at)])

    async def keys(self, *, limit: int, at: datetime) -> tuple[ExpiringKey, ...]:
        """The next API keys that have expired by `at`; from now on they have been gone through."""
        return tuple([ExpiringKey(*row) for row in await self._next("keys", limit, at)])

    async def expiring_keys(self, *, limit: int, at: datetime) -> tuple[ExpiringKey, ...]:
        """The next API keys that expire within a week of `at`; from now on they have been gone through."""
        return tuple([ExpiringKey(*row) for row in await self._next("expiring_keys", limit, at)])

    def waits(self) -> str:
        """Whether something has ended by `at` that was not gone through, or how far that was is to be written down, as
        SQL."""
        return _WAITS

    async def _next(self, what: What, limit: int, at: datetime) -> Sequence[TupleRow]:
        query = _QUERIES[what]
        last = await self._last(what, lock=False)
        if last is None:
            # What had ended before anybody looked is over; what ends soon is still to be told.
            await self._connection.execute(
                "insert into announced_ends (what, ended_at) values (%s, %s) on conflict do nothing",
                (what, at - WEEK if what == "expiring_keys" else at),
            )
            return []
        if not await self._read(query, last, 1, at) and at - last[0] < _BEHIND:
            return []
        last = await self._last(what, lock=True) or last
        found = await self._read(query, last, limit, at)
        until: End | None = found[-1][:4] if found else (at, "", "", "") if at > last[0] else None
        if until is not None:
            await self._connection.execute(
                "update announced_ends set ended_at = %s, account = %s, pool = %s, key = %s where what = %s",
                (*until, what),
            )
        return found

    async def _last(self, what: str, *, lock: bool) -> End | None:
        cursor = await self._connection.execute(
            f"select ended_at, account, pool, key from announced_ends where what = %s{' for update' if lock else ''}",
            (what,),
        )
        row = await cursor.fetchone()
        return None if row is None else (row[0], row[1], row[2], row[3])

    async def _read(self, query: str, last: End, limit: int, at: datetime) -> list[TupleRow]:
        ended_at, account, pool, key = last
        cursor = await self._connection.execute(
            query, {"last": ended_at, "account": account, "pool": pool, "key": key, "at": at, "limit": limit}
        )
        return await cursor.fetchall()
