"""`paygrade serve` with the database it brings along."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from paygrade.embedded_postgres.cluster import ENDS_MAX
from support.cli_runner import Shell
from support.cluster import free_ports
from support.waiting import eventually

PATIENCE_S = 90.0


class Served:
    """One server and its data; it may be started again and again."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1)
        self.url, self.data_dir, self.log = f"http://127.0.0.1:{port}", folder / "data", folder / "log"
        self._shell = Shell(folder, PAYGRADE_PORT=str(port), PAYGRADE_DATA_DIR=str(self.data_dir))

    def start(self, *options: str) -> None:
        with self.log.open("a") as log:
            self.process = self._shell.start("serve", *options, log=log)
        eventually(lambda: self.process.poll() is not None or self.is_ready(), within_s=PATIENCE_S)
        assert self.process.poll() is None, self.log.read_text()

    def is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", trust_env=False, verify=False, timeout=5).is_success
        except httpx2.TransportError:
            return False

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def kill_postgres(self) -> None:
        # The record is missing while it starts; one that is left over names a process that is gone.
        with suppress(FileNotFoundError, ProcessLookupError, IndexError):
            os.kill(int((self.data_dir / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One that the user PostgreSQL runs as can reach."""
    made = Path(tempfile.mkdtemp(prefix="paygrade-test-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    """A server that has served these data before, or makes them."""
    found = Served(folder)
    found.start()
    yield found
    if found.process.poll() is None:
        found.stop()


def test_the_admin_key_is_shown_once_when_it_is_made(served: Served) -> None:
    key = (served.data_dir / "admin_key").read_text().strip()
    assert served.stop() == 0
    served.start("--workers", "1")
    assert (served.data_dir / "admin_key").read_text().strip() == key
    assert served.log.read_text().count(key) == 1


def test_a_server_whose_postgresql_cannot_be_kept_alive_ends_and_says_so(served: Served) -> None:
    served.kill_postgres()
    eventually(lambda: "starting it again" in served.log.read_text())
    eventually(served.is_ready, within_s=PATIENCE_S)
    give_up_at = time.monotonic() + PATIENCE_S
    while served.process.poll() is None:
        assert time.monotonic() < give_up_at, served.log.read_text()
        served.kill_postgres()
        time.sleep(0.02)
    assert served.process.returncode == 3
    assert f"embedded_lost: PostgreSQL has ended {ENDS_MAX + 1} times" in served.log.read_text()
