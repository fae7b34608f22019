"""Webhooks from the command line: create, test, watch, replay, and find out why one does not verify."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli_runner import Shell
from support.databases import migrated_database
from support.receiver import Answering, Received, Receiver, receiving, takes
from support.sending import LOOPBACK, House
from support.server_process import KEY, serving


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with (
        migrated_database(postgres_url) as database_url,
        serving(LOOPBACK, database_url) as api,
        receiving() as receiver,
    ):
        yield House(api, database_url, receiver)


@pytest.fixture
def shell(house: House, tmp_path: Path) -> Shell:
    return Shell(tmp_path, PAYGRADE_URL=house.api.url, PAYGRADE_API_KEY=KEY)


@pytest.fixture
def receiver(house: House) -> Receiver:
    house.receiver.arrived.clear()
    house.receiver.behave = takes
    return house.receiver


def refuses(_: Received, answering: Answering) -> None:
    answering.answer(500, b"out of order")


def test_a_webhook_from_its_endpoint_s_creation_to_a_replay(house: House, shell: Shell, receiver: Receiver) -> None:
    made = shell.json("webhooks", "create", receiver.url, "--type", "account.state_changed", "--account", "acme")
    id = made["id"]
    assert "delivered: 204" in shell.run("webhooks", "test", id)
    receiver.behave = refuses
    assert "out of order" in shell.run("webhooks", "test", id, code=1)
    receiver.behave = takes
    house.happens("acme", "beta")
    house.become(made, "delivered")
    _, row = shell.run("webhooks", "deliveries", id).splitlines()
    position, update_id, type, account, state, tries, *_ = row.split("\t")
    assert (type, account, state, tries) == ("account.state_changed", "acme", "delivered", "1")
    assert "1 will be sent again" in shell.run("webhooks", "replay", id, "--update", update_id)
    assert shell.json("webhooks", "replay", id, "--after", "0", "--until", position) == {"replayed": 1}
    assert shell.json("webhooks", "replay", id, "--gap") == {"replayed": 0}
    assert "name one of" in shell.run("webhooks", "replay", id, code=1)
    assert id in shell.run("webhooks", "list")
    assert shell.json("webhooks", "update", id, "--disable", "--all-types")["state"] == "disabled"
    assert "disabled (operator)" in shell.run("webhooks", "show", id)
    shell.run("webhooks", "update", id, "--enable")
    assert shell.json("webhooks", "rotate", id)["secrets"] == 2
    shell.run("webhooks", "remove", id)
    assert "unknown_endpoint" in shell.run("webhooks", "show", id, code=1)


def test_what_is_no_use_is_refused_with_what_to_do(shell: Shell, receiver: Receiver) -> None:
    told = shell.run("webhooks", "create", receiver.url, "--type", "account.plan_chnged", code=1)
    assert "did you mean `account.plan_changed`?" in told
    assert "private" in shell.run("webhooks", "create", "https://10.0.0.1/", code=1)
    assert "use https" in shell.run("webhooks", "create", "http://10.0.0.1/", code=1)
    assert "is not an address" in shell.run("webhooks", "create", "ftp://example.com", code=1)


def test_the_debugger_says_why_a_webhook_does_not_verify(house: House, shell: Shell, receiver: Receiver) -> None:
    made = house.endpoint()
    house.happens("acme")
    (received,) = receiver.got(1)
    headers = [f"{name}: {received.headers[name]}" for name in received.headers if name.startswith("webhook-")]
    shown = [part for header in headers for part in ("--header", header)]
    body = shell.folder / "body.json"
    body.write_bytes(received.body)
    assert "ok:" in shell.run("webhooks", "verify", str(body), *shown, "--secret", made["secret"])
    body.write_text(json.dumps(received.json, indent=2))
    told = shell.json("webhooks", "verify", str(body), *shown, "--secret", made["secret"], code=1)
    assert told["verdict"] == "body_reserialized"
    assert "raw bytes" in told["detail"]
    house.api.ok("DELETE", f"/v1/webhook-endpoints/{made['id']}")
