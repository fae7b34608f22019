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
@click.option("--once", is_flag=True, help="Play the story and end; ONCE=1, and without a terminal.")
@as_json
def demo(once: bool, as_json: bool) -> None:
    """Start database, simulator and server, play a story, and stay up for you to try.

    Exit code 0: the story went as expected.
    """
    from paygrade.cli import demo_run as house
    from paygrade.cli.demo_story import Surprise

    configure_logs(as_json=False, level=logging.ERROR)
    signal.signal(signal.SIGTERM, _end)
    stays = sys.stdout.isatty() and not once and not as_json and os.environ.get("ONCE", "") in ("", "0")
    try:
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            decisions = house.run(once=not stays)
        if as_json:
            show_json(decisions)
    except Surprise as surprise:
        click.secho(f"the story did not go as expected: {surprise}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("\nstopped")


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
