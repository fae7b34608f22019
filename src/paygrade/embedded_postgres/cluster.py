"""Runs a PostgreSQL of our own for the process that needs one, with nothing to install or configure.

Laws (ADR 0001):
- The database lives as long as the process that started it: however that one ends, nothing keeps running,
  and nothing committed is lost.
- Only its user reaches it: a private folder, a Unix socket inside, no TCP.
- One folder, one server: who comes second attaches, and loses its connection when the first one ends.
- As root, the server runs as an unprivileged user; no folder but our own changes hands or permissions.

Everything about one database stays in its data folder: `cluster` (PostgreSQL's files), `server.log` and the log of
the run before it, the socket, and three locks that the kernel gives back however a process ends:
- `starting.lock` is held while a process looks or starts;
- `owner.lock` is held by the process that started the server, until it stops it or dies;
- `running.lock` is inherited by PostgreSQL and all its children, so it is free exactly when none of them is left.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from paygrade.embedded_postgres import supervisor as embedded_supervisor
from paygrade.embedded_postgres.binaries import (
    MAJOR_MIN,
    Installation,
    RunAs,
    find_installation,
    program_environment,
    run_program,
)
from paygrade.embedded_postgres.folder import claim_folder, open_ours
from paygrade.values.errors import Unavailable

# PostgreSQL makes the socket's name of it; nothing listens on any port.
PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
DATABASE_USER = "paygrade"
SOCKET_PATH_BYTES_MAX = 103  # macOS allows 103 bytes, Linux 107
# For a server to answer: after a crash PostgreSQL first replays up to `max_wal_size` of its log.
WAIT_S = 300.0
WAIT_FOR_STOP_S = 60.0
ENDS_MAX, ENDS_WITHIN_S = 5, 60.0
"""A server that ends more often is not started again: whatever ends it would go on doing so."""
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "cluster_name": "paygrade",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Failed statements are told to whoever sent them; the log is for the server's own story.
    "log_min_messages": "log",
    "log_checkpoints": "off",
    "fsync": "on",
    "synchronous_commit": "on",
}


class EmbeddedPostgres:
    """A running database; `url` works with psycopg and libpq.

    Keep the object: what this process started ends with it, at the latest. As a context it ends there.
    """

    def __init__(self, url: str, started: "_Started | None") -> None:
        self.url = url
        self._started = started
        self._changing = threading.Lock()
        self._stopped = False

    @property
    def attached(self) -> bool:
        """Whether another process started the server and takes it along when it ends."""
        return self._started is None

    def stop(self) -> None:
        """Disconnect everyone, write a checkpoint and end the server; leave alone one we only attached to."""
        with self._changing:
            self._stopped = True
            if self._started is not None:
                # First, so that nobody attaches to a server on its way out.
                self._started.ownership.close()
                _end(self._started.supervisor)

    def keep_alive(self, *, lost: Callable[[Unavailable], None], progress: Callable[[str], None]) -> None:
        """Start the server again, with its data, whenever it ends without having been stopped, as when the kernel takes
        its memory. `lost` is called, in a thread, where that does not help; from then on it stays as it is."""
        if self._started is not None:
            threading.Thread(target=self._keep_alive, args=(lost, progress), name="postgres", daemon=True).start()

    def _keep_alive(self, lost: Callable[[Unavailable], None], progress: Callable[[str], None]) -> None:
        assert self._started is not None
        ends: list[float] = []
        why = "`server.log` in its data folder may say why"
        while True:
            self._started.supervisor.wait()
            with self._changing:
                if self._stopped:
                    return
                now = time.monotonic()
                ends = [*(end for end in ends if end > now - ENDS_WITHIN_S), now]
                if len(ends) > ENDS_MAX:
                    lost(Unavailable("embedded_lost", f"PostgreSQL has ended {len(ends)} times in short order; {why}"))
                    return
                progress("PostgreSQL has ended by itself; starting it again")
                try:
                    self._started = replace(self._started, supervisor=self._started.again())
                except (Unavailable, OSError) as error:
                    why = str(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@dataclass(frozen=True, kw_only=True)
class _Started:
    supervisor: subprocess.Popen[bytes]
    ownership: IO[bytes]
    again: Callable[[], subprocess.Popen[bytes]]
    """Starts the same server once more, where it has ended."""


def start(
    data_dir: Path,
    *,
    database: str = DATABASE_USER,
    settings: Mapping[str, str] = SETTINGS,
    progress: Callable[[str], None] = lambda _line: None,
) -> EmbeddedPostgres:
    """Start the database kept in `data_dir`, or attach to it where another process already did.

    Creates the folder and `database` where missing. `settings` go over the usual ones, by PostgreSQL's names.
    Blocks: about a second the first time, a quarter later. Raises Unavailable.
    """
    data_dir = data_dir.expanduser().resolve()
    try:
        run_as = claim_folder(data_dir)
        with _nobody_else_starting(data_dir, run_as, progress):
            socket_dir = _running_socket_dir(data_dir, run_as)
            if socket_dir is not None:
                progress("attaching to the embedded PostgreSQL another process started")
                _make_database(socket_dir, database)
                return EmbeddedPostgres(_url(socket_dir, database), started=None)
            programs = _programs(data_dir, run_as, progress)
            settings = {**SETTINGS, **settings}
            if not (data_dir / "cluster").exists():
                progress(f"creating a PostgreSQL {programs.version} database in {data_dir}")
                _create_cluster(data_dir, programs, run_as, durable=settings["fsync"] != "off")
            progress(f"starting PostgreSQL {programs.version}")
            return _launch(data_dir, programs, run_as, settings, database)
    except OSError as failure:
        raise Unavailable(
            "embedded_folder_unusable",
            f"the embedded database cannot use `{data_dir}`: {failure}; free or repair the folder, or choose"
            " another with PAYGRADE_DATA_DIR",
        ) from failure


@contextlib.contextmanager
def _nobody_else_starting(data_dir: Path, run_as: RunAs | None, progress: Callable[[str], None]) -> Iterator[None]:
    lock = open_ours(data_dir / "starting.lock", run_as)
    try:
        if not _take(lock):
            progress("waiting for another process that is starting the same database")
        give_up_at = time.monotonic() + WAIT_S
        while not _take(lock):
            if time.monotonic() > give_up_at:
                raise Unavailable(
                    "embedded_busy",
                    f"another process has been starting the database in `{data_dir}` for {WAIT_S:.0f} s;"
                    " end it and try again",
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running_socket_dir(data_dir: Path, run_as: RunAs | None) -> str | None:
    """Return the socket folder of the server that runs on `data_dir` and answers; None when none runs."""
    record = data_dir / "cluster" / "postmaster.pid"
    give_up_at = time.monotonic() + WAIT_S
    while time.monotonic() < give_up_at:
        socket_dir = _recorded_socket_dir(record)
        if socket_dir is not None and _listens(socket_dir):
            # Without its owner it is on its way out, even if it still answers.
            ownerless = _is_free(data_dir / "owner.lock", run_as)
            by_hand = _is_free(data_dir / "running.lock", run_as)
            if (by_hand or not ownerless) and _answers(socket_dir):
                return socket_dir
        elif _is_free(data_dir / "running.lock", run_as):
            # Left by a crash. PostgreSQL would refuse to start if another process had its number by now, as
            # happens in restarted containers.
            record.unlink(missing_ok=True)
            return None
        time.sleep(0.02)
    raise Unavailable(
        "embedded_stuck",
        f"the PostgreSQL that runs on `{data_dir}` does not answer; see `server.log` there, end it and try again",
    )


def _recorded_socket_dir(record: Path) -> str | None:
    """Read the fifth line of `postmaster.pid`, where PostgreSQL notes its socket folder."""
    try:
        lines = record.read_text().splitlines()
    except FileNotFoundError:
        return None
    return lines[4] if len(lines) > 4 and lines[4] else None


def _listens(socket_dir: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(f"{socket_dir}/{SOCKET_NAME}")
        except OSError:
            return False
    return True


def _is_free(lock_path: Path, run_as: RunAs | None) -> bool:
    lock = open_ours(lock_path, run_as)
    try:
        return _take(lock)
    finally:
        os.close(lock)


def _programs(data_dir: Path, run_as: RunAs | None, progress: Callable[[str], None]) -> Installation:
    try:
        made_by = int((data_dir / "cluster" / "PG_VERSION").read_text())
    except FileNotFoundError:
        made_by = None
    programs = find_installation(run_as, major=made_by, progress=progress)
    if programs is not None:
        return programs
    if made_by is not None:
        raise Unavailable(
            "embedded_version_mismatch",
            f"the database in `{data_dir}` was made by PostgreSQL {made_by}, which is not found here; install"
            f" PostgreSQL {made_by}, or move the folder away to begin with an empty one",
        )
    raise Unavailable(
        "embedded_programs_missing",
        f"no PostgreSQL {MAJOR_MIN} or newer that can run here; install `paygrade[embedded]` or PostgreSQL,"
        " or name a server in PAYGRADE_DATABASE_URL",
    )


def _create_cluster(data_dir: Path, programs: Installation, run_as: RunAs | None, *, durable: bool) -> None:
    for leftover in data_dir.glob("cluster.*"):
        shutil.rmtree(leftover)
    draft = data_dir / f"cluster.{os.getpid()}"
    # The builtin provider orders text the same on every machine and in every version of its C library.
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if programs.major >= 17 else []
    command = [
        str(programs.bin_dir / "initdb"),
        f"--pgdata={draft}",
        f"--username={DATABASE_USER}",
        "--encoding=UTF8",
        "--locale=C",
        *builtin,
        # The socket stands in a private folder: whoever reaches it is the database's own user, or root.
        "--auth-local=trust",
        "--auth-host=reject",
        "--no-instructions",
        *([] if durable else ["--no-sync"]),
    ]
    answer = run_program(command, run_as)
    if answer.returncode != 0:
        shutil.rmtree(draft, ignore_errors=True)
        raise Unavailable(
            "embedded_create_failed",
            f"PostgreSQL could not create a database in `{data_dir}`; it says:\n{_tail(answer.stdout)}",
        )
    os.rename(draft, data_dir / "cluster")
    _sync_folder(data_dir)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _launch(
    data_dir: Path,
    programs: Installation,
    run_as: RunAs | None,
    settings: Mapping[str, str],
    database: str,
) -> EmbeddedPostgres:
    ownership = os.fdopen(open_ours(data_dir / "owner.lock", run_as), "rb")
    _take(ownership.fileno())
    socket_dir, leftover = _socket_dir(data_dir, run_as)
    command = [
        str(programs.bin_dir / "postgres"),
        "-D",
        str(data_dir / "cluster"),
        "-c",
        f'unix_socket_directories="{socket_dir}"',
        *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
    ]

    def spawn() -> subprocess.Popen[bytes]:
        supervisor = _spawn(data_dir, run_as, leftover=leftover, command=command)
        try:
            _wait_until_it_answers(supervisor, data_dir, socket_dir)
            _make_database(socket_dir, database)
        except BaseException:
            _end(supervisor)
            raise
        return supervisor

    def again() -> subprocess.Popen[bytes]:
        # Those of its processes that outlived it are waited for, and its record is removed.
        _running_socket_dir(data_dir, run_as)
        if leftover:
            _make_socket_folder(Path(leftover), run_as)
        return spawn()

    try:
        started = _Started(supervisor=spawn(), ownership=ownership, again=again)
    except BaseException:
        ownership.close()
        raise
    return EmbeddedPostgres(_url(socket_dir, database), started)


def _socket_dir(data_dir: Path, run_as: RunAs | None) -> tuple[str, str]:
    """Choose a folder for the socket; the second value is the folder to remove at the end, or empty."""
    path_bytes = len(os.fsencode(data_dir / SOCKET_NAME))
    # libpq reads a comma in a host as the start of another host.
    if path_bytes <= SOCKET_PATH_BYTES_MAX and not {",", '"'} & set(str(data_dir)):
        return str(data_dir), ""
    folder = tempfile.mkdtemp(prefix="paygrade-", dir="/tmp")
    _make_socket_folder(Path(folder), run_as)
    return folder, folder


def _make_socket_folder(folder: Path, run_as: RunAs | None) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if run_as is not None:
        os.chown(folder, run_as.uid, run_as.gid)


def _spawn(data_dir: Path, run_as: RunAs | None, *, leftover: str, command: list[str]) -> subprocess.Popen[bytes]:
    log_path = data_dir / "server.log"
    if log_path.exists():
        log_path.replace(data_dir / "server.log.1")
    uid, gid = (-1, -1) if run_as is None else (run_as.uid, run_as.gid)
    arguments = (os.getpid(), uid, gid, leftover)
    with contextlib.ExitStack() as descriptors:
        log = open_ours(log_path, run_as)
        descriptors.callback(os.close, log)
        running = open_ours(data_dir / "running.lock", run_as)
        descriptors.callback(os.close, running)
        _take(running)
        return subprocess.Popen(
            # As a bare file without site packages: this is most of what a start costs us.
            [sys.executable, "-I", "-S", embedded_supervisor.__file__, *map(str, arguments), *command],
            cwd="/",
            env=program_environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[running],
            # Ctrl-C in a terminal is for the owner, which stops the database last.
            start_new_session=True,
        )


def _wait_until_it_answers(supervisor: subprocess.Popen[bytes], data_dir: Path, socket_dir: str) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while supervisor.poll() is None and time.monotonic() < give_up_at:
        if _answers(socket_dir):
            return
        time.sleep(0.01)
    log = (data_dir / "server.log").read_text(errors="replace")
    raise Unavailable(
        "embedded_start_failed",
        f"PostgreSQL did not start on `{data_dir}`; its log `server.log` there ends:\n{_tail(log)}",
    )


def _answers(socket_dir: str) -> bool:
    try:
        _connect(socket_dir).close()
    except psycopg.OperationalError:
        return False
    return True


def _make_database(socket_dir: str, database: str) -> None:
    try:
        with _connect(socket_dir) as connection:
            known = connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone()
            if known is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(database)))
    except psycopg.Error as failure:
        raise Unavailable(
            "embedded_create_failed", f"PostgreSQL could not create the database `{database}`: {failure}"
        ) from failure


def _connect(socket_dir: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(_url(socket_dir, "postgres"), autocommit=True, connect_timeout=10)


def _url(socket_dir: str, database: str) -> str:
    # The port is named because PGPORT may be set for another server.
    return (
        f"postgresql:///{quote(database, safe='')}?host={quote(socket_dir, safe='/')}&port={PORT}&user={DATABASE_USER}"
    )


def _end(supervisor: subprocess.Popen[bytes]) -> None:
    if supervisor.stdin is not None and not supervisor.stdin.closed:
        # A byte asks for an orderly stop; the mere end of input would mean that we died.
        with contextlib.suppress(BrokenPipeError), supervisor.stdin as pipe:
            pipe.write(b"q")
    try:
        supervisor.wait(WAIT_FOR_STOP_S)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def _tail(text: str) -> str:
    return "\n".join(text.rstrip().splitlines()[-15:])
