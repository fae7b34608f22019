"""`paygrade keys`: who may ask the server, and what."""

from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import MOMENT, as_json, confirm, page_limit, say, show_json, table, yes
from paygrade.cli.wording import instant
from paygrade.server.process.scopes import ROLES, SCOPES

# Any: decoded JSON, as the server sent it.
Key = dict[str, Any]


@click.group()
def keys() -> None:
    """Create, list, rotate and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(list(SCOPES)), metavar="SCOPE",
              help="What it opens, such as decisions:read; repeatable.")  # fmt: skip
@click.option("--role", type=click.Choice(list(ROLES)), help="All that this role may do.")
@click.option("--publishable", is_flag=True, help="A key that a page may hold: it only reads decisions.")
@click.option("--mode", type=click.Choice(["test", "live"]), help="That of the server by default.")
@click.option("--expires", "expires_at", type=MOMENT, help="When it ends; after a year by default.")
@click.option("--never-expires", is_flag=True, help="It never ends by itself.")
@click.option(
    "--ip", "ip_ranges", multiple=True, metavar="RANGE", help="Only from here, such as 203.0.113.0/24; repeatable."
)
@click.option("--rate-limit", type=click.IntRange(min=1), help="At most so many requests a minute.")
@as_json
def create(name: str, as_json: bool, **said: Any) -> None:
    """Create a key called NAME, and show it this once. Say what it opens with --scope or --role."""
    told = call("POST", "/v1/keys", body={"name": name, **{field: what for field, what in said.items() if what}})
    _show_once(told, as_json=as_json)


@keys.command("list")
@click.option("--after", default="", help="Show keys after this id.")
@click.option("--all", "ended", is_flag=True, help="Those that have ended, too.")
@page_limit()
@as_json
def list_keys(after: str, limit: int, ended: bool, as_json: bool) -> None:
    """List keys, the oldest first."""
    asked = {"limit": str(limit), "after": after, "state": "" if ended else "active"}
    told = call("GET", "/v1/keys", query={name: said for name, said in asked.items() if said})
    if as_json:
        show_json(told)
        return
    table(
        ("id", "name", "key", "opens", "state", "expires", "last used"),
        [
            (each["id"], each["name"], " ".join(secret["hint"] for secret in each["secrets"]), _opens(each),
             each["state"], _when(each["expires_at"], "never"), _when(each["last_used_at"], "never"))
            for each in told["keys"]
        ],
    )  # fmt: skip
    if told["next"] is not None:
        click.echo(f"more: --after {told['next']}", err=True)


@keys.command()
@click.argument("id")
@as_json
def show(id: str, as_json: bool) -> None:
    """Show key ID, without its secret."""
    told = call("GET", path("v1", "keys", id))
    if as_json:
        show_json(told)
        return
    say(f"{told['name']}: {told['state']}", style="bold")
    limit = f"{told['rate_limit']} requests a minute" if told["rate_limit"] else "no limit"
    rows = [
        ("opens", _opens(told)),
        ("mode", told["mode"]),
        ("from", ", ".join(told["ip_ranges"]) or "anywhere"),
        ("rate limit", limit),
        ("created", f"{instant(told['created_at'])} by {told['created_by']}"),
        ("expires", _when(told["expires_at"], "never")),
        ("last used", _when(told["last_used_at"], "never")),
        *[("secret", f"{each['hint']} until {_when(each['ends_at'], 'it is rotated')}") for each in told["secrets"]],
    ]
    table(("", ""), rows)


@keys.command()
@click.argument("id")
@click.option("--overlap", "overlap_s", type=click.IntRange(min=0), default=86_400, show_default=True,
              help="For how many seconds the earlier secret still counts.")  # fmt: skip
@as_json
def rotate(id: str, overlap_s: int, as_json: bool) -> None:
    """Give key ID another secret, and show it this once."""
    _show_once(call("POST", path("v1", "keys", id, "rotate"), body={"overlap_s": overlap_s}), as_json=as_json)


@keys.command()
@click.argument("id")
@yes
@as_json
def revoke(id: str, yes: bool, as_json: bool) -> None:
    """End key ID, on every server within a second."""
    confirm(f"Whoever uses {id} is refused from now on. Continue?", yes=yes)
    told = call("POST", path("v1", "keys", id, "revoke"))
    if as_json:
        show_json(told)
    else:
        say(f"{told['name']}: revoked", style="green")


def _show_once(told: Key, *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    until = "never expires" if told["expires_at"] is None else f"expires {instant(told['expires_at'])}"
    click.echo(f"{told['id']} opens {_opens(told)}, {until}; the key is shown this once:", err=True)
    say(told["key"])


def _opens(told: Key) -> str:
    return told["role"] or " ".join(told["scopes"])


def _when(told: str | None, none: str) -> str:
    return instant(told) if told is not None else none
