"""Debian's nginx in front of something."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from support.waiting import eventually

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; `apt-get install nginx` lets this run")


@contextmanager
def nginx(folder: Path, http: str, *, port: int, main: str = "") -> Iterator["subprocess.Popen[bytes]"]:
    """It, running in this folder; `http` is the inside of its `http` block, which listens on `port`."""
    assert NGINX is not None
    paths = "".join(
        f"{name}_temp_path {folder / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(f"{user} daemon off; pid {folder / 'pid'}; error_log {folder / 'log'} info; worker_processes 1;"
                      f"{main} events {{}} http {{ access_log off; {paths}\n{http}\n}}")  # fmt: skip
    running = subprocess.Popen([NGINX, "-p", str(folder), "-e", str(folder / "log"), "-c", str(config)])
    try:
        eventually(lambda: _is_up(f"http://127.0.0.1:{port}", running))
        yield running
    finally:
        running.terminate()
        running.wait(timeout=10)


def _is_up(url: str, running: "subprocess.Popen[bytes]") -> bool:
    assert running.poll() is None, "nginx did not start"
    try:
        httpx2.get(url, trust_env=False, verify=False)
    except httpx2.TransportError:
        return False
    return True
