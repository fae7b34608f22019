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

from paygrade.server.whole_answers import WholeAnswers

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
    config = uvicorn.Config(app, port=0, log_config=None, http=WholeAnswers, lifespan="off")
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
