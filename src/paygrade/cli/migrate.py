"""`paygrade migrate`: bring the database to this release's schema."""

import asyncio
import os

import click

from paygrade.cli import wiring
from paygrade.cli.output import as_json, say, show_json
from paygrade.server.process.settings import parse_settings


@click.command()
@click.option("--dry-run", is_flag=True, help="Only list what would be applied.")
@as_json
def migrate(dry_run: bool, as_json: bool) -> None:
    """Apply pending migrations to the database, each in one transaction."""
    settings = parse_settings(os.environ)
    with wiring.database(settings) as url:
        asyncio.run(wiring.refuse_shared_sessions(url))
        names = asyncio.run(wiring.pending_migrations(url) if dry_run else wiring.apply_migrations(url))
    if as_json:
        show_json({"pending" if dry_run else "applied": names})
        return
    for name in names:
        say(f"{'would apply' if dry_run else 'applied'} {name}")
    if not names:
        say("nothing to apply; the schema is up to date")
