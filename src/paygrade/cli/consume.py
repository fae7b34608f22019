"""`paygrade consume`: use units, if that is allowed."""

import sys
import uuid

import click

from paygrade.cli.api import call
from paygrade.cli.check import question
from paygrade.cli.output import as_json, say, show_json
from paygrade.cli.wording import sentence


@click.command()
@click.argument("account")
@click.argument("feature")
@click.option("--quantity", "-n", type=click.IntRange(min=0), default=1, show_default=True, help="How many units.")
@click.option("--id", help="Counts once, so you can safely retry. Without it, each call counts.")
@click.option("--member", help="The member who uses it.")
@click.option("--node", help="Where below the account, such as `research/jane`.")
@as_json
def consume(
    account: str, feature: str, quantity: int, id: str | None, member: str | None, node: str | None, as_json: bool
) -> None:
    """Check and count usage of FEATURE by ACCOUNT. Exit code 0: counted, 1: denied, and nothing was counted."""
    body = {
        "account": account,
        **question(feature, quantity, member, None, node),
        "id": id or f"cli-{uuid.uuid4().hex}",
    }
    used = call("POST", "/v1/consume", body=body)
    if as_json:
        show_json(used)
    else:
        again = ", as answered before" if used["replayed"] else ""
        what = f"used {quantity}" if used["consumed"] else "used nothing"
        say(f"{what}{again}: {sentence(used['decision'])}", style="green" if used["consumed"] else "red")
    sys.exit(0 if used["consumed"] else 1)
