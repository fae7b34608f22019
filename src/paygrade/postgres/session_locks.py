"""Numbers that sessions hold for as long as they live: when a process or its connection is gone, so is its number.

https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

HOLDERS, TELLERS = 4710_0004, 4710_0005
"""Of those who hold leases, and of those who tell of counts."""


async def hold(connection: AsyncConnection[TupleRow], kind: int, number: int) -> None:
    """Hold this number of this kind until the session ends."""
    await connection.execute("select pg_advisory_lock(%s, %s)", (kind, number))


async def let_go(connection: AsyncConnection[TupleRow], kind: int, number: int) -> None:
    await connection.execute("select pg_advisory_unlock(%s, %s)", (kind, number))


async def held(connection: AsyncConnection[TupleRow], kind: int) -> set[int]:
    """The numbers of this kind that are held in this database."""
    # Not within a statement about rows: locks are known to the one server that is asked.
    cursor = await connection.execute(
        """
        select objid::bigint from pg_locks
        where locktype = 'advisory' and classid = %s and objsubid = 2 and granted
          and database = (select oid from pg_database where datname = current_database())
        """,
        (kind,),
    )
    return {number async for (number,) in cursor}
