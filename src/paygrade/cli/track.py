"""`paygrade track`: report usage."""

import sys
import uuid
from typing import Any

import click

from paygrade.cli.api import call
from paygrade.cli.output import MOMENT, as_json, say, show_json


@click.command(context_settings={"ignore_unknown_options": True})  # so that `-1` is a quantity
@click.argument("account")
@click.argument("feature")
@click.argument("quantity", type=int, required=False)
@click.option(
    "--event",
    "is_event",
    is_flag=True,
    help="FEATURE is an event name: count it for every feature that meters this event.",
)
@click.option("--id", help="Counts once, so you can safely retry. Without it, each call counts.")
@click.option("--time", type=MOMENT, help="When it was used, for example 2026-01-31T10:00:00Z; now.")
@click.option("--member", help="The member who used it.")
@click.option(
    "--property", "properties", multiple=True, metavar="NAME=VALUE", help="A property of the event; repeatable."
)
@click.option("--amends", metavar="ID", help="Replace the event with this id.")
@as_json
def track(
    account: str,
    feature: str,
    quantity: int | None,
    is_event: bool,
    id: str | None,
    time: str | None,
    member: str | None,
    properties: tuple[str, ...],
    amends: str | None,
    as_json: bool,
) -> None:
    """Report that ACCOUNT used FEATURE: one unit, or QUANTITY.

    A negative QUANTITY corrects usage. Exit code 1: refused.
    """
    said: dict[str, Any] = {
        "id": id or f"cli-{uuid.uuid4().hex}",
        "account": account,
        "event" if is_event else "feature": feature,
        "quantity": quantity,
        "time": time,
        "member": member,
        "properties": _properties(properties) or None,
        "amends": amends,
    }
    told = call("POST", "/v1/events", body=[{name: what for name, what in said.items() if what is not None}])
    rejected = told["rejected"]
    if as_json:
        show_json(told)
    elif rejected:
        say(f"{rejected[0]['code']}: {rejected[0]['detail']}", style="red")
    else:
        say(f"{'counted before' if told['duplicates'] else 'counted'} {said['id']}", style="green")
    sys.exit(1 if rejected else 0)


def _properties(pairs: tuple[str, ...]) -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise click.UsageError(f"`{pair}` is not NAME=VALUE")
        found[name] = property_of(text)
    return found


def property_of(text: str) -> int | str:
    """What a property's value is, written as text: a whole number where it looks like one."""
    whole = text.removeprefix("-")
    return int(text) if whole.isascii() and whole.isdigit() and len(whole) <= 15 else text
