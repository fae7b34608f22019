"""The stock Standard Webhooks verifier for JavaScript, in Node, as a receiver. `make judges` installs it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paygrade.server.process.webhook_signatures import make_secret
from support.databases import migrated_database
from support.receiver import receiving
from support.sending import LOOPBACK, House
from support.server_process import serving

FOLDER = Path(__file__).parent / "webhooks"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="Node is not installed: the verifier for JavaScript is left out"),
    pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="`make judges` installs the verifier first"),
]


class Judge:
    """A receiver in a process of its own."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        self._running = running
        self.port: int = self.read()["port"]

    def read(self) -> Any:
        assert self._running.stdout is not None
        line = self._running.stdout.readline()
        assert line, "the receiver ended"
        return json.loads(line)

    def trust(self, secret: str) -> None:
        assert self._running.stdin is not None
        self._running.stdin.write(secret + "\n")
        self._running.stdin.flush()
        assert self.read() == {"ready": True}


@contextmanager
def judging() -> Iterator[Judge]:
    assert NODE is not None
    pipe = subprocess.PIPE
    with subprocess.Popen([NODE, "receive.mjs"], cwd=FOLDER, stdin=pipe, stdout=pipe, text=True) as running:
        try:
            yield Judge(running)
        finally:
            running.kill()


def test_it_takes_what_is_signed_with_its_secret_and_nothing_else(postgres_url: str) -> None:
    with (
        migrated_database(postgres_url) as database_url,
        serving(LOOPBACK, database_url) as api,
        receiving() as other,
        judging() as judge,
    ):
        house = House(api, database_url, other)
        endpoint = house.endpoint(url=f"http://127.0.0.1:{judge.port}/")
        judge.trust(endpoint["secret"])
        house.happens("acme", text="ünïcode 💳")
        event = judge.read()["event"]
        assert (event["account"], event["data"]["text"]) == ("acme", "ünïcode 💳")
        house.become(endpoint, "delivered")
        rotated = api.ok("POST", f"/v1/webhook-endpoints/{endpoint['id']}/rotate", json={})
        for secret in (endpoint["secret"], rotated["secret"]):
            judge.trust(secret)
            assert api.ok("POST", f"/v1/webhook-endpoints/{endpoint['id']}/test")["delivered"]
            assert judge.read()["event"]["type"] == "webhook.test"
        judge.trust(make_secret())
        assert api.ok("POST", f"/v1/webhook-endpoints/{endpoint['id']}/test")["status"] == 400
        assert "signature" in judge.read()["error"].lower()
