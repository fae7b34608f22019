"""`paygrade webhooks`: where state updates are sent, a test, what became of each, and why one does not verify."""

import sys
import time
from typing import Any, BinaryIO

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, confirm, page_limit, say, show_json, table, yes
from paygrade.cli.wording import instant

# Any: decoded JSON, as the server sent it.
Endpoint = dict[str, Any]
STATES = ("waiting", "delivered", "dead_letter", "failed", "missed")


@click.group()
def webhooks() -> None:
    """Send changes to your own systems, and see what arrived."""


@webhooks.command()
@click.argument("url")
@click.option("--type", "types", multiple=True, help="Only updates of this type; repeatable.")
@click.option("--account", "accounts", multiple=True, help="Only updates about this account; repeatable.")
@click.option("--description", default="", help="What it is for.")
@as_json
def create(url: str, types: tuple[str, ...], accounts: tuple[str, ...], description: str, as_json: bool) -> None:
    """Send what happens from now on to URL."""
    body = {"url": url, "types": types, "accounts": accounts, "description": description}
    _show_with_secret(call("POST", "/v1/webhook-endpoints", body=body), as_json=as_json)


@webhooks.command("list")
@page_limit()
@click.option("--after", default="", help="Show endpoints after this id.")
@as_json
def list_(limit: int, after: str, as_json: bool) -> None:
    """List endpoints."""
    told = call("GET", "/v1/webhook-endpoints", query={"limit": str(limit), **({"after": after} if after else {})})
    if as_json:
        show_json(told)
        return
    table(
        ("id", "url", "state", "waiting", "undelivered", "needs attention"),
        (
            (each["id"], each["url"], each["state"], each["waiting"], each["undelivered"], each["warning"])
            for each in told["endpoints"]
        ),
    )
    if told["next"] is not None:
        click.echo(f"more: --after {told['next']}", err=True)


@webhooks.command()
@click.argument("id")
@as_json
def show(id: str, as_json: bool) -> None:
    """Show endpoint ID; exit code 1 if it needs attention."""
    told = call("GET", path("v1", "webhook-endpoints", id))
    if as_json:
        show_json(told)
    else:
        _show(told)
    sys.exit(1 if told["warning"] is not None else 0)


@webhooks.command()
@click.argument("id")
@click.option("--url", help="The new address.")
@click.option("--type", "types", multiple=True, help="Only updates of this type from now on; repeatable.")
@click.option("--all-types", is_flag=True, help="Updates of all types.")
@click.option("--account", "accounts", multiple=True, help="Only updates about this account; repeatable.")
@click.option("--all-accounts", is_flag=True, help="Updates about all accounts.")
@click.option("--description", help="What it is for.")
@click.option("--enable", "state", flag_value="enabled", help="Send again; `replay --gap` sends what was missed.")
@click.option("--disable", "state", flag_value="disabled", help="Send nothing until it is enabled.")
@as_json
def update(
    id: str,
    types: tuple[str, ...],
    all_types: bool,
    accounts: tuple[str, ...],
    all_accounts: bool,
    as_json: bool,
    **said: str | None,
) -> None:
    """Change endpoint ID, enable or disable it."""
    body: dict[str, object] = {name: what for name, what in said.items() if what is not None}
    if types or all_types:
        body["types"] = types
    if accounts or all_accounts:
        body["accounts"] = accounts
    told = call("PATCH", path("v1", "webhook-endpoints", id), body=body)
    if as_json:
        show_json(told)
    else:
        _show(told)


@webhooks.command()
@click.argument("id")
@click.option("--overlap", "overlap_s", type=click.IntRange(0, 604_800), default=86_400, show_default=True,
              help="For how many seconds the secret before goes on signing, too.")  # fmt: skip
@yes
@as_json
def rotate(id: str, overlap_s: int, yes: bool, as_json: bool) -> None:
    """Make a new secret for endpoint ID. For a day, webhooks are signed with the one before as well."""
    if overlap_s == 0:
        confirm("The receiver refuses webhooks until it has the new secret. Continue?", yes=yes)
    told = call("POST", path("v1", "webhook-endpoints", id, "rotate"), body={"overlap_s": overlap_s})
    _show_with_secret(told, as_json=as_json)


@webhooks.command()
@click.argument("id")
@as_json
def test(id: str, as_json: bool) -> None:
    """Send a test to endpoint ID and show what came back; exit code 1 if it was not taken."""
    told = call("POST", path("v1", "webhook-endpoints", id, "test"))
    if as_json:
        show_json(told)
    elif told["delivered"]:
        say(f"delivered: {told['status']} after {told['took_ms']} ms", style="green")
    else:
        say(f"not delivered: {told['error']} ({told['took_ms']} ms)", style="red")
        if told["answer"]:
            say(told["answer"])
    sys.exit(0 if told["delivered"] else 1)


