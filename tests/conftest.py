"""Real PostgreSQL for every test that asks: one server for the whole run, a database for each test.

Ask for `store` to get one over a database of one's own, for `database_url` to get that database, with its tables and
nothing in them, for `empty_database_url` to get one without tables, or for `postgres_url` to make databases oneself.
PAYGRADE_TEST_DATABASE_URL names a server to use instead of the embedded one; its user must be allowed to create
databases.
"""

import fcntl
import gc
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
from argon2 import PasswordHasher
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from paygrade.embedded_postgres import cluster as embedded
from paygrade.postgres.store import Store
from paygrade.server.process import passwords, retries
from support.databases import drop_template, empty_database, migrated_database

pytest_plugins = ["support.server_process", "support.browsing"]

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("paygrade", deadline=None)
settings.load_profile("paygrade")

# As `configure_logs` has it: with every variable of every frame, one error takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

# The usual one takes a third of a second and 64 MiB, to make as to look at; with this one both take nothing.
passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)

# No test of this server is about crashes: those start their own, with the usual settings.
UNSAFE_BUT_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "max_connections": "200",
}
MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30
"""Bytes that have to be free in memory for its folder to stand there; it takes a fourth of that at most."""


TOGETHER = ("tests/chaos/", "tests/docs/", "tests/proof/")
"""Folders whose tests run in one process: they share what is long in the making, or take all of the machine."""
BY_FILE = ("tests/cli/", "tests/client/", "tests/house_rules/", "tests/postgres/", "tests/providers/", "tests/server/")
"""Folders in which each file runs in one process: most start a server for all of their tests, or read all files."""


class _Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Spreads the tests that stay together before those that go one by one, so that all processes end together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0] if nodeid.startswith(BY_FILE) else nodeid
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    # The marks of pytest-xdist 3.8 for this go unheard since pytest 9.2 keeps the ids of tests elsewhere.
    return _Scheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_finish() -> None:
    # What was collected stays until the end: nobody need look through it again and again for what may go.
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_url(testrun_uid: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a server shared by all workers of this run, where the user may create databases."""
    given = os.environ.get("PAYGRADE_TEST_DATABASE_URL")
    if given:
        yield given
        drop_template(given)
        return
    # Not below pytest's own folder: that one is private, and PostgreSQL runs as another user when we are root.
    folder = _roomy_folder()
    _clear(folder)
    data_dir = folder / f"paygrade-tests-{testrun_uid}"
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
    """Give the address of a database that has its tables and nothing in them."""
    with migrated_database(postgres_url) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """Give the address of a database with nothing in it."""
    with empty_database(postgres_url) as url:
        yield url


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Give an open store over a database of its own."""
    async with Store(database_url) as opened:
        yield opened


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again once somebody lets its pause pass, and not before, however slow the machine is."""
    monkeypatch.setattr(retries, "FIRST_S", 7200.0)
    monkeypatch.setattr(retries, "MAX_S", 7200.0)


@pytest.fixture
def anyio_backend() -> str:
    """Name the loop that tests marked `anyio` run on."""
    return "asyncio"


def _roomy_folder() -> Path:
    """Memory where there is enough of it: making a database copies a thousand files."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
        return MEMORY
    return Path(tempfile.gettempdir())


def _clear(folder: Path) -> None:
    """Remove what a run left behind that was killed more than an hour ago."""
    for left in folder.glob("paygrade-tests-*"):
        with suppress(OSError), (left / "owner.lock").open() as owner:
            if left.stat().st_mtime < time.time() - 3600:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
