"""`paygrade dev`: everything an app under development talks to, from one catalog file, forgotten at the end."""

import json
import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from paygrade.cli.init import DEV_KEY
from paygrade.cli.output import as_json, say
from paygrade.server.process.logs import configure_logs
from paygrade.server.process.settings import DEFAULT_PORT
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.catalog.model import Catalog

LOOK_S = 0.5


@click.command()
@click.option(
    "--catalog",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default="paygrade.yaml",
    show_default=True,
    help="The catalog; each time you save it, it is published again.",
)
@click.option(
    "--webhook", "webhooks", multiple=True, metavar="URL", help="Where your app gets Stripe's events; repeatable."
)
@as_json
def dev(file: Path, webhooks: tuple[str, ...], as_json: bool) -> None:
    """Run a server and a Stripe simulator that sells what the catalog says, until Ctrl-C.

    Nothing is kept: each start begins empty. `paygrade simulator advance 31d` advances its clock.
    """
    from paygrade.cli.demo_run import standing

    configure_logs(as_json=False, level=logging.WARNING)
    signal.signal(signal.SIGTERM, _end)
    try:
        quiet = redirect_stdout(sys.stderr) if as_json else nullcontext()
        with quiet, standing(key=DEV_KEY, webhooks=webhooks) as house:
            catalog = house.publish(file.read_bytes())
            provider = house.provider
            if as_json:
                where = {"url": house.api_url, "key": DEV_KEY, "stripe_url": provider.url, "stripe_key": provider.key}
                print(json.dumps({**where, "webhook_secret": provider.secret}), file=sys.__stdout__, flush=True)
            say()
            say(f"  Paygrade    {house.api_url}      key {DEV_KEY}", style="bold")
            say(f"  Stripe      {provider.url}      key {provider.key}   webhook secret {provider.secret}")
            say(f"  prices      {', '.join(house.company.prices) or 'none has a `stripe` key'}")
            say()
            # Who took the address from `.env` reaches another server if this one had to move.
            moved = f"PAYGRADE_URL={house.api_url} " if not house.api_url.endswith(f":{DEFAULT_PORT}") else ""
            say(f"  To sell     {moved}{_example(catalog, provider.url)}")
            say(f"  Once paid   {moved}paygrade accounts show newco")
            say("  Your app: stripe.api_base and PAYGRADE_URL as above. Ctrl-C stops everything.")
            _follow(file, house.publish)
    except KeyboardInterrupt:
        say("\nstopped")


def _example(catalog: "Catalog", page: str) -> str:
    """A checkout of the first plan that is sold, ready to be run. Its customer comes back to the simulator's page."""
    sold = [(plan.key, key) for plan in catalog.plans.values() for key, price in plan.prices.items() if price.stripe]
    what = "--plan {} --interval {}".format(*sold[0]) if sold else "--plan …"
    return f"paygrade accounts checkout newco {what} --success-url {page} --cancel-url {page}"


def _follow(file: Path, publish: Callable[[bytes], object]) -> None:
    """Publish the file again whenever it was saved; a mistake in it is shown and changes nothing."""
    seen = file.read_bytes()
    while True:
        threading.Event().wait(LOOK_S)
        text = file.read_bytes() if file.is_file() else seen
        if text == seen:
            continue
        seen = text
        try:
            publish(text)
        except Refused as refused:
            for mistake in refused.mistakes or (refused.detail,):
                say(f"{file}: {mistake}", style="red")


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
