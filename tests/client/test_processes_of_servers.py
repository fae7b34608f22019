"""The SDK in the processes of gunicorn and uWSGI, built and asked before they fork."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.cluster import free_ports
from support.server_process import KEY, Api
from support.waiting import eventually
from support.worlds import JUDGES, streams

SHOP = """
import os, time
from flask import Flask, g
from paygrade import Paygrade
from paygrade.client.integrations.flask import FlaskGate

sdk = Paygrade(timeout_s=10)
ACCOUNT = os.environ["ACCOUNT"]
assert not sdk.check(ACCOUNT, "exports")
while sdk.status().state != "connected": time.sleep(0.01)
time.sleep(float(os.environ["QUIET_S"]))
gate = FlaskGate(sdk, account=lambda request: ACCOUNT)
app = Flask("shop")

@app.get("/")
def look():
    time.sleep(0.02)  # so that the next visitor comes to another worker
    found = sdk.check(ACCOUNT, "exports")
    return {"pid": os.getpid(), "allowed": found.allowed, "stale": found.stale, "state": sdk.status().state}

@app.post("/calls")
@gate.consume("api_calls")
def call():
    return {"pid": os.getpid(), "exact": g.decision.exact}

@app.post("/reports")
def report():
    assert sdk.track(ACCOUNT, "api_calls", 5)
    return {"buffered": sdk.status().buffered}
"""
UWSGI = shutil.which("uwsgi") or shutil.which("uwsgi", path=str(JUDGES / "bin"))


class Shop(httpx2.Client):
    """A visitor of a shop that is served by two workers."""

    def __init__(self, url: str, running: "subprocess.Popen[bytes]", log: Path) -> None:
        # No connection is kept: the next visitor comes to whichever worker is free, and uWSGI closes without a word.
        super().__init__(
            base_url=url, trust_env=False, verify=False, timeout=20, limits=httpx2.Limits(max_keepalive_connections=0)
        )
        self._running, self._log = running, log

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def is_up(self) -> bool:
        assert self._running.poll() is None, self.said
        try:
            return self.get("/").is_success
        except httpx2.TransportError:
            return False

    def look(self) -> Any:
        answer = self.get("/")
        assert answer.is_success, self.said
        return answer.json()

    def workers(self, **expected: object) -> set[int]:
        """Both workers, once they see what is expected."""
        found: set[int] = set()

        def seen() -> bool:
            told = self.look()
            if all(told[name] == value for name, value in expected.items()):
                found.add(told["pid"])
            return len(found) == 2

        eventually(seen)
        return found

    def end(self) -> None:
        """What an operator does; fails if it does not end at once and in order."""
        self._running.send_signal(signal.SIGTERM)
        assert self._running.wait(timeout=15) == 0, self.said


@contextmanager
def serving(api: Api, account: str, folder: Path, *command: str, quiet_s: float = 0.0) -> Iterator[Shop]:
    """A shop. `quiet_s`: how long it waits before it is forked, once it is connected."""
    (port,) = free_ports(1)
    (folder / "shop.py").write_text(SHOP)
    environ = {**os.environ, "PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY, "ACCOUNT": account}
    environ["QUIET_S"] = str(quiet_s)
    given = [each.replace("PORT", str(port)) for each in command]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen(given, env=environ, cwd=folder, stdout=log, stderr=log)
        try:
            shop = Shop(f"http://127.0.0.1:{port}", running, folder / "log")
            eventually(shop.is_up)
            yield shop
        finally:
            running.kill()
            running.wait()


def look_at_workers(api: Api, account: str, shop: Shop) -> None:
    """Both decide rightly, hear of changes, count exactly, and end with all that was reported sent."""
    workers = shop.workers(allowed=False, stale=False, state="connected")
    # Two workers, and the parent, which was asked before it forked.
    eventually(lambda: streams(api) == 3)
    api.ok("PUT", f"/v1/accounts/{account}/overrides/exports", json={"value": True, "reason": "a promise"})
    assert shop.workers(allowed=True, stale=False, state="connected") == workers
    called = [shop.post("/calls").json() for _ in range(10)]
    assert all(each["exact"] for each in called)
    reported = [shop.post("/reports").json()["buffered"] for _ in range(4)]
    assert sum(reported) > 0
    shop.end()
    eventually(lambda: streams(api) == 0)
    assert api.check(account, "api_calls")["used"] == 10 + 4 * 5
    assert "Traceback" not in shop.said, shop.said


def test_workers_of_gunicorn_that_share_a_preloaded_sdk_each_decide(api: Api, acme: str, tmp_path: Path) -> None:
    gunicorn = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:PORT", "shop:app"]
    with serving(api, acme, tmp_path, *gunicorn) as shop:
        look_at_workers(api, acme, shop)


def uwsgi(*more: str) -> list[str]:
    assert UWSGI is not None
    given = "--http-socket 127.0.0.1:PORT --master --processes 2 --die-on-term --need-app --wsgi-file shop.py"
    return [UWSGI, *given.split(), "--callable", "app", "--home", sys.prefix, *more]


@pytest.mark.skipif(UWSGI is None, reason="uWSGI is not installed; `make judges` builds it")
@pytest.mark.parametrize("more", [[], ["--py-call-uwsgi-fork-hooks"]])
def test_workers_of_uwsgi_that_share_a_preloaded_sdk_each_decide(
    api: Api, acme: str, tmp_path: Path, more: list[str]
) -> None:
    # Without its hooks uWSGI may fork while a thread holds Python's lock, which nobody in the fork gives back.
    with serving(api, acme, tmp_path, *uwsgi("--enable-threads", *more), quiet_s=0.0 if more else 1.0) as shop:
        look_at_workers(api, acme, shop)


@pytest.mark.skipif(UWSGI is None, reason="uWSGI is not installed; `make judges` builds it")
def test_uwsgi_without_threads_is_complained_of_aloud(api: Api, acme: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with serving(api, acme, tmp_path, *uwsgi()) as shop:
        workers = {shop.look()["pid"] for _ in range(4)}
        eventually(lambda: shop.said.count("uWSGI needs --enable-threads") > len(workers))
        shop.end()
