"""`paygrade serve`: the server, with an embedded database unless it is given one."""

import asyncio
import gc
import os
import signal
import socket
import sys
from types import FrameType

import click
import uvicorn
from litestar.types import ASGIApp
from msgspec.structs import replace

from paygrade.cli import wiring
from paygrade.cli.supervisor import supervise
from paygrade.documents.catalog_file import Document, read_catalog
from paygrade.server.http.protocol import Loop, configure
from paygrade.server.process.logs import configure_logs
from paygrade.server.process.settings import WORKERS_MAX, Settings, parse_settings
from paygrade.values.errors import Refused, Unavailable


@click.command()
@click.option("--host", help="Address to listen on; PAYGRADE_HOST, 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port; PAYGRADE_PORT, 4710.")
@click.option("--workers", type=click.IntRange(1, WORKERS_MAX), help="Server processes on this port; PAYGRADE_WORKERS.")
@click.option("--no-migrate", is_flag=True, help="Don't migrate the database.")
@click.option("--json", "as_json", is_flag=True, help="Log JSON, even on a terminal.")
def serve(host: str | None, port: int | None, workers: int | None, no_migrate: bool, as_json: bool) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Set it up with environment variables; `paygrade doctor` says what is missing. With --workers, SIGHUP restarts the
    workers one after another, and no request fails.
    """
    configure_logs(as_json=as_json or not sys.stderr.isatty())
    settings = parse_settings(os.environ)
    settings = replace(
        settings, host=host or settings.host, port=port or settings.port, workers=workers or settings.workers
    )
    if settings.workers is not None:
        if sys.platform == "win32":
            raise click.UsageError("workers need Linux or macOS: run the server without --workers and PAYGRADE_WORKERS")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing to restart yet; it must not end us
    opened = _opened_port(settings)
    document, broken = _catalog(settings)
    # uvicorn raises the signal again once it has ended gracefully; this turns it into an orderly way out.
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    losses: list[Unavailable] = []

    def end_without_database(loss: Unavailable) -> None:
        losses.append(loss)
        os.kill(os.getpid(), signal.SIGTERM)

    with wiring.database(
        settings, progress=lambda line: click.echo(line, err=True), lost=end_without_database
    ) as database_url:
        asyncio.run(wiring.refuse_shared_sessions(database_url))
        if no_migrate:
            _refuse_an_empty_database(database_url)
        else:
            for name in asyncio.run(wiring.apply_migrations(database_url)):
                click.echo(f"migrated: {name}", err=True)
        if broken is not None:
            _warn_or_refuse(broken, database_url, settings)
        key, made = wiring.admin_key(settings, database_url)
        _announce(settings, key if made else None)
        try:
            if settings.workers is None:
                opened.close()
                collect_rarely()
                _run(wiring.application(settings, database_url=database_url, key=key, document=document), settings)
            else:
                environ = _of_a_worker(settings, database_url=database_url, key=key)
                supervise(settings.workers, opened, environ, as_json=as_json)
        finally:
            if losses:
                raise losses[0] from None


def _opened_port(settings: Settings) -> socket.socket:
    """The port, ours; a taken one is refused before a database is started for nothing."""
    opened = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((settings.host, settings.port))
    except OSError as error:
        opened.close()
        raise Unavailable(
            "server_not_started",
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); is a server running there? "
            "Choose another port with --port or PAYGRADE_PORT",
        ) from None
    return opened


def _of_a_worker(settings: Settings, *, database_url: str, key: str | None) -> dict[str, str]:
    """The environment of a worker: ours, with what was found out for all of them."""
    found = {"PAYGRADE_DATABASE_URL": settings.database_url or database_url, "PAYGRADE_ADMIN_KEY": key or ""}
    return {**os.environ, **found, "PAYGRADE_HOST": settings.host, "PAYGRADE_PORT": str(settings.port)}


def _refuse_an_empty_database(database_url: str) -> None:
    missing = asyncio.run(wiring.pending_migrations(database_url))
    if missing:
        raise Refused("migration_pending", f"the database lacks {missing[0]}{' and more' if len(missing) > 1 else ''}; "
                      "run `paygrade migrate`, or omit --no-migrate")  # fmt: skip


def _catalog(settings: Settings) -> tuple[Document | None, Refused | None]:
    """The document of PAYGRADE_CATALOG, or what is wrong with it."""
    if settings.catalog is None:
        return None, None
    try:
        return read_catalog(settings.catalog), None
    except Refused as error:
        return None, error


def _warn_or_refuse(broken: Refused, database_url: str, settings: Settings) -> None:
    """A broken file keeps the server from its first catalog; once one is in force, the file is no longer used."""
    in_force = asyncio.run(wiring.catalog_in_force(database_url))
    if in_force is None:
        raise broken
    click.echo(f"{settings.catalog} has mistakes and is not used: {broken.detail} "
               f"(catalog version {in_force.catalog.version} is in force)", err=True)  # fmt: skip


def collect_rarely() -> None:
    """Look for cycles of garbage less often than Python does of itself: what is remembered lives long and has none, and
    going through it over and over took a third of the time of using units."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def configured(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    loop: Loop = "uvloop" if sys.platform != "win32" else "asyncio"
    return configure(app, host=settings.host, port=settings.port, loop=loop)


def _run(app: ASGIApp, settings: Settings) -> None:
    server = uvicorn.Server(configured(app, settings))
    try:
        server.run()
    except SystemExit as ended:
        if ended.code:
            raise _not_started(settings) from None
        raise
    if not server.started:
        raise _not_started(settings)


def _not_started(settings: Settings) -> Unavailable:
    return Unavailable(
        "server_not_started",
        f"the server did not start on {settings.host}:{settings.port}; the log above says why "
        "(is the port taken? choose another with PAYGRADE_PORT)",
    )


def _announce(settings: Settings, made_key: str | None) -> None:
    click.echo(f"paygrade at http://{settings.host}:{settings.port}", err=True)
    if settings.workers is not None:
        click.echo(f"{settings.workers} worker{'s' * (settings.workers > 1)}; SIGHUP to process {os.getpid()} restarts "
                   "them one after another", err=True)  # fmt: skip
    if made_key is not None:
        click.echo(f"admin key: {made_key}  (kept in {wiring.data_dir(settings)}/admin_key; shown this once)", err=True)
    if settings.stripe_api_key is None:
        click.echo("no PAYGRADE_STRIPE_API_KEY: manual billing only", err=True)


def end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
