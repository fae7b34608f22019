"""Hosted pages of `paygrade accounts`: where an account buys, and where its customer sees to their payments."""

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import as_json, say, show_json
from paygrade.cli.plan_changes import counts
from paygrade.cli.wording import instant
from paygrade.values.money import amount


@click.command()
@click.argument("account")
@click.option("--plan", required=True, help="The plan to buy.")
@click.option("--add-on", "add_ons", multiple=True, metavar="KEY=N", help="The number of an add-on.")
@click.option("--quantity", "quantities", multiple=True, metavar="KEY=N", help="The quantity of the plan or of seats.")
@click.option("--interval", help="A price's key or a billing interval, for example `yearly`.")
@click.option("--currency", help="A currency, where prices differ in it, for example `eur`.")
@click.option("--coupon", help="A coupon of the provider that the catalog allows.")
@click.option(
    "--trial/--no-trial", default=None, help="With the plan's trial, or without; by default, the catalog decides."
)
@click.option("--success-url", required=True, help="Where the customer goes once they have paid.")
@click.option("--cancel-url", required=True, help="Where they go if they don't.")
@as_json
def checkout(account: str, add_ons: tuple[str, ...], quantities: tuple[str, ...], as_json: bool,
             **said: str | bool | None) -> None:  # fmt: skip
    """Open a page where ACCOUNT buys a plan. The account need not exist yet."""
    wanted = {"add_ons": counts(add_ons), "quantities": counts(quantities), **said}
    body = {name: what for name, what in wanted.items() if what is not None and what != {}}
    made = call("POST", path("v1", "accounts", account, "checkout"), body=body)
    if as_json:
        show_json(made)
        return
    trial = f", the first {made['trial_days']} days free" if made["trial_days"] else ""
    say(f"{made['plan']}{trial}: {made['url']}", style="bold")
    say(f"open until {instant(made['expires_at'])}")


@click.command("buy-credits")
@click.argument("account")
@click.argument("credit")
@click.option("--packs", type=click.IntRange(min=1), default=1, show_default=True, help="How many packs.")
@click.option("--success-url", required=True, help="Where the customer goes once they have paid.")
@click.option("--cancel-url", required=True, help="Where they go if they don't.")
@as_json
def buy_credits(account: str, as_json: bool, **said: str | int) -> None:
    """Open a page where ACCOUNT buys packs of CREDIT, as the catalog's `policies.top_up` prices them."""
    made = call("POST", path("v1", "accounts", account, "top-ups", "checkout"), body=said)
    if as_json:
        show_json(made)
        return
    say(f"{made['units']} {made['credit']} for {amount(made['amount'], made['currency'])}: {made['url']}", style="bold")
    say(f"open until {instant(made['expires_at'])}")


@click.command("billing-portal")
@click.argument("account")
@click.option("--return-url", required=True, help="Where the customer goes afterwards.")
@click.option("--flow", type=click.Choice(["payment_method_update", "subscription_cancel", "subscription_update"]),
              help="The one thing they come for.")  # fmt: skip
@click.option("--subscription", help="Which subscription, if there are several.")
@as_json
def billing_portal(account: str, as_json: bool, **said: str | None) -> None:
    """Open the provider's billing portal for ACCOUNT: payment methods, invoices, cancellation."""
    body = {name: what for name, what in said.items() if what is not None}
    made = call("POST", path("v1", "accounts", account, "billing-portal"), body=body)
    show_json(made) if as_json else say(made["url"], style="bold")


COMMANDS = (checkout, buy_credits, billing_portal)
