"""The stock OpenFeature providers for JavaScript, in Node, as clients of a real server. `make judges` installs them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from paygrade.server.process.settings import Settings
from paygrade.simulator.http import serve as simulator
from support.databases import migrated_database
from support.server_process import KEY, Api, serving
from support.waiting import eventually

FOLDER = Path(__file__).parent / "openfeature"
NODE = shutil.which("node")
PRO = {
    "version": 1,
    "status": "active",
    "items": [{"id": "main", "plan": "pro", "quantity": 3}],
    "anchor_at": "2026-01-31T00:00:00Z",
}
START = datetime.fromisoformat("2026-02-01T00:00:00Z")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node is not installed: the providers for JavaScript are left out"),
    pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="`make judges` installs the providers first"),
]


class Judge:
    """A provider in a process of its own."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        self._running = running

    def read(self) -> Any:
        assert self._running.stdout is not None
        line = self._running.stdout.readline()
        assert line, "the provider ended"
        return json.loads(line)

    def details(self, key: str, default: bool | int | str) -> Any:
        kind = {bool: "boolean", int: "number", str: "string"}[type(default)]
        assert self._running.stdin is not None
        self._running.stdin.write(json.dumps({"key": key, "type": kind, "default": default}) + "\n")
        self._running.stdin.flush()
        return self.read()

    def becomes(self, key: str, value: bool | int | str, default: bool | int | str) -> None:
        eventually(lambda: self.details(key, default)["value"] == value)


@contextmanager
def judge(kind: str, api: Api, account: str) -> Iterator[Judge]:
    assert NODE is not None
    # What browsers have, Node has behind a switch (from 20.18 and 22.3 on).
    switches = ["--experimental-eventsource"] if kind == "page" else []
    shown = (
        KEY if kind == "server" else api.ok("POST", f"/v1/accounts/{account}/tokens", json={"ttl_s": 86_400})["token"]
    )
    command = [NODE, *switches, str(FOLDER / "flags.mjs"), kind, api.url, shown, account]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=FOLDER, stdin=pipe, stdout=pipe, text=True) as running:
        try:
            made = Judge(running)
            assert made.read() == {"ready": True}
            yield made
        finally:
            running.kill()


@pytest.mark.parametrize("kind", ["server", "web", "page"])
def test_it_sees_flags_changes_limits_expiries_and_a_restart(postgres_url: str, kind: str) -> None:
    with (
        simulator.running(start=START) as provider,
        migrated_database(postgres_url) as database_url,
        ExitStack() as judges,
    ):
        settings = Settings(clock_url=provider.url)
        with serving(settings, database_url) as api:
            port = int(api.url.rpartition(":")[2])
            api.ok("PUT", "/v1/accounts/acme", json={})
            client = judges.enter_context(judge(kind, api, "acme"))
            look_at_every_kind(client, api)
            ends_at = START + timedelta(hours=6)
            override = {"value": True, "reason": "trial", "expires_at": ends_at.isoformat()}
            api.ok("PUT", "/v1/accounts/acme/overrides/audit_log", json=override)
            client.becomes("audit_log", True, False)
            with Api(provider.url, key=None) as control:
                control.ok("POST", "/_simulator/clock", json={"to": ends_at.isoformat()})
            client.becomes("audit_log", False, True)
        with serving(settings, database_url, port=port) as api:
            api.ok("PUT", "/v1/accounts/acme/overrides/audit_log", json={"value": True, "reason": "goodwill"})
            client.becomes("audit_log", True, False)
            assert client.details("exports", False)["value"] is True


def look_at_every_kind(client: Judge, api: Api) -> None:
    assert client.details("exports", True)["value"] is False
    api.ok("PUT", "/v1/accounts/acme/subscriptions/main", json=PRO)
    client.becomes("exports", True, False)
    found = client.details("exports", False)
    assert (found["reason"], found["variant"], found["flagMetadata"]["reasonCode"]) == ("TARGETING_MATCH", "on", "plan")
    assert client.details("retention", 1)["value"] == 90
    assert client.details("support", "none")["value"] == "email"
    assert client.details("seats.limit", -1)["value"] == 3
    assert client.details("teleport", True)["errorCode"] == "FLAG_NOT_FOUND"
    api.ok("POST", "/v1/consume", json={"account": "acme", "feature": "seats", "quantity": 3, "id": "u1"})
    client.becomes("seats", False, True)
    assert client.details("seats.remaining", -1)["value"] == 0
    api.ok("PUT", "/v1/accounts/acme/blocks/fraud", json={})
    client.becomes("retention", -1, -1)
    assert client.details("support", "mine")["value"] == "mine"
    api.ok("DELETE", "/v1/accounts/acme/blocks/fraud")
    client.becomes("retention", 90, -1)
