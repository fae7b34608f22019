"""`paygrade decisions`: what was answered, and what is answered when it is asked again."""

from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, page_limit, say, show_json, table
from paygrade.cli.wording import instant, sentence


@click.group()
def decisions() -> None:
    """Show logged decisions, and ask them again. The server keeps a log where PAYGRADE_DECISION_LOG says so."""


@decisions.command("list")
@click.argument("account")
@click.option("--feature", help="Only decisions on this feature.")
@page_limit(50)
@click.option("--before", help="The next page: the value that the page before printed.")
@as_json
def list_decisions(account: str, feature: str | None, limit: int, before: str | None, as_json: bool) -> None:
    """List what was answered about ACCOUNT, newest first."""
    asked = {"feature": feature, "limit": str(limit), "before": before}
    query = {name: value for name, value in asked.items() if value is not None}
    told = call("GET", path("v1", "accounts", account, "decision-log"), query=query)
    if as_json:
        show_json(told)
        return
    table(
        ("at", "id", "feature", "asked", "member", "node", "allowed", "reason", "used", "limit", "by"),
        (
            (
                instant(one["at"]),
                one["id"],
                one["feature"],
                one["quantity"],
                one["member"],
                one["node"],
                its["allowed"],
                its["reason"],
                its.get("used"),
                its.get("limit"),
                one["via"],
            )
            for one in told["decisions"]
            for its in [one["outcome"]]
        ),
    )
    if told["next"] is not None:
        click.echo(f"more: --before {told['next']}", err=True)


@decisions.command()
@click.argument("account")
@click.argument("decision")
@as_json
def replay(account: str, decision: str, as_json: bool) -> None:
    """Ask a logged DECISION about ACCOUNT again, by what was known then and by what is known now."""
    told = call("GET", path("v1", "accounts", account, "decision-log", decision, "replay"))
    if as_json:
        show_json(told)
        return
    logged, outcome = told["decision"], told["decision"]["outcome"]
    word = "allowed" if outcome["allowed"] else "denied"
    say(f"{instant(logged['at'])}: {logged['quantity']} {logged['feature']} {word}, {outcome['reason']}", style="bold")
    for what, known in (("believed", "by what was known then"), ("true", "by what is known now")):
        again, differs = told[what], told[f"differs_{what}"]
        say(f"{known}: {sentence(again)}", style="yellow" if differs else "dim")
        for name in differs:
            say(f"  {name}: {_text(outcome.get(name))} → {_text(again[name])}")


# Any: decoded JSON, as the server sent it.
def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else str(value)
