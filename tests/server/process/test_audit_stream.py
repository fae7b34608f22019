"""The audit stream: syslogs of every kind get a line, and nobody waits for one that is not there."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from paygrade.billing.audit_chain import FIRST, AuditRecord, chained
from paygrade.server.operations.audit.note import note
from paygrade.server.process.acting import Acting, Actor, acting_as
from paygrade.server.process.audit_stream import LINES_MAX, AuditStream
from support.fake_provider import T0

WAIT_S = 10.0
Made = Callable[[str], AuditStream]


@pytest.fixture
def made() -> Iterator[Made]:
    """Streams that end with the test, and so does what they say of a syslog that is gone."""
    with ExitStack() as stack:

        def make(address: str) -> AuditStream:
            stream = AuditStream(address)
            stack.callback(stream.close)
            return stream

        yield make


def record(number: int = 1, who: str = "key") -> AuditRecord:
    made: list[AuditRecord] = []

    class Noting:
        note = staticmethod(lambda entry: made.append(chained(entry, number, FIRST)))

    with acting_as(Acting(Actor(who, "ann", "Ann"), "10.0.0.7", "req_1")):  # type: ignore[arg-type]  # a kind
        note(Noting(), "member.set", "acme", personal={"members": {"bo": 1}}, at=T0)  # type: ignore[arg-type]  # its note
    return made[0]


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(WAIT_S)
        yield listening


def test_a_datagram_has_the_record_without_what_is_personal(udp: socket.socket, made: Made) -> None:
    made(f"udp://127.0.0.1:{udp.getsockname()[1]}").send(record())
    sent = udp.recv(65536)
    assert sent.startswith(b"<86>paygrade: {"), "authpriv, info: RFC 3164"
    told = json.loads(sent.partition(b": ")[2])
    assert (told["action"], told["account"], told["number"]) == ("member.set", "acme", 1)
    assert told["actor"] == {"kind": "key", "id": "ann", "name": "Ann"}
    assert b"bo" not in sent


def test_nothing_is_sent_of_an_actor_that_an_erasure_takes_back(udp: socket.socket, made: Made) -> None:
    made(f"udp://127.0.0.1:{udp.getsockname()[1]}").send(record(who="account_token"))
    sent = udp.recv(65536)
    assert b"Ann" not in sent
    assert b"10.0.0.7" not in sent


def test_a_stream_has_a_line_for_each_and_is_opened_again(made: Made) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        stream = made(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        for number in (1, 2):
            stream.send(record(number))
        first, _ = server.accept()
        with first, first.makefile("rb") as lines:
            assert [json.loads(lines.readline().partition(b": ")[2])["number"] for _ in range(2)] == [1, 2]
        # What is sent into a connection that has ended may be lost; some later line opens another one.
        server.settimeout(0.05)
        for number in range(3, 300):
            stream.send(record(number))
            try:
                again, _ = server.accept()
                break
            except TimeoutError:
                continue
        again.close()


def test_a_unix_socket_gets_it_too(tmp_path: Path, made: Made) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        listening.settimeout(WAIT_S)
        made(f"unix://{tmp_path}/log").send(record())
        assert b"member.set" in listening.recv(65536)


def test_nobody_waits_for_a_syslog_that_is_not_there(made: Made) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        stream = made(f"tcp://127.0.0.1:{free.getsockname()[1]}")
        one = record()
        for _ in range(LINES_MAX + 5):
            stream.send(one)
    assert stream.dropped >= 4
