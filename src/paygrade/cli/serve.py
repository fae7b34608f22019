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
from paygrade.documents.catalog_file import Document, read_catalog
from paygrade.server.http.protocol import Loop, configure
from paygrade.server.process.logs import configure_logs
from paygrade.server.process.settings import Settings, parse_settings
from paygrade.values.errors import Refused, Unavailable


@click.command()
@click.option("--host", help="Address to listen on; PAYGRADE_HOST, 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port; PAYGRADE_PORT, 4710.")
@click.option("--no-migrate", is_flag=True, help="Don't migrate the database.")
@click.option("--json", "as_json", is_flag=True, help="Log JSON, even on a terminal.")
def serve(host: str | None, port: int | None, no_migrate: bool, as_json: bool) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Set it up with environment variables; `paygrade doctor` says what is missing.
    """
    configure_logs(as_json=as_json or not sys.stderr.isatty())
    settings = parse_settings(os.environ)
    settings = replace(settings, host=host or settings.host, port=port or settings.port)
    _refuse_a_taken_port(settings)
    document, broken = _catalog(settings)
    # uvicorn raises the signal again once it has ended gracefully; this turns it into an orderly way out.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    losses: list[Unavailable] = []

    def end_without_database(loss: Unavailable) -> None:
        losses.append(loss)
        os.kill(os.getpid(), signal.SIGTERM)

    with wiring.database(
        settings, progress=lambda line: click.echo(line, err=True), lost=end_without_database
    ) as database_url:
        if no_migrate:
            _refuse_an_empty_database(database_url)
        else:
            for name in asyncio.run(wiring.apply_migrations(database_url)):
                click.echo(f"migrated: {name}", err=True)
        if broken is not None:
            _warn_or_refuse(broken, database_url, settings)
        key, made = wiring.admin_key(settings)
        _announce(settings, key if made else None)
        collect_rarely()
        app = wiring.application(settings, database_url=database_url, key=key, document=document)
        try:
            _run(app, settings)
        except SystemExit:
            if losses:
                raise losses[0] from None
            raise


def _refuse_a_taken_port(settings: Settings) -> None:
    """Say so before a database is started for nothing."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Unavailable(
                "server_not_started",
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); is a server running there? "
                "Choose another port with --port or PAYGRADE_PORT",
            ) from None


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


def _run(app: ASGIApp, settings: Settings) -> None:
    loop: Loop = "uvloop" if sys.platform != "win32" else "asyncio"
    config = configure(app, host=settings.host, port=settings.port, loop=loop)
    server = uvicorn.Server(config)
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
    if made_key is not None:
        click.echo(f"admin key: {made_key}  (kept in {wiring.data_dir(settings)}/admin_key; shown this once)", err=True)
    if settings.stripe_api_key is None:
        click.echo("no PAYGRADE_STRIPE_API_KEY: manual billing only", err=True)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
