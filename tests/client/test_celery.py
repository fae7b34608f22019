"""Celery beside a real Paygrade: a real worker with two children that it forks, over folders instead of a broker."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from paygrade.server.process.settings import Settings
from paygrade.simulator.http import serve as simulator
from support.databases import migrated_database
from support.server_process import KEY, Api, serving
from support.waiting import eventually
from support.worlds import streams

TASKS = """
import os, time
from celery import Celery
from paygrade import Paygrade
from paygrade.client.integrations.celery import CeleryGate, TaskDenied

app = Celery("shop")
app.config_from_object(SETTINGS)
sdk = Paygrade(timeout_s=10)
assert not sdk.check("nobody", "exports")
while sdk.status().state != "connected": time.sleep(0.01)
gate = CeleryGate(sdk, account="workspace")
by_header = CeleryGate(sdk, account=lambda request: request.headers["account"], retry_at_reset=True)

@app.task(name="export")
@gate.require("exports")
def export(workspace):
    time.sleep(0.05)  # so that the next task comes to another child
    return os.getpid()

@app.task(name="seats")
@gate.require("seats", lambda request: request.kwargs["seats"])
def seats(workspace="unknown", *, seats): return seats

@app.task(name="call", bind=True, default_retry_delay=0.01, max_retries=2)
@gate.consume("api_calls", 5)
def call(self, workspace):
    if self.request.retries < 2:
        self.retry()
    return self.request.retries

@app.task(name="burst", max_retries=0)
@by_header.consume("api_calls")
def burst(): return "done"

@app.task(name="eager", autoretry_for=(Exception,), dont_autoretry_for=(TaskDenied,), default_retry_delay=0.01)
@gate.require("exports")
def eager(workspace): return "done"

@app.task(name="report")
def report(workspace):
    open(f"reporting-{os.getpid()}", "w").close()
    while not os.path.exists("go"): time.sleep(0.01)
    assert sdk.track(workspace, "api_calls", 3)
    assert all(sdk.consume(workspace, "api_calls") for _ in range(4))  # some of them leased
