"""A worker: one of the server processes that share a port. `paygrade serve --workers` runs it, nobody else.

Laws: what it is told is a number, the open port and the environment, so a worker of a new release can follow one of the
old; it ends when whoever started it is gone; on a socket of its own it answers for this process alone.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx2
import structlog

from paygrade.cli import wiring
from paygrade.cli.acceptor import Shares, SharingServer
from paygrade.cli.serve import collect_rarely, configured, end
from paygrade.documents.catalog_file import Document, read_catalog
from paygrade.server.process.logs import configure_logs
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.settings import Settings, parse_settings
from paygrade.values.errors import Refused

log = structlog.get_logger("paygrade.worker")

PATIENCE_S = 1.0
"""How long another worker may take to give its numbers."""


def main(arguments: Sequence[str]) -> None:
    """Serve. `arguments`: the number of this worker, the port's descriptor, the folder of the workers' sockets, and
    perhaps `--json`."""
    number, descriptor, folder = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    configure_logs(as_json="--json" in arguments or not sys.stderr.isatty(), worker=number)
    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    try:
        settings = parse_settings(os.environ)
    except Refused as error:
        log.error("worker_not_started", code=error.code, detail=error.detail)
        raise SystemExit(2) from None
    assert settings.database_url is not None, "the supervisor says where the database is"
    app = wiring.application(
        settings,
        database_url=settings.database_direct_url or settings.database_url,
        key=settings.admin_key,
        document=_document(settings),
        metrics=Metrics(worker=number, others=OtherWorkers(number, folder)),
    )
    collect_rarely()
    with socket.socket(fileno=descriptor) as port, socket.socket(socket.AF_UNIX) as own:
        own.bind(str(folder / f"{number}.{os.getpid()}"))
        SharingServer(configured(app, settings), port, Shares(folder), number).run(sockets=[own])


def _document(settings: Settings) -> Document | None:
    """The catalog to publish first; a broken file was told of by the supervisor."""
    if settings.catalog is None:
        return None
    with suppress(Refused):
        return read_catalog(settings.catalog)
    return None


class OtherWorkers:
    """Asks the other workers for their numbers; one that does not answer is left out."""

    def __init__(self, number: int, folder: Path) -> None:
        self._number, self._folder = number, folder

    async def __call__(self) -> list[bytes]:
        paths = [path for path in self._folder.iterdir() if path.name.isdecimal() and path.name != str(self._number)]
        answers = await asyncio.gather(*map(self._ask, sorted(paths)))
        return [answer for answer in answers if answer is not None]

    async def _ask(self, path: Path) -> bytes | None:
        with suppress(httpx2.TransportError):
            transport = httpx2.AsyncHTTPTransport(uds=str(path), verify=False)
            async with httpx2.AsyncClient(transport=transport, timeout=PATIENCE_S) as http:
                answer = await http.get("http://worker/metrics")
                return answer.content if answer.is_success else None
        return None


def _end_with_the_supervisor() -> None:
    # It holds the other end for as long as it lives, and never writes. Python's own reader would be locked at exit.
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
