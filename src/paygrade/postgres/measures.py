"""What the database can be measured by: how much waits in it, and for how long."""

from datetime import datetime

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow


class Measured(Struct, frozen=True):
    """What waits. `dirty`: subjects to be read, the first of them for `dirty_s`; `unhandled`: billing events whose
    subject was not read since, the first of which came at `unhandled_since`; `drift`: fields that differ;
    `differences`: of the catalog from what the provider sells; `queue`: how full PostgreSQL's queue of notifications
    is, from 0 to 1."""

    dirty: int
    dirty_s: float | None
    unhandled: int
    unhandled_since: datetime | None
    drift: int
    differences: int
    queue: float


class Measures:
    """Measures within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def take(self) -> Measured:
        """All of them: each is read from an index of what waits, so that it costs nothing while nothing does."""
        cursor = await self._connection.execute(
            """
            select s.waiting, s.waited_s, i.waiting, i.since, (select count(*) from drift where healed_at is null),
                   (select coalesce(sum(json_array_length(found)), 0)::int from catalog_checks),
                   pg_notification_queue_usage()
            from (select count(*) as waiting,
                         extract(epoch from clock_timestamp() - min(marked_at))::float8 as waited_s
                  from subjects where dirty > synced) s,
                 (select count(*) as waiting, min(received_at) as since from inbox where handled_at is null) i
            """
        )
        row = await cursor.fetchone()
        assert row is not None
        return Measured(*row)