"""


class Shop:
    """A worker, and somebody who sends it tasks."""

    def __init__(self, api: Api, folder: Path) -> None:
        for name in ("queue", "sent", "control", "results"):
            (folder / name).mkdir()
        settings = {
            "broker_url": "filesystem://",
            "broker_transport_options": {
                "data_folder_in": str(folder / "queue"),
                "data_folder_out": str(folder / "sent"),
                "control_folder": str(folder / "control"),
                "polling_interval": 0.02,
            },
            "result_backend": f"file://{folder / 'results'}",
        }
        (folder / "tasks.py").write_text(f"SETTINGS = {settings!r}\n{TASKS}")
        self._sender = Celery("sender", set_as_current=False)
        self._sender.config_from_object(settings)
        self._log, self.folder = folder / "log", folder
        command = (
            "-m celery -A tasks worker --pool prefork --concurrency 2 --without-gossip --without-mingle -l WARNING"
        )
        with self._log.open("wb") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-W", "always", *command.split(), "--without-heartbeat"],
                env={**os.environ, "PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY},
                cwd=folder,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def send(self, task: str, *args: object, **more: Any) -> AsyncResult:
        return self._sender.send_task(task, args, **more)

    def done(self, sent: AsyncResult) -> Any:
        """What a task gave, or the problem with which it was denied."""
        eventually(lambda: self.goes_on() and sent.ready())
        return sent.result if sent.successful() else sent.result.args[1]

    def goes_on(self) -> bool:
        """Deliver what was sent. Written where it is read, it would be read half written, and end the worker."""
        assert self.running.poll() is None, self.said
        for written in sorted((self.folder / "sent").iterdir()):
            with suppress(ValueError):
                json.loads(written.read_bytes())
                written.rename(self.folder / "queue" / written.name)
        return True


@pytest.fixture(scope="module")
def provider() -> Iterator[simulator.Running]:
    with simulator.running(start=datetime.fromisoformat("2026-02-01T00:00:00Z")) as running:
        yield running


@pytest.fixture(scope="module")
def api(postgres_url: str, provider: simulator.Running) -> Iterator[Api]:
    """A server that lives by a clock that can be moved."""
    with (
        migrated_database(postgres_url) as database_url,
        serving(Settings(clock_url=provider.url), database_url) as running,
    ):
        yield running


def move(api: Api, provider: simulator.Running, to: datetime) -> None:
    with Api(provider.url, key=None) as control:
        control.ok("POST", "/_simulator/clock", json={"to": to.isoformat()})
    eventually(lambda: datetime.fromisoformat(api.ok("GET", "/v1/sync/status")["clock"]) >= to)


@pytest.fixture(scope="module")
def shop(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(api, tmp_path_factory.mktemp("celery"))
    yield made
    made.running.kill()
    made.running.wait()


def promise(api: Api, account: str) -> None:
    api.ok("PUT", f"/v1/accounts/{account}/overrides/exports", json={"value": True, "reason": "a promise"})


def test_a_task_whose_account_may_not_does_not_run(shop: Shop, acme: str) -> None:
    problem = shop.done(shop.send("export", acme))
    assert (problem["code"], problem["message"]) == (
        "payment_required",
        f"{acme} can't use exports: free@1 doesn't include it",
    )
    # Retrying all failures is not retrying denials.
    assert shop.done(shop.send("eager", acme))["reason"] == "not_in_plan"
    assert shop.done(shop.send("export", "nobody-we-know"))["code"] == "not_permitted"


def test_each_child_decides_by_a_stream_of_its_own(api: Api, shop: Shop, acme: str) -> None:
    promise(api, acme)
    assert len({shop.done(sent) for sent in [shop.send("export", acme) for _ in range(8)]}) == 2
    # Two children, and their parent, which was asked before it forked.
    eventually(lambda: streams(api) == 3)


def test_the_quantity_is_a_function_of_the_request(shop: Shop, acme: str) -> None:
    assert shop.done(shop.send("seats", acme, kwargs={"seats": 1})) == 1
    assert shop.done(shop.send("seats", acme, kwargs={"seats": 9}))["reason"] == "limit_reached"


def test_a_task_that_is_retried_counts_once(api: Api, shop: Shop, acme: str) -> None:
    assert shop.done(shop.send("call", acme)) == 2
    assert api.check(acme, "api_calls")["used"] == 5


def test_a_task_over_a_limit_comes_back_when_it_resets(
    api: Api, shop: Shop, acme: str, provider: simulator.Running
) -> None:
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 1000, "id": "all"})
    resets_at = datetime.fromisoformat(api.check(acme, "api_calls")["resets_at"])
    move(api, provider, resets_at - timedelta(seconds=1))
    sent = [shop.send("burst", headers={"account": acme}) for _ in range(2)]
    eventually(lambda: shop.goes_on() and {each.state for each in sent} == {"RETRY"})
    move(api, provider, resets_at)
    assert [shop.done(each) for each in sent] == ["done"] * 2
    assert api.check(acme, "api_calls")["used"] == 2


def test_a_worker_that_ends_has_sent_and_given_back_all_that_its_children_have(api: Api, shop: Shop, acme: str) -> None:
    for _ in range(2):
        shop.send("report", acme)
    eventually(lambda: shop.goes_on() and len(list(shop.folder.glob("reporting-*"))) == 2)
    shop.running.send_signal(signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in shop.said)
    (shop.folder / "go").touch()
    assert shop.running.wait(timeout=20) == 0, shop.said
    # What was leased and not used is not counted, either.
    assert api.check(acme, "api_calls")["used"] == 2 * (3 + 4)
    eventually(lambda: streams(api) == 0)
    assert "Warning" not in shop.said.replace("SecurityWarning", ""), shop.said
    assert "paygrade" not in shop.said.replace("paygrade.client", "").lower() or "denied" in shop.said.lower(), (
        shop.said
    )
