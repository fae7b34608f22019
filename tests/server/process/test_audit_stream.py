"""Where audit records are sent: syslogs of every kind get a line of each, and who takes nothing is named."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paygrade.billing.audit_chain import FIRST, AuditRecord, chained
from paygrade.server.operations.audit.note import note
from paygrade.server.process.acting import Acting, Actor, acting_as
from paygrade.server.process.audit_stream import LINE_BYTES_MAX, Otlp, Syslog, otlp_request
from paygrade.values.errors import Unavailable
from support.fake_provider import T0
from support.receiver import receiving

pytestmark = pytest.mark.anyio

WAIT_S = 10.0


def record(number: int = 1, who: str = "key", name: str = "Ann") -> AuditRecord:
    made: list[AuditRecord] = []

    class Noting:
        note = staticmethod(lambda entry: made.append(chained(entry, number, FIRST)))

    with acting_as(Acting(Actor(who, "ann", name), "10.0.0.7", "req_1")):  # type: ignore[arg-type]  # a kind
        note(Noting(), "member.set", "acme", personal={"members": {"bo": 1}}, at=T0)  # type: ignore[arg-type]  # its note
    return made[0]


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(WAIT_S)
        yield listening


async def test_a_datagram_has_the_record_without_what_an_erasure_takes_back(udp: socket.socket) -> None:
    too_long = record(2, name="x" * LINE_BYTES_MAX)
    await Syslog(f"udp://127.0.0.1:{udp.getsockname()[1]}").send([record(), too_long, record(3, who="account_token")])
    sent = udp.recv(65536)
    assert sent.startswith(b"<86>paygrade: {"), "authpriv, info: RFC 3164"
    told = json.loads(sent.partition(b": ")[2])
    assert (told["action"], told["account"], told["number"]) == ("member.set", "acme", 1)
    assert told["actor"] == {"kind": "key", "id": "ann", "name": "Ann"}
    assert b"bo" not in sent
    sent = udp.recv(65536)
    assert json.loads(sent.partition(b": ")[2])["number"] == 3, "one that no syslog takes keeps none of the others"
    assert b"Ann" not in sent
    assert b"10.0.0.7" not in sent


async def send_many(syslog: Syslog) -> None:
    """What is sent into a connection that has just ended may be lost; some later line is not taken."""
    for number in range(3, 300):
        await syslog.send([record(number)])


async def test_a_stream_has_a_line_for_each_and_says_when_nobody_takes_them(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        syslog = Syslog(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        await syslog.send([record(1), record(2)])
        first, _ = server.accept()
        with first, first.makefile("rb") as lines:
            assert [json.loads(lines.readline().partition(b": ")[2])["number"] for _ in range(2)] == [1, 2]
    with pytest.raises(Unavailable, match="took nothing"):
        await send_many(syslog)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "log"))
        listening.settimeout(WAIT_S)
        await Syslog(f"unix://{tmp_path}/log").send([record()])
        assert b"member.set" in listening.recv(65536)


def plain(attributes: list[Any]) -> dict[str, Any]:
    """Attributes as the specification writes them: each with one value, of a type that JSON can tell."""
    found = {}
    for each in attributes:
        assert each.keys() == {"key", "value"}
        ((kind, value),) = each["value"].items()
        assert kind in ("stringValue", "intValue")
        assert isinstance(value, str), "64-bit numbers are texts"
        found[each["key"]] = value
    return found


def log_records(body: Any) -> list[Any]:
    """The records of an ExportLogsServiceRequest, whose shape is checked: field for field as
    https://github.com/open-telemetry/opentelemetry-proto/blob/main/examples/logs.json has it."""
    ((resource,),) = body.values()
    assert body.keys() == {"resourceLogs"}
    assert plain(resource["resource"]["attributes"]) == {"service.name": "paygrade"}
    (scope,) = resource["scopeLogs"]
    assert scope["scope"] == {"name": "paygrade.audit"}
    fields = {"timeUnixNano", "observedTimeUnixNano", "severityNumber", "severityText", "eventName", "body",
              "attributes"}  # fmt: skip
    for each in scope["logRecords"]:
        assert each.keys() == fields
        assert each["timeUnixNano"].isdigit()
        assert each["observedTimeUnixNano"].isdigit()
        assert each["body"].keys() == {"stringValue"}
    found: list[Any] = scope["logRecords"]
    return found


def test_a_record_is_a_log_record_of_opentelemetry_with_who_did_what_and_when() -> None:
    made, sealed = record(), record(2, who="account_token")
    first, second = log_records(json.loads(otlp_request([made, sealed], T0)))
    assert int(first["timeUnixNano"]) == int(T0.timestamp()) * 10**9
    assert plain(first["attributes"]) == {
        "paygrade.audit.action": "member.set",
        "paygrade.audit.account": "acme",
        "paygrade.audit.actor.kind": "key",
        "paygrade.audit.actor.id": "ann",
        "paygrade.audit.hash": made.hash,
        "paygrade.audit.number": "1",
        "client.address": "10.0.0.7",
        "paygrade.request_id": "req_1",
    }
    assert json.loads(first["body"]["stringValue"])["targets"] == []
    assert "10.0.0.7" not in json.dumps(second)
    assert "ann" not in json.dumps(second)


async def test_a_receiver_that_refuses_is_named_with_what_it_said() -> None:
    with receiving() as receiver:
        sink = Otlp(receiver.url, {"authorization": "Bearer x"})
        await sink.send([record()])
        (arrived,) = receiver.got(1)
        assert arrived.headers["content-type"] == "application/json"
        assert arrived.headers["authorization"] == "Bearer x"
        assert len(log_records(arrived.json)) == 1
        receiver.behave = lambda _, answering: answering.answer(503, b"full", retry_after="7")
        with pytest.raises(Unavailable, match="status 503: full") as refused:
            await sink.send([record()])
        assert refused.value.retry_after_s == 7
