"""What the database can be measured by: how much waits in it, and for how long."""

from datetime import datetime

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow


class Measured(Struct, frozen=True):
    """What waits. `dirty`: subjects to be read, the first of them for `dirty_s`; `unhandled`: billing events whose
    subject was not read since, the first of which came at `unhandled_since`; `drift`: fields that differ;
    `differences`: of the catalog from what the provider sells; `queue`: how full PostgreSQL's queue of notifications
    is, from 0 to 1; `unplaced_since`: when the first state update was written that has no place in the log yet;
    `unplanned_since`: when the first one was that some enabled endpoint has not been looked at for; `overdue_s`: how
    long the first webhook has been due to an endpoint that does not fail; `failing`: endpoints that take nothing, or
    were switched off for it; `unsent_since`: when the first audit record was made that a receiver has not taken."""

    dirty: int
    dirty_s: float | None
    unhandled: int
    unhandled_since: datetime | None
    drift: int
    differences: int
    queue: float
    unplaced_since: datetime | None
    unplanned_since: datetime | None
    overdue_s: float | None
    failing: int
    unsent_since: datetime | None


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
                   pg_notification_queue_usage(),
                   (select min(written_at) from updates where position is null),
                   (select written_at from updates where position = e.behind + 1),
                   extract(epoch from clock_timestamp() - e.due_at)::float8, e.failing,
                   (select min(a.occurred_at) from audit_streams s
                      join audit_unsent u on u.stream = s.stream
                        and u.place = (select min(place) from audit_unsent where stream = s.stream)
                      join audit a on a.account = u.account and a.number = u.number)
            from (select count(*) as waiting,
                         extract(epoch from clock_timestamp() - min(marked_at))::float8 as waited_s
                  from subjects where dirty > synced) s,
                 (select count(*) as waiting, min(received_at) as since from inbox where handled_at is null) i,
                 (select min(position) filter (where state = 'enabled' and position < readable) as behind,
                         min((select min(due_at) from webhook_deliveries where endpoint = id and due_at is not null))
                           filter (where state = 'enabled' and failing_since is null) as due_at,
                         count(*) filter (where failing_since is not null or reason in ('gone', 'failing')) as failing
                  from webhook_endpoints, update_log) e
            """
        )
        row = await cursor.fetchone()
        assert row is not None
        return Measured(*row)
