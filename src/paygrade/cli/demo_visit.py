"""A visit to Kestrel: the house is built, its past is lived, and then there is something to see and to try.

Laws: what is shown was asked of the API just then; what does not come out as told fails the demo; the addresses are
there before the bulk of the usage events is.
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import click

from paygrade.cli import demo_tour
from paygrade.cli.demo_past import PAST, live
from paygrade.cli.demo_run import KEY, House, standing
from paygrade.cli.demo_situations import SITUATIONS
from paygrade.cli.demo_usage import Event as UsageEvent
from paygrade.cli.demo_usage import events, first, report

VISITOR = "kim@kestrel.example"
"""Who signs in to the console."""
LINE_EVERY = 50_000
SWEEP_EVERY = timedelta(days=30)
"""The clock leaps: a sweep a day would be one for each leap."""


def visit(*, once: bool, seed: int, count: int) -> dict[str, Any]:
    """Show everything and stay up; `once`: walk through it and end. Any: plain JSON, of what was seen and done.

    `count`: how many usage events. Raises Surprise or Unavailable.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    with standing(key=KEY, start=now - PAST, seed=seed, sweep_every=SWEEP_EVERY) as house:
        _addresses(house)
        past = live(house, now=now, seed=seed, tell=_leap)
        house.done(f"{len(past.customers)} customers, and ten weeks of what happened to them at the simulator")
        found = events(past, count=count, seed=seed)
        report(house.stage, first(found), lambda _: None)
        seen = _situations(house)
        if not once:
            demo_tour.show(house, now)
            _load(house, found, count)
            click.echo("  Ctrl-C stops everything, and nothing is kept.")
            Event().wait()
        counted = _load(house, found, count)
        walked = demo_tour.walk(house, now)
        click.echo()
        click.secho("  Everything went as expected.", fg="green", bold=True)
        return {"accounts": len(past.customers), "events": counted, "situations": seen, "tried": walked}


def _addresses(house: House) -> None:
    click.echo()
    click.secho("  Kestrel, a document-AI API, on Paygrade", bold=True)
    asked = {"email": VISITOR, "name": "Kim", "role": "admin"}
    password = house.stage.call("POST", "/v1/people", json=asked)["password"]
    click.echo(f"    console  {house.api_url}/console    sign in as {VISITOR} with {password}")
    click.echo(f"    API      {house.api_url}    key {KEY}    {house.api_url}/openapi.json")
    click.echo(f"    Stripe   {house.provider.url}    the simulator: customers, subscriptions, deliveries")
    click.echo()


def _leap(at: datetime) -> None:
    """Say where the clock is, where somebody watches it."""
    if sys.stdout.isatty():
        click.secho(f"\r         {at:%d %B %Y} …    ", dim=True, nl=False)
        click.echo("\r", nl=False)


def _situations(house: House) -> dict[str, str]:
    """Look at each, and show it; gives what the API says of it. Surprise."""
    click.echo()
    click.secho("  Worth a look:", bold=True)
    seen = {}
    for one in SITUATIONS:
        seen[one.account] = one.look(house.stage, one.account)
        click.echo(f"    {click.style(f'{one.account:<10}', bold=True)} {one.about:<35} "
                   f"{click.style(_short(seen[one.account]), dim=True)}")  # fmt: skip
    return seen


def _short(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:89]}…"


def _load(house: House, found: Iterator[UsageEvent], count: int) -> int:
    """Report the rest of the events, and show how far it is: a bar on a terminal, a line now and then in a pipe."""
    click.echo()
    if sys.stdout.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        with Progress(TextColumn("  usage events"), BarColumn(), MofNCompleteColumn(), transient=True) as progress:
            task = progress.add_task("events", total=count)
            report(house.stage, found, lambda counted: progress.update(task, completed=counted))
    else:
        report(house.stage, found, lambda counted: _line(counted, count))
    house.done(f"{count:,} usage events of thirty days reported")
    return count


def _line(counted: int, count: int) -> None:
    if counted % LINE_EVERY == 0:
        click.echo(f"         {counted:,} of {count:,} usage events")