@webhooks.command()
@click.argument("id")
@click.option("--state", type=click.Choice(STATES), help="Only deliveries in this state.")
@click.option("--account", help="Only deliveries about this account.")
@click.option("--before", type=click.IntRange(min=1), help="Show deliveries before this position.")
@page_limit()
@as_json
def deliveries(id: str, state: str | None, account: str | None, before: int | None, limit: int, as_json: bool) -> None:
    """List the deliveries of endpoint ID, the latest first."""
    asked = {"state": state, "account": account, "before": before, "limit": limit}
    query = {name: str(what) for name, what in asked.items() if what is not None}
    told = call("GET", path("v1", "webhook-endpoints", id, "deliveries"), query=query)
    if as_json:
        show_json(told)
        return
    table(
        ("position", "id", "type", "account", "state", "tries", "last try", "status", "next try", "error"),
        (
            (each["position"], each["id"], each["type"], each["account"], each["state"], each["tries"],
             _instant(each["tried_at"]), each["status"], _instant(each["next_try_at"]), each["error"])
            for each in told["deliveries"]
        ),
    )  # fmt: skip
    if told["next"] is not None:
        click.echo(f"more: --before {told['next']}", err=True)


@webhooks.command()
@click.argument("id")
@click.option("--update", "update_id", help="The state update with this id.")
@click.option("--after", type=click.IntRange(min=0), help="Those after this position.")
@click.option("--until", type=click.IntRange(min=0), help="Those up to this position.")
@click.option("--gap", is_flag=True, help="All that were not delivered.")
@as_json
def replay(id: str, update_id: str | None, after: int | None, until: int | None, gap: bool, as_json: bool) -> None:
    """Send state updates to endpoint ID again: one, a range, or all that were not delivered."""
    asked = {"id": update_id, "after": after, "until": until, "gap": gap or None}
    body = {name: what for name, what in asked.items() if what is not None}
    told = call("POST", path("v1", "webhook-endpoints", id, "replay"), body=body)
    if as_json:
        show_json(told)
    else:
        say(f"{told['replayed']} will be sent again")


@webhooks.command()
@click.argument("id")
@yes
@as_json
def remove(id: str, yes: bool, as_json: bool) -> None:
    """Remove endpoint ID and forget its deliveries."""
    confirm("Nothing more is sent there, and what was not delivered can't be replayed. Continue?", yes=yes)
    call("DELETE", path("v1", "webhook-endpoints", id))
    if as_json:
        show_json({"removed": id})


@webhooks.command()
@click.argument("body", type=click.File("rb"))
@click.option("--header", "headers", multiple=True, help="A header as it arrived, `name: value`; repeatable.")
@click.option("--secret", prompt=True, hide_input=True, help="The endpoint's secret; asked for if you leave it out.")
@click.option("--at", "at_s", type=int, help="When it arrived, in seconds since 1970; now by default.")
@as_json
def verify(body: BinaryIO, headers: tuple[str, ...], secret: str, at_s: int | None, as_json: bool) -> None:
    """Say why a webhook does not verify: BODY is a file with the request's body as it arrived (`-`: standard input).

    Needs no server. Exit code 1 if it does not verify.
    """
    from paygrade.server.process.webhook_signatures import diagnose

    parted = [header.partition(":") for header in headers]
    shown = {name.strip(): value for name, _, value in parted}
    found = diagnose(body.read(), shown, secret, now=int(time.time()) if at_s is None else at_s)
    if as_json:
        show_json(found)
    else:
        say(f"{found.verdict}: {found.detail}", style="green" if found.verdict == "ok" else "red")
    sys.exit(0 if found.verdict == "ok" else 1)


def _show_with_secret(told: Endpoint, *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    _show(told)
    click.echo("the secret, shown this once:", err=True)
    say(told["secret"])


def _show(told: Endpoint) -> None:
    say(f"{told['id']}  {told['url']}", style="bold")
    reason = f" ({told['reason']})" if told["reason"] else ""
    say(f"{told['state']}{reason}; {told['waiting']} waiting, {told['undelivered']} undelivered")
    say(f"types: {', '.join(told['types'] or ['all'])}; accounts: {', '.join(told['accounts'] or ['all'])}")
    if told["delivered_at"]:
        say(f"last delivered {instant(told['delivered_at'])}")
    if told["warning"]:
        say(told["warning"], style="yellow")


def _instant(told: str | None) -> str | None:
    return None if told is None else instant(told)
