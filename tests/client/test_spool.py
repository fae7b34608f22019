"""The spool: what `track` took is counted once, whatever becomes of the process that took it."""

import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paygrade import Paygrade, PaygradeError
from paygrade.client import spool as spools
from paygrade.client.spool import Spool
from paygrade.usage.events import UsageEvent
from support.server_process import KEY, Api, Restartable

NOWHERE = "http://127.0.0.1:9"
WAIT_S = 30.0
TRACKER = f"""
import sys
from paygrade import Paygrade
url, folder, account, name = sys.argv[1:]
sdk, n = Paygrade(url, "{KEY}", spool=folder), 0
while True:
    assert sdk.track(account, "api_calls", id=f"{{name}}-{{n}}")
    n += 1
    print(n, flush=True)
"""


def event(id: str) -> bytes:
    return msgspec.json.encode(UsageEvent(id=id, account="acme", feature="api_calls"))


def waiting(spool: Spool) -> list[str]:
    """The ids of all that waits, in the order it is sent, as if all of it were."""
    found: list[str] = []
    while True:
        body, count = spool.next()
        if not count:
            return found
        found += [its["id"] for its in msgspec.json.decode(body)]
        spool.sent(0)


def left(folder: Path) -> list[str]:
    return sorted(path.name.partition(".")[2] for path in folder.iterdir())


def used(api: Api, account: str) -> int:
    return int(api.check(account, "api_calls")["used"])


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "FILE_BYTES", 300)
    monkeypatch.setattr(spools, "BATCH_BYTES", 250)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paygrade.client.sdk.ADOPT_EVERY_S", 0.05)


@given(st.lists(st.sampled_from(["put", "next", "sent", "die"]), max_size=60))
def test_whatever_happens_each_event_is_sent_and_none_is_lost(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(spools, "FILE_BYTES", 300)
        patched.setattr(spools, "BATCH_BYTES", 250)
        folder, taken, sent = Path(name), list[str](), set[str]()
        spool, under_way = Spool(folder), list[str]()
        for step in steps:
            match step:
                case "put":
                    taken.append(f"e{len(taken)}")
                    assert spool.put(event(taken[-1]))
                case "next":
                    under_way = [its["id"] for its in msgspec.json.decode(spool.next()[0])]
                case "sent":
                    sent |= set(under_way)
                    under_way = []
                    spool.sent(0)
                case "die":
                    spool.forget()  # what the end of a process does to its files
                    spool, under_way = Spool(folder), []
                    spool.adopt()
            assert len(spool) >= len(set(taken) - sent)
        spool.adopt()
        again = waiting(spool)
        assert set(taken) == sent | set(again)
        # What was sent and taken off the list is not sent again, unless its process died before its file was done.
        assert "die" in steps or not sent & set(again)
        assert len(spool) == 0
        spool.close()
        assert left(folder) == []


def test_a_line_that_is_torn_or_damaged_is_set_aside_and_its_neighbours_are_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [event("one"), b'{"id": 7}', event("two"), b"\x00\xff\r\r", b"", event("three"), event("torn")[:-9]]
    (tmp_path / "1-dead.events").write_bytes(b"\n".join(lines))
    spool = Spool(tmp_path)
    assert spool.adopt()
    assert len(spool) == 7
    with caplog.at_level(logging.ERROR, "paygrade"):
        assert waiting(spool) == ["one", "two", "three"]
    assert len(caplog.records) == 1
    assert (tmp_path / "1-dead.unreadable").read_bytes() == b'{"id": 7}\n\x00\xff\r\r\n\n' + lines[-1]
    assert left(tmp_path) == ["unreadable"]


def test_garbage_without_an_end_is_set_aside_as_well(tmp_path: Path, small_files: None) -> None:
    (tmp_path / "1-dead.events").write_bytes(b"x" * 1000 + b"\n" + event("one") + b"\n" + b"y" * 1000)
    spool = Spool(tmp_path)
    spool.adopt()
    assert (waiting(spool), len(spool)) == (["one"], 0)


def test_what_has_an_owner_is_not_taken_over(tmp_path: Path) -> None:
    first, second, third = Spool(tmp_path), Spool(tmp_path), Spool(tmp_path)
    first.put(event("one"))
    second.put(event("two"))
    assert not second.adopt()
    assert waiting(second) == ["two"]
    first.close()
    assert second.adopt()
    assert not third.adopt()
    assert waiting(second) == ["one"]


def test_what_is_kept_has_a_bound_and_what_finds_no_room_is_said(tmp_path: Path) -> None:
    spool = Spool(tmp_path, bytes_max=3 * len(event("e0")) + 3)
    assert [spool.put(event(f"e{n}")) for n in range(5)] == [True, True, True, False, False]
    assert spool.dropped == 2
    assert waiting(spool) == ["e0", "e1", "e2"]
    assert spool.put(event("e5"))


def test_a_disk_that_takes_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path / "gone")
    assert [spool.put(event("one")) for _ in range(3)] == [False] * 3
    assert (spool.dropped, len(caplog.records)) == (3, 1)
    (tmp_path / "gone").mkdir()
    assert spool.put(event("one"))


