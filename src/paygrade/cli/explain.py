"""`paygrade explain`: why, for a support person."""

from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.check import question
from paygrade.cli.output import MOMENT, as_json, believed, say, show_json, table
from paygrade.cli.wording import held, instant, sentence


@click.command()
@click.argument("account")
@click.argument("feature")
@click.option("--quantity", "-n", type=click.IntRange(min=0), default=1, show_default=True, help="How many units.")
@click.option("--member", help="The member who asks, for features with roles or seats.")
@click.option("--at", type=MOMENT, help="Another instant, for example 2026-01-31T10:00:00Z.")
@believed
@as_json
def explain(
    account: str, feature: str, quantity: int, member: str | None, at: str | None, believed: bool, as_json: bool
) -> None:
    """Explain why ACCOUNT can or can't use FEATURE: the sources, and the facts with their billing events."""
    asked = question(feature, quantity, member, at, believed=believed)
    told = call("POST", path("v1", "accounts", account, "explain"), body=asked)
    if as_json:
        show_json(told)
        return
    decision = told["decision"]
    say(sentence(decision), style="green" if decision["allowed"] else "red")
    say(f"decided as of {instant(decision['as_of'])}, with what was known at {instant(told['known_at'])} "
        f"and catalog version {told['catalog_version']}", style="dim")  # fmt: skip
    for version in told["versions"]:
        if version["why"] != "newest":
            say(held(version))
    if told["asleep"]:
        say(f"{told['asleep']} units that were bought are asleep until a plan is paid for", style="yellow")
    _sources(told["candidates"])
    _facts(told["facts"])
    for finding in told["findings"]:
        say()
        say(f"needs attention: {finding['detail']} ({finding['code']}, {finding['subject']})", style="yellow")


# Any: decoded JSON, as the server sent it.
def _sources(candidates: list[dict[str, Any]]) -> None:
    say()
    if not candidates:
        say("Nothing gives or denies this feature.", style="bold")
        return
    say("Sources, those that count first:", style="bold")
    table(
        ("verdict", "source", "gives", "state", "subscription", "until", "note"),
        (
            (
                candidate["verdict"],
                " ".join(part for part in (source["kind"], source.get("plan")) if part),
                _gives(source),
                source.get("state"),
                source.get("subscription"),
                instant(source["until"]) if source.get("until") else None,
                source.get("note") or None,
            )
            for candidate in candidates
            for source in [candidate["source"]]
        ),
    )


def _facts(facts: list[dict[str, Any]]) -> None:
    say()
    say("Facts behind it, the newest first:" if facts else "There are no facts about this account.", style="bold")
    if facts:
        table(
            ("no.", "as of", "what", "because of"),
            ((fact["number"], instant(fact["as_of"]), fact["summary"], fact["cause"]) for fact in facts),
        )


def _gives(source: dict[str, Any]) -> str | None:
    if source.get("unlimited"):
        return "unlimited"
    if source.get("spend_cap") is not None:
        return f"spend cap {source['spend_cap']}"
    for name in ("units", "value"):
        if source.get(name) is not None:
            value = source[name]
            return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    return None
