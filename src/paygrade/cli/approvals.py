"""`paygrade approvals`: what waits for a second person."""

from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, page_limit, say, show_json, table
from paygrade.cli.wording import instant

_reason = click.option("--reason", default="", help="Why, for the audit log.")


@click.group()
def approvals() -> None:
    """Approve or decline what needs a second person."""


@approvals.command("list")
@click.option("--all", "every", is_flag=True, help="Those that wait no more, too.")
@click.option("--account", help="Of this account alone.")
@click.option("--before", help="Show approvals before this place.")
@page_limit()
@as_json
def list_approvals(every: bool, account: str | None, before: str | None, limit: int, as_json: bool) -> None:
    """List what waits, the latest first."""
    asked = {"state": None if every else "waiting", "account": account, "before": before, "limit": str(limit)}
    told = call("GET", "/v1/approvals", query={name: value for name, value in asked.items() if value is not None})
    if as_json:
        show_json(told)
        return
    table(
        ("id", "account", "request", "asked by", "asked", "state"),
        [
            (each["id"], each["account"], each["request"], each["asked_by"]["name"] or each["asked_by"]["id"],
             instant(each["asked_at"]), each["state"])
            for each in told["approvals"]
        ],
    )  # fmt: skip
    if told["next"] is not None:
        click.echo(f"more: --before {told['next']}", err=True)


@approvals.command()
@click.argument("id")
@as_json
def show(id: str, as_json: bool) -> None:
    """Show approval ID: what was asked for, and what it would come to."""
    told = call("GET", path("v1", "approvals", id))
    if as_json:
        show_json(told)
        return
    by = told["asked_by"]["name"] or told["asked_by"]["id"]
    say(f"{told['id']}: {told['state']}, until {instant(told['expires_at'])}")
    click.echo(f"{told['request']}, for {told['account']}, asked by {by} at {instant(told['asked_at'])}")
    show_json({"body": told["body"], "would come to": told["preview"]})


@approvals.command()
@click.argument("id")
@_reason
@as_json
def approve(id: str, reason: str, as_json: bool) -> None:
    """Have done what approval ID asks for, now."""
    told = call("POST", path("v1", "approvals", id, "approve"), body={"reason": reason})
    _say(told, told["approval"], as_json=as_json)


@approvals.command()
@click.argument("id")
@_reason
@as_json
def decline(id: str, reason: str, as_json: bool) -> None:
    """Have approval ID never happen."""
    told = call("POST", path("v1", "approvals", id, "decline"), body={"reason": reason})
    _say(told, told, as_json=as_json)


@approvals.command()
@click.argument("id")
@_reason
@as_json
def withdraw(id: str, reason: str, as_json: bool) -> None:
    """Take back approval ID, which you asked for yourself."""
    told = call("POST", path("v1", "approvals", id, "withdraw"), body={"reason": reason})
    _say(told, told, as_json=as_json)


def _say(told: Any, approval: Any, *, as_json: bool) -> None:
    """Any: decoded JSON."""
    if as_json:
        show_json(told)
    else:
        say(f"{approval['id']}: {approval['state']} ({approval['request']})", style="green")
