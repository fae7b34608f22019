"""`paygrade demo`: see everything work, with nothing to configure."""

import logging
import os
import signal
import sys
from contextlib import nullcontext, redirect_stdout
from types import FrameType

import click

from paygrade.cli.output import as_json, show_json
from paygrade.server.process.logs import configure_logs


@click.command()
@click.option("--once", is_flag=True, help="Walk through everything and end; ONCE=1, and without a terminal.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed gives the same customers and usage."
)
@click.option(
    "--events",
    "count",
    type=click.IntRange(10_000, 5_000_000),
    default=200_000,
    show_default=True,
    help="How many usage events.",
)
@as_json
def demo(once: bool, seed: int, count: int, as_json: bool) -> None:
    """Show a company on Paygrade: start a database, a Stripe simulator and a server, and ten weeks of its customers.

    Stays up with ten things to try; with --once, does them all. Exit code 0: everything went as expected.
    """
    from paygrade.cli.demo_stage import Surprise
    from paygrade.cli.demo_visit import visit

    configure_logs(as_json=False, level=logging.ERROR)
    signal.signal(signal.SIGTERM, _end)
    stays = sys.stdout.isatty() and not once and not as_json and os.environ.get("ONCE", "") in ("", "0")
    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            seen = visit(once=not stays, seed=seed, count=count)
        if as_json:
            show_json(seen)
    except Surprise as surprise:
        click.secho(f"the demo did not go as expected: {surprise}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\nstopped")


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
