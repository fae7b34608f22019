"""`paygrade accounts member | members | seats`: who is in an account, and who of them has a seat."""

from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, confirm, say, show_json, table, yes
from paygrade.cli.wording import instant


@click.command()
@click.argument("account")
@click.argument("key")
@click.option("--role", help="The member's role.")
@click.option("--seat", is_flag=True, help="The member has a seat.")
@click.option("--invite", is_flag=True, help="Invite them; they become a member once you add them without this.")
@click.option("--remove", is_flag=True, help="No longer a member, or no longer invited.")
@yes
@as_json
def member(
    account: str, key: str, role: str | None, seat: bool, invite: bool, remove: bool, yes: bool, as_json: bool
) -> None:
    """Add, invite or change member KEY of ACCOUNT, or remove them. Exit code 1: no seat is free."""
    where = path("v1", "accounts", account, "members", key)
    if role is None and not remove:
        raise click.UsageError("give the member's --role, or --remove")
    if remove:
        confirm(f"Remove {key} from {account}?", yes=yes)
    body = {"role": role, "seat": seat, **({"invited": True} if invite else {})}
    told = call("DELETE", where) if remove else call("PUT", where, body=body)
    if as_json:
        show_json(told)
    else:
        word = "is invited as" if invite else "is"
        say(f"removed {key} from {account}" if remove else f"{key} {word} {role} of {account}")


@click.command()
@click.argument("account")
@as_json
def members(account: str, as_json: bool) -> None:
    """List the members of ACCOUNT with their seats and last activity."""
    _show(call("GET", path("v1", "accounts", account, "members")), as_json=as_json)


@click.command()
@click.argument("account")
@click.argument("members", nargs=-1)
@click.option("--nobody", is_flag=True, help="Take all seats away.")
@yes
@as_json
def seats(account: str, members: tuple[str, ...], nobody: bool, yes: bool, as_json: bool) -> None:
    """Give MEMBERS of ACCOUNT a seat, and nobody else. Exit code 1: there are too few seats."""
    if nobody is bool(members):
        raise click.UsageError("name the members who get a seat, or use --nobody")
    confirm(f"Everybody else in {account} loses their seat. Continue?", yes=yes)
    told = call("PUT", path("v1", "accounts", account, "seats"), body={"members": list(members)})
    _show(told, as_json=as_json)


# Any: decoded JSON, as the server sent it.
def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    if told["level"] is not None:
        there_are = "any number" if told["units"] is None else told["units"]
        over = sum(member["suspended"] for member in told["members"])
        late = f", {over} suspended" if over else ""
        say(f"{told['account']}: {told['taken']} of {there_are} {told['level']} taken{late}", style="bold")
    table(
        ("member", "role", "seat", "since", "last active"),
        (
            (
                each["member"],
                each["role"] + (" (invited)" if each.get("invited") else ""),
                "suspended" if each["suspended"] else each["seat"],
                instant(each["since"]) if each["since"] else None,
                instant(each["active_at"]) if each["active_at"] else None,
            )
            for each in told["members"]
        ),
    )
