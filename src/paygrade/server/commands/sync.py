"""`paygrade sync`: see and repair billing sync."""

import sys
from typing import Any

import click

from paygrade.server.commands.api import call
from paygrade.server.commands.output import as_json, say, show_json, table
from paygrade.server.sentences import instant


@click.group()
def sync() -> None:
    """See and repair billing sync."""


@sync.command()
@as_json
def status(as_json: bool) -> None:
    """How billing sync stands. Exit code 1 if subjects cannot be read."""
    told = call("GET", "/v1/sync/status")
    if as_json:
        show_json(told)
    else:
        _show(told)
    sys.exit(1 if told["failing"] else 0)


@sync.command()
@as_json
def sweep(as_json: bool) -> None:
    """Read every subject anew, those too that only the provider knows."""
    told = call("POST", "/v1/sync/sweep")
    if as_json:
        show_json(told)
    else:
        say(f"{told['subjects']} subjects will be read again, {told['discovered']} of them were not known before")


# Any: decoded JSON, as the server sent it.
def _show(told: dict[str, Any]) -> None:
    say(f"clock: {instant(told['clock'])}")
    waits = f", the longest for {told['oldest_dirty_s']:.1f} s" if told["oldest_dirty_s"] is not None else ""
    say(f"subjects: {told['subjects']}, {told['dirty']} wait to be read{waits}")
    last = f", the last at {instant(told['last_event_at'])}" if told["last_event_at"] else ""
    say(f"billing events: {told['inbox']['received']} kept, {told['inbox']['unhandled']} not handled{last}")
    if told["failing"]:
        say()
        say("Cannot be read:", style="red")
        table(
            ("subject", "attempts", "next try", "error"),
            (
                (each["subject"], each["attempts"], instant(each["retry_at"]) if each["retry_at"] else None,
                 each["error"])
                for each in told["failing"]
            ),
        )  # fmt: skip
    if told["findings"]:
        say()
        say("Look at these:", style="yellow")
        table(
            ("account", "what", "subject", "detail"),
            ((each["account"], each["code"], each["subject"], each["detail"]) for each in told["findings"]),
        )
