"""`paygrade ingest`: a process of its own, with health and metrics, that ends when it is asked to."""

import json
import signal
from pathlib import Path

import httpx2
import pytest
from nats.aio.client import Client

from paygrade.server.process.settings import Settings
from support.cli_runner import Shell
from support.cluster import free_ports
from support.databases import migrated_database
from support.nats_server import needs_nats, running_nats
from support.server_process import Api, serving
from support.waiting import eventually

pytestmark = needs_nats


async def publish(connection: Client) -> None:
    js = connection.jetstream()
    for number in range(3):
        event = {"id": f"e{number}", "account": "acme", "feature": "api_calls"}
        await js.publish("paygrade.usage.acme", json.dumps(event).encode())


def test_it_creates_the_streams_counts_what_is_published_and_ends(postgres_url: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    own = f"http://127.0.0.1:{port}"
    with (
        migrated_database(postgres_url) as database_url,
        serving(Settings(), database_url) as api,
        running_nats() as servers,
        (tmp_path / "log").open("w+") as log,
    ):
        api.ok("PUT", "/v1/accounts/acme", json={})
        shell = Shell(tmp_path, PAYGRADE_DATABASE_URL=database_url, PAYGRADE_NATS_URL=servers.url)
        assert "no stream `PAYGRADE_USAGE`" in shell.run("ingest", code=1)
        process = shell.start("ingest", "--create", "--port", str(port), log=log)
        try:
            eventually(lambda: process.poll() is not None or is_ready(own))
            servers.do(publish)
            eventually(lambda: used(api) == 3)
            eventually(lambda: b'ingest_messages_total{outcome="acknowledged"} 3.0' in metrics(own))
            assert b'paygrade_usage_events_total{outcome="accepted"} 3.0' in metrics(own)
            # Without NATS it lives, and says that it can't work.
            servers.nodes[0].kill()
            eventually(lambda: not is_ready(own))
            assert httpx2.get(f"{own}/healthz", trust_env=False, verify=False).is_success
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(90.0) == 0, (tmp_path / "log").read_text()
        assert "created: PAYGRADE_USAGE" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        ([], "PAYGRADE_NATS_URL", 2),
        (["--from", "http://127.0.0.1:1"], "is not the address of a NATS server", 2),
        (["--from", "nats://127.0.0.1:1", "--subject", "usage"], "must end in `.>`", 2),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    arguments: list[str], says: str, code: int, tmp_path: Path
) -> None:
    assert says in Shell(tmp_path).run("ingest", *arguments, code=code)


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", trust_env=False, verify=False).is_success
    except httpx2.TransportError:
        return False


def metrics(url: str) -> bytes:
    return httpx2.get(f"{url}/metrics", trust_env=False, verify=False).content


def used(api: Api) -> int:
    windows = api.ok("GET", "/v1/accounts/acme/usage", params={"feature": "api_calls"})["windows"]
    return sum(window["used"] for window in windows)
