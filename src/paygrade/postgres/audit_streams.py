"""Rows of audit streams: which records each has not taken yet, and who sends to it now.

Law: what a stream has not taken is written down with the record, and is removed once the stream has taken it; so
nothing is lost by a server that ends, and after a crash some are sent again.
"""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import ClassVar

from msgspec import Struct

from paygrade.billing.audit_chain import AuditRecord
from paygrade.postgres.audit import RECORD, record
from paygrade.postgres.claims import Claims


class SavedStream(Struct, frozen=True):
    """A stream that was claimed."""

    stream: str
    attempts: int
    fence: int


class UnsentRecord(Struct, frozen=True):
    """A record that a stream has not taken yet, and its place among those."""

    place: int
    record: AuditRecord


class AuditStreams(Claims[SavedStream]):
    """Audit streams within one transaction."""

    TABLE = "audit_streams"
    KEY = ("stream",)
    WAITING: ClassVar = (
        (
            "stream = any(%(streams)s) and exists (select from audit_unsent u where u.stream = audit_streams.stream)",
            "stream",
        ),
    )
    ROW = SavedStream
    COLUMNS = SavedStream.__struct_fields__

    async def name(self, streams: Collection[str], *, forgotten_after: timedelta) -> tuple[str, ...]:
        """Have records kept for these from now on, and forget those that nobody has named for so long, with what they
        have not taken; returns these."""
        await self._connection.execute(
            """
            insert into audit_streams (stream, seen_at) select unnest(%s::text[]), clock_timestamp()
            on conflict (stream) do update set seen_at = excluded.seen_at
            """,
            (sorted(streams),),
        )
        cursor = await self._connection.execute(
            "delete from audit_streams where seen_at < clock_timestamp() - %s returning stream", (forgotten_after,)
        )
        forgotten = tuple([stream async for (stream,) in cursor])
        if forgotten:
            await self._connection.execute("delete from audit_unsent where stream = any(%s)", (list(forgotten),))
        return forgotten

    async def unsent(self, stream: str, *, limit: int) -> tuple[UnsentRecord, ...]:
        """The next records for a stream."""
        cursor = await self._connection.execute(
            f"""
            select u.place, {RECORD} from audit_unsent u join audit p using (account, number)
            where u.stream = %s order by u.place limit %s
            """,
            (stream, limit),
        )
        return tuple([UnsentRecord(place, record(its)) async for place, *its in cursor])

    async def taken(self, stream: str, places: Sequence[int]) -> None:
        """The stream has taken these."""
        await self._connection.execute(
            "delete from audit_unsent where stream = %s and place = any(%s)", (stream, list(places))
        )
