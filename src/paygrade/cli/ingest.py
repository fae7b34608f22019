"""`paygrade ingest`: a process that takes usage events from NATS JetStream, beside the servers or far from them."""

import asyncio
import os
import signal
import sys
from functools import partial

import click
import uvicorn
from litestar.types import ASGIApp
from msgspec.structs import replace

from paygrade.cli import wiring
from paygrade.cli.serve import collect_rarely, configured, end
from paygrade.server.http.ingest_app import create_ingest_app
from paygrade.server.process.clock import Clock
from paygrade.server.process.logs import configure_logs
from paygrade.server.process.metrics import Metrics
from paygrade.server.process.settings import Settings, nats_url, parse_settings
from paygrade.server.state.snapshots import Snapshots
from paygrade.values.errors import Refused

try:
    from paygrade.server.process import jetstream
    from paygrade.server.workers.ingest import Ingest
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] != "nats":
        raise
    raise Refused("nats_missing", "the library `nats-py` is missing; run `pip install 'paygrade[nats]'`") from None

DEFAULT_PORT = 4713


@click.command()
@click.option("--from", "urls", help="NATS servers, with commas between them; PAYGRADE_NATS_URL.")
@click.option("--stream", default="PAYGRADE_USAGE", show_default=True, help="The stream that has the events.")
@click.option("--subject", default="paygrade.usage.>", show_default=True, help="Its subjects; they end in `.>`.")
@click.option("--consumer", default="paygrade", show_default=True, help="The durable consumer to share.")
@click.option("--dead-letters", default="paygrade.dead-letters", show_default=True, help="Where refused events go.")
@click.option("--partition", "partitions", multiple=True, type=click.IntRange(0, 1023),
              help="Take this partition alone; may be given several times.")  # fmt: skip
@click.option("--create", is_flag=True, help="Create the stream, and one for dead letters, if they are missing.")
@click.option("--partitions", "count", default=1, show_default=True, type=click.IntRange(1, 1024),
              help="With --create: how many to split the subjects into, by account.")  # fmt: skip
@click.option("--replicas", default=1, show_default=True, type=click.IntRange(1, 5), help="With --create: copies.")
@click.option("--host", help="Address to answer on; PAYGRADE_HOST, 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True,
              help="Port of /healthz, /readyz and /metrics.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Log JSON, even on a terminal.")
def ingest(
    urls: str | None,
    stream: str,
    subject: str,
    consumer: str,
    dead_letters: str,
    partitions: tuple[int, ...],
    create: bool,
    count: int,
    replicas: int,
    host: str | None,
    port: int,
    as_json: bool,
) -> None:
    """Take usage events from NATS JetStream until SIGTERM or Ctrl-C.

    Each counts once, by its id, and is acknowledged once it is saved. Run as many processes as you like: they share the
    consumer. A refused event goes to --dead-letters with the reason.
    """
    configure_logs(as_json=as_json or not sys.stderr.isatty())
    settings = parse_settings(os.environ)
    settings = replace(settings, nats_url=_url(urls, settings), host=host or settings.host, port=port)
    if not subject.endswith(".>"):
        raise click.UsageError("--subject must end in `.>`, as in `paygrade.usage.>`")
    place = jetstream.Place(
        stream=stream,
        subject=subject,
        consumer=consumer,
        dead_letters=dead_letters,
        partitions=tuple(dict.fromkeys(partitions)),
    )
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with wiring.database(settings) as database_url:
        asyncio.run(wiring.refuse_shared_sessions(database_url))
        for name in asyncio.run(_prepare(settings, place, create=(count, replicas) if create else None)):
            click.echo(f"created: {name}", err=True)
        click.echo(f"taking usage events from {stream}; metrics at http://{settings.host}:{port}/metrics", err=True)
        collect_rarely()
        uvicorn.Server(configured(_application(settings, place, database_url), settings)).run()


def _url(urls: str | None, settings: Settings) -> str:
    if urls is None and settings.nats_url is None:
        raise click.UsageError("say where NATS is: --from nats://127.0.0.1:4222, or PAYGRADE_NATS_URL")
    try:
        return nats_url(urls or settings.nats_url or "")
    except ValueError as error:
        raise click.UsageError(f"--from {error}") from None


async def _prepare(settings: Settings, place: "jetstream.Place", *, create: tuple[int, int] | None) -> list[str]:
    """Create what is missing, if asked to, and look whether events can be taken; gives what was created."""
    connection = await jetstream.connect(settings.nats_url or "", credentials=settings.nats_credentials)
    try:
        with jetstream.failures_as_unavailable():
            js = connection.jetstream()
            made = []
            if create is not None:
                made = await jetstream.create_streams(js, place, partitions=create[0], replicas=create[1])
            await jetstream.sources(js, place, payload_max=connection.max_payload)
        return made
    finally:
        await connection.close()


def _application(settings: Settings, place: "jetstream.Place", database_url: str) -> ASGIApp:
    store, clock, metrics = wiring.store_of(settings, database_url), Clock(settings.clock_url), Metrics()
    snapshots = Snapshots(bytes_max=settings.memory_mb * 1_000_000)
    taking = Ingest(store, snapshots, clock, metrics, place,
                    urls=settings.nats_url or "", credentials=settings.nats_credentials)  # fmt: skip
    return create_ingest_app(
        store=store,
        clock=clock,
        snapshots=snapshots,
        metrics=metrics,
        schema_pending=partial(wiring.pending_migrations, database_url),
        lacking=taking.missing,
        take=taking.go_on,
    )
