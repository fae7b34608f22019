"""What stands around the SDK, for real: nginx before the server, PostgreSQL behind it, other Pythons."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from paygrade import Paygrade
from paygrade.embedded_postgres import cluster as embedded
from paygrade.server.http import streams as http_streams
from paygrade.server.process.settings import Settings
from support.cluster import free_ports
from support.nginx import needs_nginx, nginx
from support.server_process import KEY, Api, serving
from support.waiting import eventually
from support.worlds import ROOT, streams

PROMISE = {"value": True, "reason": "a promise"}


def proxied(api: Api, port: int) -> str:
    """As anybody writes it who knows nothing of streams."""
    return f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {api.url}; proxy_http_version 1.1; }} }}"


@needs_nginx
def test_nginx_passes_a_stream_on_as_it_comes_and_may_reload(
    api: Api, acme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (port,) = free_ports(1)
    with nginx(tmp_path, proxied(api, port), port=port, main="worker_shutdown_timeout 100ms;") as running:
        with httpx2.stream("GET", f"http://127.0.0.1:{port}/v1/stream", headers=api.headers, verify=False) as answer:
            # The server says nothing more for five seconds: what is there now came through by itself.
            assert b"event: hello" in next(answer.iter_raw())
        monkeypatch.setattr(http_streams, "BEAT_S", 0.1)
        with Paygrade(f"http://127.0.0.1:{port}", KEY, timeout_s=10) as sdk:
            assert not sdk.check(acme, "exports")
            eventually(lambda: sdk.status().state == "connected")
            since, told = sdk.status().since, list[str]()
            sdk.on_state(told.append)
            api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json=PROMISE)
            eventually(lambda: sdk.check(acme, "exports"))
            running.send_signal(signal.SIGHUP)
            eventually(lambda: told == ["interrupted", "connected"])
            assert sdk.status().since > since
            api.ok("DELETE", f"/v1/accounts/{acme}/overrides/exports")
            eventually(lambda: not sdk.check(acme, "exports"))
            assert not sdk.check(acme, "exports").stale
            eventually(lambda: streams(api) == 1)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder that the user PostgreSQL runs as can reach."""
    made = Path(tempfile.mkdtemp(prefix="paygrade-test-"))
    made.chmod(0o711)
    yield made / "data"
    shutil.rmtree(made)


def test_postgresql_may_restart_behind_the_server(data_dir: Path) -> None:
    with (
        embedded.start(data_dir, settings={"fsync": "off"}) as postgres,
        serving(Settings(), postgres.url) as api,
        Paygrade(api.url, KEY, timeout_s=10) as sdk,
    ):
        api.ok("PUT", "/v1/accounts/acme", json={})
        assert sdk.check("acme", "api_calls").allowed
        os.kill(int((data_dir / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        eventually(lambda: api.get("/readyz").status_code == 503)
        # What is known is answered, and what is let through (`on_error: allow`) is counted when it can be.
        assert sdk.check("acme", "api_calls").allowed
        assert not sdk.check("acme", "exports").allowed
        assert sdk.consume("acme", "api_calls", 3).allowed
        with sdk.reserve("acme", "api_calls", 10) as held:
            assert held
            held.commit(5)
        assert sdk.track("acme", "api_calls", 4)
        assert not sdk.flush(0.5)
        postgres.keep_alive(lost=lambda _: None, progress=lambda _: None)
        eventually(lambda: api.get("/readyz").is_success)
        assert sdk.flush()
        assert api.check("acme", "api_calls")["used"] == 12
        api.ok("PUT", "/v1/accounts/acme/overrides/exports", json=PROMISE)
        eventually(lambda: sdk.check("acme", "exports").allowed and not sdk.check("acme", "exports").stale)
        eventually(lambda: sdk.check("acme", "api_calls").used == 12)


EXIT = """
import sys
from paygrade import Paygrade
sdk, account = Paygrade(timeout_s=10), sys.argv[1]
assert sdk.check(account, "api_calls").allowed
for _ in range(100): sdk.track(account, "api_calls")
print("%d.%d" % sys.version_info[:2])
"""


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_what_is_buffered_at_exit_is_sent_by_other_pythons_too(api: Api, acme: str, version: str) -> None:
    python = ROOT / f".venv-{version}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"Python {version} is not there; `make judges` installs it where it can be had")
    environ = {**os.environ, "PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run([python, "-c", EXIT, acme], env=environ, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{version}\n", "")
    assert api.check(acme, "api_calls")["used"] == 100
