"""`paygrade serve`: the server, with an embedded database unless it is given one."""

import asyncio
import gc
import os
import signal
import sys
from types import FrameType

import click
import uvicorn
from litestar.types import ASGIApp
from msgspec.structs import replace

from paygrade.cli import wiring
from paygrade.server.http.protocol import Loop, configure
from paygrade.server.process.catalog_file import read_catalog
from paygrade.server.process.logs import configure_logs
from paygrade.server.process.settings import Settings, parse_settings
from paygrade.values.errors import Unavailable


@click.command()
@click.option("--host", help="Address to listen on; PAYGRADE_HOST, 127.0.0.1.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port; PAYGRADE_PORT, 4710.")
@click.option("--no-migrate", is_flag=True, help="Leave the database's schema alone.")
@click.option("--json", "as_json", is_flag=True, help="Log JSON, on a terminal too.")
def serve(host: str | None, port: int | None, no_migrate: bool, as_json: bool) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    Everything it needs comes from the environment; `paygrade doctor` says what is set and what is missing.
    """
    configure_logs(as_json=as_json or not sys.stderr.isatty())
    settings = parse_settings(os.environ)
    settings = replace(settings, host=host or settings.host, port=port or settings.port)
    document = read_catalog(settings.catalog) if settings.catalog is not None else None
    # uvicorn raises the signal again once it has ended gracefully; this turns it into an orderly way out.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    with wiring.database(settings, progress=lambda line: click.echo(line, err=True)) as database_url:
        if not no_migrate:
            for name in asyncio.run(wiring.apply_migrations(database_url)):
                click.echo(f"migrated: {name}", err=True)
        key, made = wiring.admin_key(settings)
        _announce(settings, key if made else None)
        collect_rarely()
        app = wiring.application(settings, database_url=database_url, key=key, document=document)
        _run(app, settings)


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
        click.echo(f"admin key: {made_key}  (kept in {wiring.data_dir(settings)}/admin_key)", err=True)
    if settings.stripe_api_key is None:
        click.echo("no PAYGRADE_STRIPE_API_KEY: manual billing only", err=True)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
