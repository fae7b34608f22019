"""Answers in one piece, over real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from paygrade.server.http.whole_answers import WholeAnswers

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Streaming:
    """Starts to answer, and goes on when it is let."""

    def __init__(self) -> None:
        self.going_on = threading.Event()

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        # Any: ASGI's own types are open mappings.
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        while not self.going_on.is_set():
            await asyncio.sleep(0.005)
        await send({"type": "http.response.body", "body": b"cd"})


class StartingOnly(Streaming):
    """Sends its head and then waits."""

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        while not self.going_on.is_set():
            await asyncio.sleep(0.005)
        await send({"type": "http.response.body", "body": b"abcd"})


@contextmanager
def connected(app: Any) -> Iterator[socket.socket]:
    config = uvicorn.Config(app, port=0, log_config=None, http=WholeAnswers, lifespan="off", proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=10) as connection:
        yield connection
    server.should_exit = True
    thread.join(timeout=10)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        part = connection.recv(65536)
        assert part, f"closed after {found!r}"
        found += part
    return found


@pytest.mark.parametrize(("kind", "first"), [(Streaming, b"\r\n\r\nab"), (StartingOnly, b"\r\n\r\n")])
def test_a_stream_begins_at_once(kind: type[Streaming], first: bytes) -> None:
    app = kind()
    with connected(app) as connection:
        connection.sendall(GET)
        assert read_until(connection, first).startswith(b"HTTP/1.1 200 OK\r\n")
        app.going_on.set()
        read_until(connection, b"cd")


def test_pipelined_requests_are_answered_in_order_and_whole() -> None:
    app = Streaming()
    app.going_on.set()
    with connected(app) as connection:
        connection.sendall(GET * 3)
        told = b""
        while told.count(b"abcd") < 3:
            told += connection.recv(65536)
        assert told.count(b"HTTP/1.1 200 OK") == 3


def test_an_answer_before_the_connection_closes_is_sent_whole() -> None:
    app = Streaming()
    app.going_on.set()
    with connected(app) as connection:
        connection.sendall(GET.replace(b"Host", b"Connection: close\r\nHost"))
        assert read_until(connection, b"abcd").count(b"HTTP/1.1 200 OK") == 1
        assert connection.recv(1) == b""


# What is asked for at once

POST = b"POST /quick HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Length: 2\r\n\r\n"


class Quick:
    """Answers `/quick` at once for the bodies it knows, and everything the usual way, saying which way it was."""

    AT_ONCE = frozenset({b"/quick"})

    def __init__(self) -> None:
        self.going_on = threading.Event()
        self.asked: list[bytes] = []

    def at_once(self, path: bytes, authorization: bytes, raw: bytes) -> Any:
        assert (path, authorization) == (b"/quick", b"Bearer k")
        self.asked.append(raw)
        match raw:
            case b"ok":
                return self._parts(b"once")
            case b"wa":
                return self._wait(b"late")
            case b"br":
                return self._wait(None)
            case _:
                return None

    async def _wait(self, body: bytes | None) -> Any:
        while not self.going_on.is_set():
            await asyncio.sleep(0.005)
        return None if body is None else self._parts(body)

    def _parts(self, body: bytes) -> tuple[bytes, ...]:
        return b"content-length: 4\r\n\r\n", body

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        headers = [(b"content-length", b"%d" % (len(body) + 6))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"usual " + body})


def bodies(connection: socket.socket, count: int) -> list[bytes]:
    """The bodies of so many answers, one after the other."""
    told = b""
    found: list[bytes] = []
    while len(found) < count:
        head, separator, rest = told.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) if separator else 0
        if not separator or len(rest) < length:
            part = connection.recv(65536)
            assert part, f"closed after {told!r}"
            told += part
            continue
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\ndate: " in head
        found.append(rest[:length])
        told = rest[length:]
    return found


def test_what_can_be_answered_at_once_is_and_the_rest_takes_the_usual_way() -> None:
    with connected(Quick()) as connection:
        for body, answer in ((b"ok", b"once"), (b"no", b"usual no"), (b"ok", b"once"), (b"no", b"usual no")):
            connection.sendall(POST + body)
            assert bodies(connection, 1) == [answer]


@pytest.mark.parametrize(
    "unusual",
    [
        POST.replace(b"Host", b"Content-Encoding: identity\r\nHost"),
        POST.replace(b"Host", b"X-Request-Id: mine\r\nHost"),
        POST.replace(b"Host", b"Connection: close\r\nHost"),
        POST.replace(b"Authorization: Bearer k\r\n", b""),
        POST.replace(b"Host", b"Authorization: Bearer j\r\nHost"),
        POST.replace(b"POST /quick ", b"PUT /quick "),
        POST.replace(b"/quick", b"/quick?a=1"),
        POST.replace(b"/quick", b"/slow"),
    ],
)
def test_a_head_that_says_more_takes_the_usual_way(unusual: bytes) -> None:
    app = Quick()
    with connected(app) as connection:
        connection.sendall(unusual + b"ok")
        assert bodies(connection, 1) == [b"usual ok"]
    assert app.asked == []


def test_a_head_with_a_line_that_ends_in_two_ways_is_not_read_here() -> None:
    app = Quick()
    with connected(app) as connection:
        connection.sendall(POST.replace(b"Host: x", b"Host: x\nTransfer-Encoding: chunked") + b"ok")
        connection.recv(65536)
    assert app.asked == []


def test_a_request_in_pieces_takes_the_usual_way_and_the_next_does_not() -> None:
    with connected(Quick()) as connection:
        connection.sendall(POST[:40])
        time.sleep(0.05)
        connection.sendall(POST[40:] + b"o")
        time.sleep(0.05)
        connection.sendall(b"k")
        assert bodies(connection, 1) == [b"usual ok"]
        connection.sendall(POST + b"ok")
        assert bodies(connection, 1) == [b"once"]


def test_what_looks_like_a_request_inside_of_another_is_not_one() -> None:
    app = Quick()
    with connected(app) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Note: ")
        time.sleep(0.05)
        connection.sendall(POST + b"ok")
        connection.recv(65536)
    assert app.asked == []


def test_requests_that_come_together_are_answered_in_their_order() -> None:
    with connected(Quick()) as connection:
        connection.sendall((POST + b"ok") * 3 + POST + b"no")
        assert bodies(connection, 4) == [b"usual ok", b"usual ok", b"usual ok", b"usual no"]


def test_what_comes_while_something_is_awaited_is_answered_after_it() -> None:
    app = Quick()
    with connected(app) as connection:
        connection.sendall(POST + b"wa")
        time.sleep(0.05)
        connection.sendall(POST + b"ok")
        time.sleep(0.05)
        connection.sendall(POST + b"no")
        time.sleep(0.05)
        assert app.asked == [b"wa"]
        app.going_on.set()
        assert bodies(connection, 3) == [b"late", b"once", b"usual no"]


def test_what_comes_to_nothing_is_asked_for_the_usual_way() -> None:
    app = Quick()
    app.going_on.set()
    with connected(app) as connection:
        connection.sendall(POST + b"br")
        assert bodies(connection, 1) == [b"usual br"]


def test_whoever_goes_away_meanwhile_breaks_nothing() -> None:
    app = Quick()
    with connected(app) as connection:
        connection.sendall(POST + b"wa")
        time.sleep(0.05)
        connection.close()
        app.going_on.set()
