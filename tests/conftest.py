"""Real PostgreSQL for every test that asks: one server for the whole run, an empty database for each test.

Ask for `store` to get one over a database of one's own, for `database_url` to get that database empty, or for
`postgres_url` to make databases oneself.
PAYGRADE_TEST_DATABASE_URL names a server to use instead of the embedded one; its user must be allowed to create
databases.
"""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from paygrade.embedded_postgres import cluster as embedded
from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store

pytest_plugins = ["support.server_process"]

# No test of this server is about crashes: those start their own, with the usual settings.
UNSAFE_BUT_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


@pytest.fixture(scope="session")
def postgres_url(testrun_uid: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a server shared by all workers of this run, where the user may create databases."""
    given = os.environ.get("PAYGRADE_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Not below pytest's own folder: that one is private, and PostgreSQL runs as another user when we are root.
    data_dir = Path(tempfile.gettempdir()) / f"paygrade-tests-{testrun_uid}"
    with (tmp_path_factory.getbasetemp().parent / f"postgres-users-{testrun_uid}").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        server = embedded.start(data_dir, settings=UNSAFE_BUT_FAST)
        yield server.url
        fcntl.flock(users, fcntl.LOCK_UN)
        if not server.attached:
            # The worker that started it waits here for the others to finish.
            fcntl.flock(users, fcntl.LOCK_EX)
            server.stop()
            shutil.rmtree(data_dir)


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """Give the address of an empty database, dropped after the test whoever is still connected."""
    name = f"test_{uuid.uuid4().hex}"
    database = sql.Identifier(name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template template0").format(database))
        yield conninfo.make_conninfo(postgres_url, dbname=name)
        connection.execute(sql.SQL("drop database {} with (force)").format(database))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Give an open store over a migrated database."""
    await migrate(database_url)
    async with Store(database_url) as opened:
        yield opened


@pytest.fixture
def anyio_backend() -> str:
    """Name the loop that tests marked `anyio` run on."""
    return "asyncio"