def test_a_folder_that_cannot_be_one_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PaygradeError, match="can't be a spool"):
        Paygrade(NOWHERE, KEY, spool=tmp_path / "file")


def test_what_could_not_be_sent_is_sent_by_the_next_process(api: Api, acme: str, tmp_path: Path) -> None:
    with Paygrade(NOWHERE, KEY, spool=tmp_path) as sdk:
        for n in range(50):
            assert sdk.track(acme, "api_calls", id=f"event-{n}")
        assert not sdk.flush(0.05)
        assert sdk.status().buffered == 50
        sdk.close(0.1)
    assert left(tmp_path) == ["events"]
    with Paygrade(api.url, KEY, spool=tmp_path) as sdk:
        sdk.track(acme, "api_calls", id="event-0")  # the same event: counted once
        until_used(api, acme, 50)
        assert sdk.flush()
    assert left(tmp_path) == []


def test_a_fork_leaves_the_files_of_its_parent_to_it(api: Api, acme: str, tmp_path: Path, often: None) -> None:
    program = f"""
import os, sys
from paygrade import Paygrade
url, folder, account = sys.argv[1:]
sdk = Paygrade(url, "{KEY}", spool=folder)
sdk.track(account, "api_calls", 3)
if os.fork():
    os._exit(0)
assert sdk.status().buffered == 0
print("here", flush=True)
sys.stdin.read()
sdk.track(account, "api_calls", 10)
os._exit(0)
"""
    run = [sys.executable, "-c", program, NOWHERE, str(tmp_path), acme]
    with (
        subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process,
        Paygrade(api.url, KEY, spool=tmp_path) as sdk,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        sdk.check(acme, "api_calls")
        # The parent is gone, and its child lives on.
        until_used(api, acme, 3)
        assert process.stdin is not None
        process.stdin.close()
        until_used(api, acme, 13)


def test_all_that_killed_processes_acknowledged_is_counted_once(
    restartable: Restartable, tmp_path: Path, often: None
) -> None:
    restartable.api.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
    restartable.api.ok(
        "PUT", "/v1/accounts/acme/overrides/api_calls", json={"limit": 10**9, "reason": "there are many"}
    )
    random, acknowledged = Random(7), 0
    for turn in range(3):
        # Those of the first turn send while they track, those of the others can't.
        if turn == 1:
            restartable.stop()
        trackers = [tracker(restartable.url, tmp_path, f"{turn}-{number}") for number in range(2)]
        acknowledged += sum(killed_after(process, random.randint(100, 800)) for process in trackers)
    restartable.start()
    with Paygrade(restartable.url, KEY, spool=tmp_path) as sdk:
        sdk.check("acme", "api_calls")
        give_up_at = time.monotonic() + WAIT_S
        while used(restartable.api, "acme") < acknowledged and time.monotonic() < give_up_at:
            sdk.flush(0.1)
    assert left(tmp_path) == []
    # Of each process, one event at most was written and not acknowledged before it was killed.
    assert acknowledged <= used(restartable.api, "acme") <= acknowledged + 6


def tracker(url: str, folder: Path, name: str) -> "subprocess.Popen[bytes]":
    run = [sys.executable, "-c", TRACKER, url, str(folder), "acme", name]
    return subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def killed_after(process: "subprocess.Popen[bytes]", count: int) -> int:
    """How many events it had acknowledged when it was killed, at least this many."""
    assert process.stdout is not None
    with process:
        for _ in range(count):
            assert process.stdout.readline()
        process.kill()
        told = process.stdout.read().split(b"\n")
    return count + len(told) - 1


def until_used(api: Api, account: str, units: int) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while used(api, account) != units:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
