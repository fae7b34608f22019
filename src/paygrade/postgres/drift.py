"""Rows of drift: each field that differed, when that was found and when it was healed.

Law: a field of a subscription has at most one open row; a row that was healed never changes.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.billing.drift import Difference, Drift, FoundBy

Fields = Counter[tuple[str, str]]
"""How many fields, by subject and account."""


class Drifts:
    """Drift within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, found: Iterable[tuple[str, str, Difference]], *, found_by: FoundBy, at: datetime) -> Fields:
        """Open a row for each difference of a subject of an account; returns those that were not open already."""
        rows = [(subject, account, *msgspec.structs.astuple(each)) for subject, account, each in found]
        if not rows:
            return Counter()
        cursor = await self._connection.execute(
            """
            insert into drift (subject, account, subscription, field, stored, provider, found_by, found_at)
            select differing.*, %s, %s
            from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]) as differing
            on conflict (subject, coalesce(subscription, ''), field) where healed_at is null do nothing
            returning subject, account
            """,
            (found_by, at, *(list(column) for column in zip(*rows, strict=True))),
        )
        return Counter([row async for row in cursor])

    async def heal(self, subject: str, at: datetime) -> Fields:
        """Close what is open of a subject that was read again; returns that."""
        cursor = await self._connection.execute(
            "update drift set healed_at = %s where subject = %s and healed_at is null returning subject, account",
            (at, subject),
        )
        return Counter([row async for row in cursor])

    async def withdraw(self, subject: str) -> Fields:
        """Take back what is open of a subject: an event that was on its way explains it. Returns that."""
        cursor = await self._connection.execute(
            "delete from drift where subject = %s and healed_at is null returning subject, account", (subject,)
        )
        return Counter([row async for row in cursor])

    async def page(self, *, open_only: bool, before: int | None, limit: int) -> tuple[Drift, ...]:
        """The newest first; `before` is an id left out."""
        cursor = await self._connection.execute(
            f"""
            select id, account, subject, subscription, field, stored, provider, found_by, found_at, healed_at from drift
            where (%(before)s::bigint is null or id < %(before)s) {"and healed_at is null" if open_only else ""}
            order by id desc limit %(limit)s
            """,
            {"before": before, "limit": limit},
        )
        return tuple([_saved(row) async for row in cursor])

    async def count(self, *, since: datetime) -> tuple[int, int]:
        """How many rows are open, and how many were found since then."""
        cursor = await self._connection.execute(
            """
            select count(*) filter (where healed_at is null), count(*) filter (where found_at >= %(since)s)
            from drift where healed_at is null or found_at >= %(since)s
            """,
            {"since": since},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1]

    async def purge(self, *, kept: timedelta, at: datetime) -> None:
        await self._connection.execute("delete from drift where healed_at < %s", (at - kept,))


def _saved(row: TupleRow) -> Drift:
    return Drift(*row)
