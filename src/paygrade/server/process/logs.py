"""Logs: one event a line, for people on a terminal and as JSON everywhere else."""

import logging
import sys
from typing import Any

import structlog


def configure_logs(*, as_json: bool, level: int = logging.INFO, worker: int | None = None) -> None:
    """Send our events and those of the libraries to standard error, in one form. `worker`: which of those that share
    a port this process is, for every line to name it."""

    def name_worker(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return event if worker is None else {**event, "worker": worker}

    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        name_worker,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # With rich it would be the variables, too: secrets among them, and seconds until they are drawn.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer: list[structlog.typing.Processor] = [console]
    if as_json:
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # A transaction that lost a race would be a line beside the answer it then got.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    # The clock is asked twenty times a second; each request would be a line.
    for name in ("httpx2", "httpcore2", "aiohttp", "stripe", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
