"""How many rows tables have, about: what a page says of many."""

from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

FEW: Final = 10_000


async def about(connection: AsyncConnection[TupleRow], table: LiteralString) -> int:
    """Counted while they are few, else as PostgreSQL last estimated
    (https://www.postgresql.org/docs/current/catalog-pg-class.html: -1 before the first time)."""
    cursor = await connection.execute(
        f"select case when reltuples < %s then (select count(*) from {table}) else reltuples::bigint end"
        " from pg_class where oid = %s::regclass",
        (FEW, table),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
