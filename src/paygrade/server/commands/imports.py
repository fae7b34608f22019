"""`paygrade import`: take over the customers of an existing billing account, and see first what that would do."""

from typing import Any

import click

from paygrade.server.commands.output import as_json, say, show_json, table
from paygrade.server.commands.sweeping import follow_sweep, start_sweep, summary


@click.group("import")
def imports() -> None:
    """Take over an existing billing account."""


@imports.command()
@click.option("--dry-run", is_flag=True, help="Only report what would happen; nothing is written.")
@as_json
def stripe(dry_run: bool, as_json: bool) -> None:
    """Read every customer of the Stripe account that the server has a key of."""
    told = follow_sweep(start_sweep(dry_run=dry_run), quiet=as_json)
    if as_json:
        show_json(told)
        return
    say(summary(told))
    if told["report"] is not None:
        _show(told["report"])


# Any: decoded JSON, as the server sent it.
def _show(report: dict[str, Any]) -> None:
    states = ", ".join(f"{count} {state}" for state, count in report["subscriptions"].items()) or "none"
    matched = report["matched"]
    say(f"customers: {report['customers']}, subscriptions: {states}")
    say(f"accounts: {report['accounts']}, {report['new_accounts']} of them new; customers find theirs by metadata "
        f"({matched['metadata']}), by a link ({matched['link']}), as before ({matched['known']}), "
        f"as an account of their own id ({matched['customer_id']})")  # fmt: skip
    say(f"access: {report['gaining']} accounts would gain, {report['losing']} would lose")
    _section(
        "Prices that nothing in the catalog is sold at:",
        ("price", "lookup key", "product", "subscriptions", "some of them"),
        ((each["price"], each["lookup_key"], each["product"], each["subscriptions"], each["sample"])
         for each in report["unmapped_prices"]),
    )  # fmt: skip
    _section(
        "Customers that may be one:",
        ("same", "name", "customers"),
        ((each["by"], each["name"], each["customers"]) for each in report["duplicates"]),
    )
    _section(
        "What would change:",
        ("account", "feature", "how", "before", "after"),
        ((each["account"], each["feature"], each["how"], each["before"], each["after"]) for each in report["effects"]),
    )
    _section("Not understood:", ("subject",), ((each,) for each in report["not_understood"]))


def _section(title: str, columns: tuple[str, ...], rows: Any) -> None:
    found = list(rows)
    if found:
        say()
        say(title, style="yellow")
        table(columns, found)
