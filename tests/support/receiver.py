"""Somebody who receives webhooks, over real sockets, and behaves as they are told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.waiting import eventually


class Received:
    """A request as it arrived."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path, self.headers, self.body = path, headers, body
        self.at = time.monotonic()
        self.json = json.loads(body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def account(self) -> Any:
        return self.json["account"]

    @property
    def sequence(self) -> Any:
        return self.json["sequence"]


class Answering(BaseHTTPRequestHandler):
    """A request that is being answered."""

    protocol_version = "HTTP/1.1"
    receiver: "Receiver"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        received = Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        receiver = self.receiver
        with receiver.lock:
            receiver.arrived.append(received)
        receiver.behave(received, self)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


Behaviour = Callable[[Received, Answering], None]


def takes(_: Received, answering: Answering) -> None:
    answering.answer(204)


class Receiver:
    """What arrived (`arrived`), and what is done with what arrives from now on (`behave`)."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.server = server
        self.port: int = server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hooks"
        self.lock = threading.Lock()
        self.arrived: list[Received] = []
        self.behave: Behaviour = takes

    def got(self, count: int, account: str | None = None) -> list[Received]:
        """What arrived, once it is so many (of one account)."""
        eventually(lambda: len(self.of(account)) >= count)
        found = self.of(account)
        assert len(found) == count, [each.json for each in found]
        return found

    def of(self, account: str | None) -> list[Received]:
        with self.lock:
            return [each for each in self.arrived if account is None or each.account == account]


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(Answering):
        pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    Handler.receiver = Receiver(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield Handler.receiver
    finally:
        server.shutdown()
        server.server_close()
