"""`paygrade check`: may they, now, and why?"""

import sys
from typing import Any

import click

from paygrade.cli.api import call
from paygrade.cli.output import MOMENT, as_json, believed, say, show_json
from paygrade.cli.wording import sentence


@click.command()
@click.argument("account")
@click.argument("feature")
@click.option("--quantity", "-n", type=click.IntRange(min=0), default=1, show_default=True, help="How many units.")
@click.option("--member", help="The member who asks, for features with roles or seats.")
@click.option("--node", help="Where below the account, such as `research/jane`.")
@click.option("--at", type=MOMENT, help="Another instant, for example 2026-01-31T10:00:00Z.")
@believed
@as_json
def check(
    account: str,
    feature: str,
    quantity: int,
    member: str | None,
    node: str | None,
    at: str | None,
    believed: bool,
    as_json: bool,
) -> None:
    """Check whether ACCOUNT can use FEATURE. Exit code 0: yes, 1: no."""
    asked = question(feature, quantity, member, at, node, believed=believed)
    decision = call("POST", "/v1/check", body={"account": account, **asked})
    if as_json:
        show_json(decision)
    else:
        say(sentence(decision), style="green" if decision["allowed"] else "red")
    sys.exit(0 if decision["allowed"] else 1)


def question(
    feature: str,
    quantity: int,
    member: str | None,
    at: str | None,
    node: str | None = None,
    *,
    believed: bool = False,
) -> dict[str, Any]:
    """The body of a question; what was not said stays out. Any: plain JSON."""
    said = {
        "feature": feature,
        "quantity": quantity,
        "member": member,
        "node": node,
        "at": at,
        "believed": believed or None,
    }
    return {name: value for name, value in said.items() if value is not None}
