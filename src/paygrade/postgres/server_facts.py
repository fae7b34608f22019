"""What is known of a PostgreSQL beside its tables: what stands before it, its settings, its clock, its room.

Law: nothing is changed by looking.
"""

from datetime import datetime

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

LOOKS = 3


class ServerFacts(Struct, frozen=True):
    """A PostgreSQL as one session finds it. `connections_max`: how many of ours it lets in; `connections`: how many are
    open now, of all databases. `notifications`: how full the queue of notifications is, from 0 to 1. `standbys`: whom
    a commit waits for."""

    version: int
    settings: dict[str, str]
    connections_max: int
    connections: int
    database_bytes: int
    notifications: float
    is_replica: bool
    standbys: str
    clock: datetime


async def shares_sessions(database_url: str) -> bool:
    """Whether a pooler stands here that gives one session to several clients in turn, as PgBouncer does in its
    transaction mode. psycopg.Error where nothing answers."""
    async with await _connected(database_url) as one:
        # Whoever connects to PostgreSQL itself is told the number of the process that serves it.
        if await _process(one) == one.info.backend_pid:
            return False
        seen = {await _process(one)}
        async with await _connected(database_url) as other:
            for _ in range(LOOKS):
                if await _process(other) in seen:
                    return True
                seen.add(await _process(one))
        return len(seen) > 1


async def look_at_server(database_url: str) -> ServerFacts:
    """What this PostgreSQL is like. psycopg.Error where nothing answers."""
    async with await _connected(database_url) as connection:
        cursor = await connection.execute(
            """
            select current_setting('server_version_num')::int / 10000,
                   (select json_object_agg(name, setting) from pg_settings where name in ('fsync', 'full_page_writes',
                     'synchronous_commit', 'default_transaction_isolation', 'TimeZone', 'server_encoding')),
                   current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
                   (select count(*) from pg_stat_activity where backend_type = 'client backend'),
                   pg_database_size(current_database()), pg_notification_queue_usage(), pg_is_in_recovery(),
                   current_setting('synchronous_standby_names'), clock_timestamp()
            """
        )
        found = await cursor.fetchone()
    assert found is not None, "a query without a table answers with one row"
    return ServerFacts(*found)


async def _connected(database_url: str) -> AsyncConnection[TupleRow]:
    return await AsyncConnection.connect(database_url, autocommit=True, prepare_threshold=None, connect_timeout=5)


async def _process(connection: AsyncConnection[TupleRow]) -> int:
    cursor = await connection.execute("select pg_backend_pid()")
    (process,) = await cursor.fetchone() or (0,)
    return int(process)
