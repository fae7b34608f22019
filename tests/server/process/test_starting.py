"""A server starts beside a clock that is slower than it is: that is waited for, and nothing is wrong with it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from structlog.testing import capture_logs

from paygrade.server.process.settings import Settings
from support.server_process import serving

SLOW = 10
"""How often the clock has no answer yet, when it is asked."""


@contextmanager
def slow_clock() -> Iterator[str]:
    asked = iter(range(1_000_000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_there = next(asked) >= SLOW
            body = b'{"now": "2026-03-01T00:00:00Z", "running": true}' if is_there else b""
            self.send_response(200 if is_there else 503)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("catalog", [True, False])
def test_a_start_before_its_clock_warns_of_nothing(empty_database_url: str, catalog: bool) -> None:
    with slow_clock() as url, capture_logs() as logged:
        with serving(Settings(clock_url=url), empty_database_url, catalog=catalog) as api:
            assert api.get("/readyz").is_success
        assert [entry for entry in logged if entry["log_level"] not in ("debug", "info")] == []
