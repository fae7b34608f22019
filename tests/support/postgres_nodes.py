"""PostgreSQL servers over TCP with their durable settings, that can be copied, promoted, killed and restored."""

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from paygrade.embedded_postgres.binaries import Installation, RunAs, find_installation, run_program
from support.cluster import folder_of_its_own, free_ports
from support.waiting import eventually

USER = "paygrade"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "wal_keep_size": "512MB",
    "wal_receiver_timeout": "2s",
    "wal_retrieve_retry_interval": "100ms",
}

DURABLE: Mapping[str, str] = {}


class Node:
    """One server: its folder, its port, and its process while it runs."""

    def __init__(self, folder: Path, name: str, programs: Installation, run_as: RunAs | None) -> None:
        self.name, self.folder, self.data = name, folder, folder / name
        self._programs, self._run_as = programs, run_as
        (self.port,) = free_ports(1)
        self.url = f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"
        self.database_url = f"postgresql://{USER}@127.0.0.1:{self.port}/paygrade"
        self._running: subprocess.Popen[bytes] | None = None

    def create(self, settings: Mapping[str, str]) -> None:
        """An empty one, with a database for the product."""
        self.run("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C",
                 *([] if settings.get("fsync") != "off" else ["--no-sync"]))  # fmt: skip
        self.start(settings)
        self.sql("create database paygrade")

    def copy(self, primary: "Node", settings: Mapping[str, str]) -> None:
        """A streaming replica of another one, which replays all that happens there."""
        self.run("pg_basebackup", "-D", str(self.data), "-d", f"{primary.url}?application_name={self.name}", "-R",
                 "-X", "stream", "-c", "fast", *([] if settings.get("fsync") != "off" else ["--no-sync"]))  # fmt: skip
        self.start(settings)

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        options = {**SETTINGS, "port": str(self.port), **(settings or {})}
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._running = subprocess.Popen(
                [str(self._programs.bin_dir / "postgres"), "-D", str(self.data), *given],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._as_user(),
            )
        eventually(self.answers)

    def answers(self) -> bool:
        assert self._running is not None
        assert self._running.poll() is None, (self.folder / f"{self.name}.log").read_text()[-4000:]
        try:
            self.sql("select 1")
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """As a machine that loses its power: nothing is written any more, nobody is told."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def pause(self, *, on: bool) -> None:
        """Replay nothing any more, or go on."""
        self.sql(f"select pg_wal_replay_{'pause' if on else 'resume'}()")

    def promote(self) -> None:
        self.sql("select pg_promote(true, 30)")

    def sql(self, statement: str, *, database: str = "postgres") -> list[tuple[object, ...]]:
        url = f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs to its end."""
        ended = run_program([str(self._programs.bin_dir / program), *arguments], self._run_as)
        assert ended.returncode == 0, ended.stdout
        return ended.stdout

    def shell(self, commands: str) -> str:
        """Run these as who runs the server, with PostgreSQL's programs at hand that talk to it."""
        environ = {
            "PATH": f"{self._programs.bin_dir}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGUSER": USER,
            "PGDATABASE": "postgres",
            "PAYGRADE_DATABASE_URL": self.database_url,
        }
        ended = subprocess.run(
            ["bash", "-ec", commands], cwd=self.folder, env=environ, capture_output=True, text=True, **self._as_user()
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return str(ended.stdout)

    def _as_user(self) -> dict[str, Any]:
        if self._run_as is None:
            return {}
        return {"user": self._run_as.uid, "group": self._run_as.gid, "extra_groups": []}

    def _end(self, how: signal.Signals) -> None:
        if self._running is None:
            return
        self._running.send_signal(how)
        self._running.wait(timeout=60)
        # Its children notice within moments; until then they hold the port.
        eventually(self._is_gone)
        self._running = None

    def _is_gone(self) -> bool:
        listed = subprocess.run(["ps", "-Aww", "-o", "args="], capture_output=True, text=True, check=True).stdout
        return not any(str(self.data) in line for line in listed.splitlines()) and not self._listens()

    def _listens(self) -> bool:
        try:
            self.sql("select 1")
        except psycopg.OperationalError:
            return False
        return True


class Nodes:
    """Servers in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._run_as = _unprivileged()
        if self._run_as is not None:
            os.chown(folder, self._run_as.uid, self._run_as.gid)
        programs = find_installation(self._run_as, major=None, progress=lambda _: None)
        assert programs is not None, "there is no PostgreSQL"
        self._programs, self._made = programs, list[Node]()

    def node(self, name: str) -> Node:
        made = Node(self.folder, name, self._programs, self._run_as)
        self._made.append(made)
        return made

    def primary(self, settings: Mapping[str, str] = DURABLE) -> Node:
        made = self.node("primary")
        made.create(settings)
        return made

    def replica(self, primary: Node, settings: Mapping[str, str] = DURABLE) -> Node:
        made = self.node("replica")
        made.copy(primary, settings)
        return made

    def folder_for(self, name: str) -> Path:
        """A folder that the servers may write."""
        made = self.folder / name
        made.mkdir()
        if self._run_as is not None:
            os.chown(made, self._run_as.uid, self._run_as.gid)
        return made

    def kill(self) -> None:
        for each in self._made:
            each.kill()


@contextmanager
def nodes() -> Iterator[Nodes]:
    """Servers that are gone at the end of the block, with all they wrote."""
    with folder_of_its_own("nodes") as folder:
        made = Nodes(folder)
        try:
            yield made
        finally:
            made.kill()


def _unprivileged() -> RunAs | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("nobody")
    return RunAs(uid=user.pw_uid, gid=user.pw_gid)
