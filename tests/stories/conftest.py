"""A database for the stories of one worker: made once, emptied before each of them."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from support.databases import migrated_database


@pytest.fixture(scope="module")
def kept_database(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture
def emptied_database(kept_database: str) -> str:
    """The address of a database that has its tables and nothing in them."""
    with psycopg.connect(kept_database, autocommit=True) as connection:
        tables = connection.execute(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'migrations'"
        ).fetchall()
        names = sql.SQL(", ").join(sql.Identifier(name) for (name,) in tables)
        connection.execute(sql.SQL("truncate {} restart identity").format(names))
    return kept_database
