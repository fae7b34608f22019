"""`paygrade updates`: what has changed of accounts and catalog, as it was and as it comes."""

import time
from typing import Any

import click
import msgspec

from paygrade.cli.api import call, path
from paygrade.cli.output import MOMENT, as_json, page_limit, say, show_json, table
from paygrade.cli.wording import instant

LOOK_S = 1.0
PAGE = 200

# Any in this file: decoded JSON, as the server sent it.


@click.group()
def updates() -> None:
    """Show and follow what changes."""


_account = click.option("--account", help="Only updates of this account.")
_types = click.option("--type", "types", multiple=True, help="Only updates of this type; repeat it for more.")


@updates.command("list")
@_account
@_types
@click.option("--from", "from_at", type=MOMENT, help="What occurred from this time on.")
@click.option("--until", type=MOMENT, help="What occurred before this time.")
@click.option("--after", type=click.IntRange(0), help="Updates behind this position.")
@page_limit()
@as_json
def list_(
    account: str | None,
    types: tuple[str, ...],
    from_at: str | None,
    until: str | None,
    after: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """List updates, oldest first.

    Without --after, begins with the oldest update that is kept.
    """
    told = call(
        "GET", path("v1", "updates"), query=_query(account, types, after, limit, **{"from": from_at, "until": until})
    )
    if as_json:
        show_json(told)
        return
    table(("position", "time", "account", "sequence", "what", "data"), map(_row, told["updates"]))
    if len(told["updates"]) == limit:
        say(f"there may be more: --after {told['next']}", style="dim")


@updates.command()
@_account
@_types
@click.option("--after", type=click.IntRange(0), help="Begin behind this position; by default with what comes now.")
@as_json
def follow(account: str | None, types: tuple[str, ...], after: int | None, as_json: bool) -> None:
    """Print updates as they come, until Ctrl-C.

    One line for each; with --json, one JSON document for each line.
    """
    if after is None:
        after = call("GET", path("v1", "updates"), query={"limit": "1"})["end"]
    while True:
        told = call("GET", path("v1", "updates"), query=_query(account, types, after, PAGE))
        for each in told["updates"]:
            click.echo(msgspec.json.encode(each).decode() if as_json else _line(each))
        after = told["next"]
        if len(told["updates"]) < PAGE:
            time.sleep(LOOK_S)


def _query(
    account: str | None, types: tuple[str, ...], after: int | None, limit: int, **more: str | None
) -> dict[str, str]:
    found = {"account": account, "types": ",".join(types) or None, "after": after, "limit": limit, **more}
    return {name: str(value) for name, value in found.items() if value is not None}


def _row(update: dict[str, Any]) -> tuple[object, ...]:
    return (
        update["position"],
        instant(update["occurred_at"]),
        update["account"],
        update["sequence"],
        update["type"],
        update["data"],
    )


def _line(update: dict[str, Any]) -> str:
    data = ", ".join(f"{name} {value}" for name, value in update["data"].items() if value not in (None, {}, []))
    return f"{instant(update['occurred_at'])}  {update['account'] or '-'}  {update['type']}  {data}"
