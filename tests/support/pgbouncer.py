"""Debian's PgBouncer in front of a PostgreSQL: each transaction may run in another session."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from support.cluster import folder_of_its_own, free_ports
from support.waiting import eventually

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(
    PGBOUNCER is None, reason="PgBouncer is not installed; `apt-get install pgbouncer` lets this run"
)
SESSIONS = 4
"""Sessions that all clients share: fewer than there are connections, so that they change hands."""


class Pooler:
    """It, running in a folder of its own."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder, self._behind = folder, conninfo.conninfo_to_dict(database_url)
        (self._port,) = free_ports(1)
        self.url = f"postgresql://{self._behind['user']}@127.0.0.1:{self._port}/{self._behind['dbname']}"
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert PGBOUNCER is not None
        where = " ".join(f"{name}={self._behind[name]}" for name in ("host", "port", "dbname") if name in self._behind)
        config = self._folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{self._behind['dbname']} = {where}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self._port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
            f"default_pool_size = {SESSIONS}\nmax_client_conn = 200\nserver_login_retry = 1\n"
            f"logfile = {self._folder / 'log'}\n"
        )
        self._databases(config)
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self._running = subprocess.Popen([PGBOUNCER, "-q", *user, str(config)])
        eventually(self._answers)

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def _databases(self, config: Path) -> None:
        """With `auth_type = any` whoever connects is the user named here."""
        text = config.read_text().replace("dbname=", f"user={self._behind['user']} dbname=", 1)
        config.write_text(text)
        self._folder.chmod(0o777)

    def _answers(self) -> bool:
        assert self._running is not None
        assert self._running.poll() is None, (self._folder / "log").read_text()
        try:
            with psycopg.connect(self.url, autocommit=True, prepare_threshold=None) as connection:
                connection.execute("select")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def pooler(database_url: str) -> Iterator[Pooler]:
    """One in front of this database."""
    with folder_of_its_own("pgbouncer") as folder:
        made = Pooler(folder, database_url)
        try:
            made.start()
            yield made
        finally:
            made.kill()
