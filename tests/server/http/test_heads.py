"""A head that comes again as it was is not read again, and answered all the same: no socket, no server."""

import asyncio
from collections.abc import Callable
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from paygrade.server.http import protocol
from paygrade.server.http.protocol import HEAD_KEPT_BYTES, HEADS_MAX, Coming, Connection, Head, Heads, configure


class Forgetful(Heads):
    """Keeps nothing, so that every head is read."""

    def keep(self, packet: bytes, head: Head, body: bytes) -> None:
        pass


class Echo:
    """An application, and its short way: what it is asked is what it answers."""

    def __init__(self, heads: Heads) -> None:
        self.short_way, self.heads, self.read, self.answered = self, heads, 0, 0

    def takes(self, url: bytes, headers: Any) -> Head | None:
        self.read += 1
        its = dict(headers)
        if url != b"/v1/check" or b"content-length" not in its or b"x-odd" in its:
            return None
        return Head(url, its.get(b"authorization", b""), int(its[b"content-length"]))

    def opens(self, head: Head) -> bool:
        return head.shown != b"spent" or not self.answered

    def answer(self, head: Head, body: bytes) -> Any:
        answer = 200, b"content-length: %d\r\n\r\n%b%b" % (len(head.shown) + len(body), head.shown, body)
        if body.startswith(b"later"):
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(done.set_result, None)
            return Coming(done, lambda _: answer)
        if body.startswith(b"route"):
            return None
        self.answered += 1
        return answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        told = b"routed %b %b" % (scope["raw_path"], body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
        await send({"type": "http.response.body", "body": told})


class Wire(asyncio.Transport):
    """What is written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.told, self.closed = b"", False

    def write(self, data: Any) -> None:
        self.told += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write_eof(self) -> None:
        self.told += b"<end>"

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def answered(heads: Heads, packets: list[bytes]) -> tuple[bytes, bool, int]:
    """What a connection says to these packets, whether it is closed then, and how many heads it read."""

    async def ask() -> tuple[bytes, bool, int]:
        echo, wire = Echo(heads), Wire()
        config = configure(echo)
        config.load()
        connection = Connection(config, ServerState(), {})
        connection.connection_made(wire)
        for packet in packets:
            connection.data_received(packet)
            for _ in range(8):
                await asyncio.sleep(0)
        closed, wire.closed = wire.closed, True
        return wire.told, closed, echo.read

    return asyncio.run(ask())


def request(body: bytes, *, key: bytes = b"a", more: bytes = b"", path: bytes = b"/v1/check") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path, key, more, len(body), body,
    )  # fmt: skip


ONES = [
    request(b"one"), request(b"two"), request(b"later"), request(b"route"), request(b""), request(b"\r\n\r\n"),
    request(b"one", key=b"b"), request(b"one", key=b"spent"), request(b"one", more=b"X-Odd: a\r\n"),
    request(b"one", more=b"Connection: close\r\n"), request(b"one", path=b"/v1/other"), request(request(b"one")),
    request(b"one").replace(b"\r\n", b"\n"), b"\r\n" + request(b"one"), b"\r", b"\r\n", b"G",
    b"POST /v1/check HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /v1/other HTTP/1.1\r\n\r\n",
]  # fmt: skip


@st.composite
def sent(draw: st.DrawFn) -> list[bytes]:
    """Packets: requests as they are, several in one, or one in several."""
    packets: list[bytes] = []
    for one in draw(st.lists(st.sampled_from(ONES), max_size=8)):
        match draw(st.sampled_from(["whole", "whole", "joined", "cut"])):
            case "joined" if packets:
                packets[-1] += one
            case "cut":
                at = draw(st.integers(0, len(one)))
                packets += [part for part in (one[:at], one[at:]) if part]
            case _:
                packets.append(one)
    return packets


@given(sent())
@example([request(b"one"), request(b"two") + request(b"one"), request(b"later"), request(b"two")])
@example([request(b"one"), request(b"route"), request(b"one")])
@example([request(b"one") + request(b"one", key=b"c"), request(b"one")])
@example([request(b"one", key=b"spent"), request(b"one", key=b"spent")])
@example([request(b"one"), b"\r\n", request(b"one"), request(b"one")[:40], request(b"one")])
def test_what_is_answered_does_not_depend_on_which_heads_are_kept(packets: list[bytes]) -> None:
    kept = Heads()
    answered(kept, ONES)  # what other connections sent is known
    told = [answered(heads, packets)[:2] for heads in (Forgetful(), Heads(), kept)]
    assert without_ids(told[0]) == without_ids(told[1]) == without_ids(told[2])


def without_ids(told: tuple[bytes, bool]) -> Any:
    return told if b"instance" not in told[0] else (told[0].partition(b'"instance"')[0].count(b"HTTP/1.1"), told[1])


def test_a_head_that_comes_again_is_not_read() -> None:
    kept = Heads()
    assert answered(kept, [request(b"one"), request(b"two"), request(b"one")])[2] == 1
    assert answered(kept, [request(b"one")])[2] == 0
    assert answered(kept, [request(b"three")])[2] == 1  # its length is another


def fill(make: Callable[[int], bytes], many: int) -> Heads:
    kept = Heads()
    for number in range(many):
        answered(kept, [make(number)])
    return kept


def test_the_heads_that_are_kept_are_bounded(monkeypatch: Any) -> None:
    monkeypatch.setattr(protocol, "HEADS_MAX", 3)
    kept = fill(lambda number: request(b"one", key=b"%d" % number), 5)
    found = [kept.find(request(b"one", key=b"%d" % number)) is not None for number in range(5)]
    assert found == [False] * 2 + [True] * 3
    long = request(b"one", key=b"k" * HEAD_KEPT_BYTES)
    answered(kept, [long])
    assert kept.find(long) is None
    assert HEADS_MAX * HEAD_KEPT_BYTES <= 1 << 20
