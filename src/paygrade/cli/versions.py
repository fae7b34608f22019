"""`paygrade accounts versions`: every change of what an account can use."""

from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, believed, page_limit, show_json, table
from paygrade.cli.wording import instant


@click.command()
@click.argument("account")
@page_limit(50)
@click.option("--before", help="The next page: the value that the page before printed.")
@believed
@as_json
def versions(account: str, limit: int, before: str | None, believed: bool, as_json: bool) -> None:
    """Show every change of what ACCOUNT can use: what it gained and lost, when and why, the newest first."""
    asked = {"limit": str(limit), "before": before, "believed": "true" if believed else None}
    query = {name: value for name, value in asked.items() if value is not None}
    told = call("GET", path("v1", "accounts", account, "versions"), query=query)
    if as_json:
        show_json(told)
        return
    table(
        ("from", "until", "by", "what changed", "because of"),
        (
            (
                instant(one["from_at"]),
                instant(one["until"]) if one["until"] else None,
                one["cause"]["by"],
                [_change(delta) for delta in one["delta"]],
                [fact["summary"] for fact in one["cause"]["facts"]] or None,
            )
            for one in told["versions"]
        ),
    )
    if told["next"] is not None:
        click.echo(f"more: --before '{told['next']}'", err=True)


# Any below: decoded JSON, as the server sent it.
def _change(delta: dict[str, Any]) -> str:
    """`seats 1 → 5`, `gained exports`, `lost exports`."""
    feature, before, after = delta["feature"], _had(delta["before"]), _had(delta["after"])
    amounts = f" {before} → {after}" if before != after and "nothing" not in (before, after) else ""
    return f"{feature}{amounts}" if delta["how"] == "changed" else f"{delta['how']} {feature}{amounts}"


def _had(its: dict[str, Any] | None) -> str:
    if its is None or not its["granted"]:
        return "nothing"
    if its.get("unlimited"):
        return "unlimited"
    for name in ("limit", "value"):
        if its.get(name) is not None:
            return str(its[name])
    return its.get("plan") or str(its["reason"])
