"""Running the simulator: in front, as a server of its own, or beside a test, in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import uvicorn

from paygrade.simulator.http.app import DEFAULT_KEY, DEFAULT_SECRET, Simulator, create_app

DEFAULT_PORT = 4711


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    webhook_urls: Sequence[str] = (),
    seed: int = 1,
    start: datetime | None = None,
    secret: str = DEFAULT_SECRET,
    key: str = DEFAULT_KEY,
    public_url: str | None = None,
) -> None:
    """Serve until interrupted."""
    app = create_app(seed=seed, start=start, webhook_urls=webhook_urls, secret=secret, key=key, public_url=public_url)
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False)
    logging.getLogger("uvicorn.error").addFilter(_left_on_purpose)
    _Server(config, app).run()


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    key: str
    secret: str
    simulator: Simulator  # belongs to the server's thread: look, but change it over HTTP


@contextmanager
def running(
    *,
    webhook_urls: Sequence[str] = (),
    seed: int = 1,
    start: datetime | None = None,
    secret: str = DEFAULT_SECRET,
    key: str = DEFAULT_KEY,
    port: int = 0,
) -> Iterator[Running]:
    """Serve in a thread, on a free port unless told otherwise, until the block ends."""
    app = create_app(seed=seed, start=start, webhook_urls=webhook_urls, secret=secret, key=key)
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
    logging.getLogger("uvicorn.error").addFilter(_left_on_purpose)
    server = _Server(config, app)
    thread = threading.Thread(target=server.run, name="simulator", daemon=True)
    thread.start()
    try:
        if not server.ready.wait(timeout=30) or not server.started:
            raise RuntimeError(f"the simulator did not start on port {port}")
        bound = server.servers[0].sockets[0].getsockname()[1]
        yield Running(url=f"http://127.0.0.1:{bound}", key=key, secret=secret, simulator=app)
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def _left_on_purpose(record: logging.LogRecord) -> bool:
    """Keep quiet about answers that timeouts of the weather never finish."""
    return "without completing response" not in record.getMessage()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, simulator: Simulator) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._simulator = simulator

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        try:
            await super().startup(sockets)  # type: ignore[arg-type]
        finally:
            self.ready.set()

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Let go of those who follow the clock first: uvicorn waits for requests under way."""
        self._simulator.account.followers.close()
        await super().shutdown(sockets)  # type: ignore[arg-type]
