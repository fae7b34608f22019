"""`paygrade nodes`: the teams, people and agents below an account, and what each may use."""

from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import MOMENT, as_json, confirm, page_limit, say, show_json, table, yes
from paygrade.cli.wording import instant


@click.group()
def nodes() -> None:
    """Show and set the limits of teams, people and agents below an account."""


@nodes.command("set")
@click.argument("account")
@click.argument("node")
@click.option("--limit", "limits", multiple=True, metavar="FEATURE=UNITS", help="For the node and all below it.")
@click.option("--each", "each", multiple=True, metavar="FEATURE=UNITS", help="For each child without its own limit.")
@click.option("--where", multiple=True, metavar="PROPERTY=VALUE", help="Count only uses with this property.")
@click.option("--open", "is_open", is_flag=True, help="Children need not be set before they are used.")
@click.option("--reason", default="", help="Why, for the timeline and the audit log.")
@click.option("--until", type=MOMENT, help="When it ends.")
@as_json
def set_node(
    account: str,
    node: str,
    limits: tuple[str, ...],
    each: tuple[str, ...],
    where: tuple[str, ...],
    is_open: bool,
    reason: str,
    until: str | None,
    as_json: bool,
) -> None:
    """Set NODE of ACCOUNT, such as `research/jane`. Replaces all that was set for it."""
    said = {"node": node, "limits": _limits(limits, each, dict(map(_pair, where))), "open": is_open, "reason": reason}
    body = [{**said, **({"expires_at": until} if until else {})}]
    _show(call("PUT", path("v1", "accounts", account, "nodes"), body=body), as_json=as_json)


@nodes.command()
@click.argument("account")
@click.argument("node")
@click.option("--reason", default="", help="Why, for the timeline and the audit log.")
@yes
@as_json
def remove(account: str, node: str, reason: str, yes: bool, as_json: bool) -> None:
    """Remove NODE of ACCOUNT: nothing may be used there any more, nor below it."""
    confirm(f"Nothing may be used at {node} of {account} any more. Continue?", yes=yes)
    body = [{"node": node, "removed": True, "reason": reason}]
    told = call("PUT", path("v1", "accounts", account, "nodes"), body=body)
    if as_json:
        show_json(told)
    else:
        say(f"removed {node} from {account}")


@nodes.command("list")
@click.argument("account")
@click.option("--below", metavar="NODE", help="Only nodes below this one.")
@click.option("--after", help="The `next` of the page before.")
@page_limit()
@as_json
def list_nodes(account: str, below: str | None, after: str | None, limit: int, as_json: bool) -> None:
    """List the nodes of ACCOUNT with their limits and what is used of them."""
    asked = {"below": below, "after": after, "limit": str(limit)}
    query = {name: value for name, value in asked.items() if value is not None}
    _show(call("GET", path("v1", "accounts", account, "nodes"), query=query), as_json=as_json)


def _limits(limits: tuple[str, ...], each: tuple[str, ...], where: dict[str, str]) -> list[dict[str, Any]]:
    """The limits as they are sent, one for each feature. Any: JSON."""
    found: dict[str, dict[str, Any]] = {}
    for name, pairs in (("units", limits), ("each", each)):
        for feature, units in map(_pair, pairs):
            if not units.isdecimal():
                raise click.UsageError(f"`{feature}={units}` is not FEATURE=UNITS with a whole number")
            found.setdefault(feature, {"feature": feature})[name] = int(units)
    return [{**limit, **({"where": where} if where else {})} for limit in found.values()]


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise click.UsageError(f"`{text}` is not NAME=VALUE")
    return name, value


# Any: decoded JSON, as the server sent it.
def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    table(
        ("node", "feature", "limit", "each", "used", "held", "left", "resets", "note"),
        (row for node in told["nodes"] for row in _rows(node)),
    )
    if told["next"]:
        say(f"there are more: --after {told['next']}", style="dim")


def _rows(node: dict[str, Any]) -> list[tuple[object, ...]]:
    """A row for each limit of a node. Any: decoded JSON."""
    said = [node["reason"], "open" if node["open"] else "", f"until {node['expires_at']}" if node["expires_at"] else ""]
    note = ", ".join(filter(None, said))
    if not node["limits"]:
        return [(node["node"], None, None, None, None, None, None, None, note)]
    return [
        (
            node["node"],
            " ".join([limit["feature"], *(f"{name}={value}" for name, value in limit["where"].items())]),
            limit["units"],
            limit["each"],
            limit["used"],
            limit["reserved"],
            limit["remaining"],
            instant(limit["resets_at"]) if limit["resets_at"] else None,
            ", ".join(filter(None, ["inherited" if limit["inherited"] else "", note])),
        )
        for limit in node["limits"]
    ]
