"""An upgrade takes nothing down: the release before this one serves on this one's schema, and keeps its promises."""

import io
import os
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from operate.servers import Load, Servers, environ_of, new_account, used
from paygrade.cli import wiring
from support.cli_runner import Shell
from support.databases import empty_database
from support.server_process import KEY
from support.waiting import eventually

ROOT = Path(__file__).parents[2]
PREVIOUS = ("925fc6f", "577abad")
"""The releases before this one. Nothing has a tag yet: they are what came before the tables since 0016, and since
0031."""


@pytest.fixture(scope="module", params=PREVIOUS)
def older(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a release before this one, as git has it."""
    packed = subprocess.run(
        ["git", "archive", request.param, "src", "tests", "pyproject.toml"], cwd=ROOT, capture_output=True
    )
    if packed.returncode != 0:
        pytest.skip("the history of git is not here, so neither is the release before this one")
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture
def empty(postgres_url: str) -> Iterator[str]:
    with empty_database(postgres_url) as url:
        yield url


def test_the_tests_of_the_release_before_pass_on_this_schema(older: Path, postgres_url: str) -> None:
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(older / "src"), str(ROOT / "tests" / "operate")]),
        "NEWER": str(ROOT / "src" / "paygrade" / "postgres" / "migrations"),
        "PAYGRADE_TEST_DATABASE_URL": postgres_url,
    }
    stories = "outlives or zero or passed or covers or fraction"
    chosen = f"test_store or rows or (through_http and ({stories}))"
    files = [f"tests/postgres/test_{name}.py" for name in ("store", "ledger_rows", "catalog_rows")]
    # What is installed names the plugins of this release, and the older one may lack some.
    lacks = [f"-pno:{name}" for name in plugins(ROOT) - plugins(older)]
    used = ["-q", "-p", "on_newer_schema", *lacks, "-k", chosen]
    command = [sys.executable, "-m", "pytest", *used, *files, "tests/stories"]
    ended = subprocess.run(command, cwd=older, env=environ, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert ended.stdout.count(".") > 20, ended.stdout


def plugins(release: Path) -> set[str]:
    """The names of what a release adds to pytest."""
    entry_points = tomllib.loads((release / "pyproject.toml").read_text())["project"].get("entry-points", {})
    return set(entry_points.get("pytest11", ()))


def test_a_server_of_the_release_before_goes_on_while_this_one_migrates_and_takes_over(
    older: Path, empty: str, tmp_path: Path
) -> None:
    environ = environ_of(database_url=empty)
    before = Servers(tmp_path, {**environ, "PYTHONPATH": str(older / "src")}, count=1)
    (after_folder := tmp_path / "after").mkdir()
    after = Servers(after_folder, environ, count=1)
    try:
        before.start(0)
        account = new_account(before.urls[0], "acme", 1_000_000)
        with Load(before.urls, account, again=False).running() as asking:
            asking.more(20)
            Shell(tmp_path, PAYGRADE_ADMIN_KEY=KEY, **environ).run("migrate")
            asking.more(20)
            after.start(0)
            with Load(after.urls, account, again=False, name="after").running() as also:
                also.more(20)
                asking.more(20)
        assert set(asking.outcomes) == set(also.outcomes) == {"allowed"}, (asking.outcomes, also.outcomes)
        everything = len(asking.acknowledged | also.acknowledged)
        for server in (before, after):
            # Each hears of the other's counts, a moment after they are saved (ADR 28).
            eventually(lambda server=server: used(server.urls[0], account) == everything)  # type: ignore[misc]  # bound now
    finally:
        before.end()
        after.end()


@pytest.mark.anyio
async def test_a_server_stays_ready_while_a_newer_release_only_adds(empty: str) -> None:
    from paygrade.postgres.migrate import Migration, migrate, migrations

    adds = Migration(9998, "9998_adds", "create table added (account text primary key)")
    await migrate(empty, (*migrations(), adds))
    assert await wiring.pending_migrations(empty) == ()
