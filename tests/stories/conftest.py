"""A database for the stories of one worker: made once, emptied before each of them."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.rows import TupleRow

from support.databases import migrated_database

BEGIN_AGAIN = """
    select setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    from pg_sequences where last_value is not null
"""


@pytest.fixture(scope="module")
def kept_database(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture
def emptied_database(kept_database: str) -> str:
    """The address of a database that has its tables and nothing in them."""
    with psycopg.connect(kept_database) as connection:
        # A story leaves few rows in few tables: to delete them costs a third of what truncating every table does.
        for table in _filled(connection):
            connection.execute(sql.SQL("delete from {}").format(table))
        connection.execute(BEGIN_AGAIN)
    return kept_database


def _filled(connection: Connection[TupleRow]) -> list[sql.Identifier]:
    tables = connection.execute(
        "select tablename from pg_tables where schemaname = 'public' and tablename <> 'migrations'"
    ).fetchall()
    asked = [
        sql.SQL("select {} where exists (select from {})").format(name, sql.Identifier(name)) for (name,) in tables
    ]
    return [sql.Identifier(name) for (name,) in connection.execute(sql.SQL(" union all ").join(asked)).fetchall()]
