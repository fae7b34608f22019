"""Rows of the inbox: billing events as received.

Laws: an event id is stored once per subject; a stored event never changes, but that it was handled.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.postgres.sizes import about

_STATES = {
    "waiting": "i.handled_at is null and s.error is null",
    "failing": "i.handled_at is null and s.error is not null",
    "handled": "i.handled_at is not null and i.subject <> %(nothing)s",
    "ignored": "i.subject = %(nothing)s",
}


class SavedEvent(Struct, frozen=True, kw_only=True):
    """A billing event without its body, and how its subject stands."""

    subject: str
    id: str
    type: str
    object_id: str | None
    created_at: datetime | None
    received_at: datetime
    handled_at: datetime | None
    polled: bool
    account: str | None
    error: str | None
    attempts: int
    retry_at: datetime | None


class Inbox:
    """Billing events within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(
        self,
        *,
        subject: str,
        event_id: str,
        type: str,
        object_id: str | None,
        created_at: datetime | None,
        body: bytes,
        handled: bool,
        polled: bool = False,
        traceparent: str | None = None,
        at: datetime,
    ) -> bool:
        """Keep an event; False when it was kept before."""
        cursor = await self._connection.execute(
            """
            insert into inbox (subject, event_id, type, object_id, created_at, received_at, body, handled_at, polled,
                               traceparent)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing
            """,
            (subject, event_id, type, object_id, created_at, at, body, at if handled else None, polled, traceparent),
        )
        return cursor.rowcount == 1

    async def handle(self, subject: str, event_ids: list[str], at: datetime) -> None:
        await self._connection.execute(
            "update inbox set handled_at = %s where subject = %s and event_id = any(%s) and handled_at is null",
            (at, subject, event_ids),
        )

    async def is_handled(self, subjects: Iterable[str], event_id: str) -> bool:
        """Whether an event concerned one of these subjects, and each of those it did was read since."""
        cursor = await self._connection.execute(
            "select coalesce(bool_and(handled_at is not null), false) from inbox"
            " where subject = any(%s) and event_id = %s",
            (list(subjects), event_id),
        )
        row = await cursor.fetchone()
        assert row is not None
        return bool(row[0])

    async def hand_on(self, subject: str, event_ids: list[str], *, to: str) -> None:
        """Let these events wait for another subject too. They stay with this one: it is how they are known again."""
        await self._connection.execute(
            """
            insert into inbox (subject, event_id, type, object_id, created_at, received_at, body, polled, traceparent)
            select %(to)s, event_id, type, object_id, created_at, received_at, body, polled, traceparent from inbox
            where subject = %(subject)s and event_id = any(%(ids)s)
            on conflict do nothing
            """,
            {"to": to, "subject": subject, "ids": event_ids},
        )

    async def page(
        self,
        *,
        id: str | None,
        state: Literal["waiting", "failing", "handled", "ignored"] | None,
        account: str | None,
        subject: str | None,
        before: tuple[datetime, str, str] | None,
        limit: int,
        nothing: str,
    ) -> tuple[SavedEvent, ...]:
        """The latest first. What is not asked for is not said, so that each question has the index it needs.

        `nothing`: the subject of events that concern none."""
        asked = [
            *(["i.event_id = %(id)s"] if id is not None else ()),
            *([_STATES[state]] if state is not None else ()),
            *(
                ["i.subject = any(array(select subject from subjects where account = %(account)s))"]
                if account is not None
                else ()
            ),
            *(["i.subject = %(subject)s"] if subject is not None else ()),
            *(["(i.received_at, i.subject, i.event_id) < (%(at)s, %(of)s, %(last)s)"] if before is not None else ()),
        ]
        received_at, of, last = before or (None, None, None)
        cursor = await self._connection.execute(
            f"""
            select i.subject, i.event_id, i.type, i.object_id, i.created_at, i.received_at, i.handled_at, i.polled,
                   s.account, s.error, coalesce(s.attempts, 0), s.retry_at
            from inbox i left join subjects s on s.subject = i.subject
            {"where " if asked else ""}{" and ".join(asked)}
            order by i.received_at desc, i.subject desc, i.event_id desc limit %(limit)s
            """,
            {
                "id": id,
                "account": account,
                "subject": subject,
                "at": received_at,
                "of": of,
                "last": last,
                "limit": limit,
                "nothing": nothing,
            },
        )
        names = SavedEvent.__struct_fields__
        rows = [[_utc(value) for value in row] async for row in cursor]
        return tuple([SavedEvent(**dict(zip(names, row, strict=True))) for row in rows])

    async def count(self) -> tuple[int, int, datetime | None]:
        """How many events are kept, how many of them wait for their subject to be read, and when the last one came."""
        cursor = await self._connection.execute(
            "select count(*), count(*) filter (where handled_at is null), max(received_at) from inbox"
        )
        row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    async def about(self) -> tuple[int, int, datetime | None]:
        """The same, but how many are kept is counted about."""
        cursor = await self._connection.execute(
            """
            select (select count(*) from inbox where handled_at is null), (select max(received_at) from inbox)
            """
        )
        row = await cursor.fetchone()
        assert row is not None
        return await about(self._connection, "inbox"), row[0], row[1]

    async def purge(self, *, kept: timedelta, at: datetime) -> int:
        """Forget events that were handled and are older than `kept`; returns how many."""
        cursor = await self._connection.execute(
            "delete from inbox where received_at < %s and handled_at is not null", (at - kept,)
        )
        return cursor.rowcount


def _utc(value: Any) -> Any:
    """Any: of every type."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value
