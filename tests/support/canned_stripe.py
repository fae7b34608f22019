"""A server on a loopback socket that answers as Stripe does: lists in pages, objects by id, errors by order."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Answer = tuple[int, dict[str, str], object]
"""Status, headers, and the body: JSON, or text to send as it is."""


class CannedStripe:
    """What the server holds, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.objects: dict[str, Mapping[str, Any]] = {}
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, dict[str, list[str]], Mapping[str, str]]] = []
        self.connections: set[int] = set()
        self.page_size = 100
        self.instead: Callable[[str], Answer | None] = lambda path: None
        self.date: str | None = None
        """What it says that the time is; None: what it is."""
        self._lock = threading.Lock()

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    def answer(self, path: str, query: dict[str, list[str]], headers: Mapping[str, str], port: int) -> Answer:
        with self._lock:
            self.asked.append((path, query, headers))
            self.connections.add(port)
        ordered = self.instead(path)
        if ordered is not None:
            return ordered
        if path in self.lists:
            return 200, {}, self._page(self.lists[path], query)
        if path in self.objects:
            return 200, {}, self.objects[path]
        return missing()

    def _page(self, entries: list[dict[str, Any]], query: dict[str, list[str]]) -> dict[str, Any]:
        for name in ("customer", "subscription"):
            if name in query:
                entries = [entry for entry in entries if entry.get(name) == query[name][0]]
        types = {value for name, values in query.items() if name.startswith("types[") for value in values}
        if types:
            entries = [entry for entry in entries if entry.get("type") in types]
        after = query.get("starting_after", [None])[0]
        start = next((index + 1 for index, entry in enumerate(entries) if entry["id"] == after), 0)
        size = min(self.page_size, int(query["limit"][0]))
        page = entries[start : start + size]
        if any("data.customer" in values for name, values in query.items() if name.startswith("expand")):
            page = [{**entry, "customer": self._customer(entry.get("customer"))} for entry in page]
        return {"object": "list", "data": page, "has_more": start + size < len(entries)}

    def _customer(self, reference: object) -> object:
        return self.objects.get(f"/v1/customers/{reference}", reference)


def missing(message: str = "No such thing") -> Answer:
    return failing(404, message, code="resource_missing")


def failing(status: int, message: str, *, headers: dict[str, str] | None = None, **fields: str) -> Answer:
    return status, headers or {}, {"error": {"message": message, **fields}}


@contextmanager
def serve() -> Iterator[CannedStripe]:
    canned = CannedStripe()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, extra, body = canned.answer(
                unquote(parts.path), parse_qs(parts.query), headers, self.client_address[1]
            )
            raw = (body if isinstance(body, str) else json.dumps(body)).encode()
            with suppress(ConnectionError):  # whoever asked may have stopped waiting
                self.send_response(status)
                for name, value in {**extra, "Content-Length": str(len(raw))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

        def do_POST(self) -> None:
            """Nothing can be changed here: what is sent is read, and answered as if it had been asked for."""
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.do_GET()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return canned.date or super().date_time_string(timestamp)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    canned.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield canned
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
