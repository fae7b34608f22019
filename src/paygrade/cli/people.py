"""`paygrade people`: who may log in, and what they may do."""

from typing import Any

import click

from paygrade.cli.api import call, page, path
from paygrade.cli.output import as_json, confirm, page_limit, say, show_json, table, yes
from paygrade.cli.wording import instant
from paygrade.server.process.scopes import ROLES

_role = click.Choice(list(ROLES))
_totp = click.option("--totp", is_flag=True, help="They log in with a code of an authenticator app, too.")

_must_change = click.option(
    "--must-change", is_flag=True, help="The password is only good for choosing another: `paygrade people password`."
)


@click.group()
def people() -> None:
    """Say who may log in, and their roles."""


@people.command()
@click.argument("email")
@click.option("--name", help="What to call them; the e-mail address by default.")
@click.option("--role", type=_role, required=True, help="What they may do.")
@_totp
@_must_change
@as_json
def add(email: str, name: str | None, role: str, totp: bool, must_change: bool, as_json: bool) -> None:
    """Let the person with this EMAIL log in, and show their password this once."""
    body = {"email": email, "name": name or email, "role": role, "totp": totp, "must_change": must_change}
    _show_once(call("POST", "/v1/people", body=body), as_json=as_json)


@people.command("list")
@click.option("--after", default="", help="Show people after this id.")
@page_limit()
@as_json
def list_people(after: str, limit: int, as_json: bool) -> None:
    """List who may log in."""
    told = call("GET", "/v1/people", query={"limit": str(limit), **({"after": after} if after else {})})
    if as_json:
        show_json(told)
        return
    table(
        ("id", "e-mail", "name", "role", "from", "code", "last log-in"),
        [
            (each["id"], each["email"], each["name"], each["role"], each.get("issuer") or "here",
             "yes" if each["totp"] else "no",
             instant(each["seen_at"]) if each["seen_at"] else "never")
            for each in told["people"]
        ],
    )  # fmt: skip
    if told["next"] is not None:
        click.echo(f"more: --after {told['next']}", err=True)


@people.command()
@click.argument("id")
@click.argument("role", type=_role)
@as_json
def role(id: str, role: str, as_json: bool) -> None:
    """Give person ID another ROLE."""
    told = call("PUT", path("v1", "people", id, "role"), body={"role": role})
    if as_json:
        show_json(told)
    else:
        say(f"{told['email']} is {told['role']} now", style="green")


@people.command()
@click.argument("id")
@_totp
@_must_change
@as_json
def reset(id: str, totp: bool, must_change: bool, as_json: bool) -> None:
    """Give person ID another password, shown this once, and end their sessions."""
    body = {"totp": totp, "must_change": must_change}
    _show_once(call("POST", path("v1", "people", id, "reset"), body=body), as_json=as_json)


@people.command()
@click.argument("email")
@click.option("--code", help="Of your authenticator app, if you have one.")
@as_json
def password(email: str, code: str | None, as_json: bool) -> None:
    """Choose another password of your own, as the person with this EMAIL. Your other sessions end."""
    old = click.prompt("old password", hide_input=True)
    new = click.prompt("new password", hide_input=True, confirmation_prompt=True)
    with page() as own:
        call("POST", "/v1/login", body={"email": email, "password": old, "code": code}, page=own)
        changed = call("POST", "/v1/me/password", body={"old": old, "new": new}, page=own)
        call("POST", "/v1/logout", page=own)
    if as_json:
        show_json(changed)
    else:
        say("your password is changed", style="green")


@people.command()
@click.argument("id")
@yes
@as_json
def remove(id: str, yes: bool, as_json: bool) -> None:
    """Let person ID log in no more, and end their sessions."""
    confirm(f"{id} can't log in any more. Continue?", yes=yes)
    call("DELETE", path("v1", "people", id))
    if as_json:
        show_json({"removed": id})
    else:
        say(f"{id}: removed", style="green")


def _show_once(told: dict[str, Any], *, as_json: bool) -> None:
    """Any: decoded JSON, as the server sent it."""
    if as_json:
        show_json(told)
        return
    click.echo(f"{told['id']} logs in as {told['email']} ({told['role']}); this is shown once:", err=True)
    say(told["password"])
    if told["totp_address"] is not None:
        say(told["totp_address"])
