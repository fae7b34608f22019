"""`paygrade import`: take over the customers of an existing billing account, usage that was counted elsewhere, or a
list of overrides."""

import sys
from pathlib import Path
from typing import Any

import click

from paygrade.cli.event_files import import_events
from paygrade.cli.output import as_json, confirm, say, show_json, table, yes
from paygrade.cli.override_files import Line, Tried, read_overrides, set_override, try_override
from paygrade.cli.sweeping import follow_sweep, start_sweep, summary


@click.group("import")
def imports() -> None:
    """Take over an existing billing account, past usage, or a list of overrides."""


@imports.command()
@click.option("--dry-run", is_flag=True, help="Only report what would happen; change nothing.")
@as_json
def stripe(dry_run: bool, as_json: bool) -> None:
    """Read every customer of the Stripe account whose key the server has."""
    told = follow_sweep(start_sweep(dry_run=dry_run), quiet=as_json)
    if as_json:
        show_json(told)
        return
    say(summary(told))
    if told["report"] is not None:
        _show(told["report"])


@imports.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--backfill", is_flag=True, help="Take usage older than 34 days too, in the windows it belongs to.")
@click.option("--rejects", type=click.Path(dir_okay=False, path_type=Path), help="A file for refused lines.")
@as_json
def events(file: Path, backfill: bool, rejects: Path | None, as_json: bool) -> None:
    """Send every usage event of FILE, a CSV with column names or JSON lines. Exit code 1: some are refused.

    Columns and fields are those of an event (id, account, feature or event, quantity, time, member, amends); any
    other column of a CSV is a property. An event counts once, so you can start an interrupted import again.
    """
    where = rejects or file.with_name(f"{file.name}.rejects.jsonl")
    done = import_events(file, where, backfill=backfill, quiet=as_json)
    if as_json:
        show_json(done)
    else:
        told = f", {done.rejected} refused: see {done.rejects}" if done.rejected else ""
        say(f"{done.lines} events: {done.accepted} counted, {done.duplicates} counted before{told}")
    sys.exit(1 if done.rejected else 0)


@imports.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only report what would happen; change nothing.")
@yes
@as_json
def overrides(file: Path, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Set every override of FILE, a CSV with column names. Exit code 1: some are refused.

    Columns: account, feature, one of value, limit, add, unlimited and spend_cap, and reason, code, starts_at,
    expires_at, review_at. What each would change is shown before anything is set.
    """
    looked = [try_override(line) for line in read_overrides(file)]
    good = [each for each in looked if isinstance(each, Tried)]
    wrong = [each for each in looked if isinstance(each, Line)]
    if not as_json:
        table(
            ("line", "account", "feature", "now", "then"),
            ((each.line.number, each.line.account, each.line.feature, each.before["message"], each.after["message"])
             for each in good),
        )  # fmt: skip
    if good and not dry_run:
        confirm(f"Set {len(good)} overrides?", yes=yes)
        done = [set_override(each.line) for each in good]
        wrong += [each for each in done if each.wrong is not None]
    refused = [{"line": each.number, "account": each.account, "feature": each.feature, "detail": each.wrong}
               for each in sorted(wrong)]  # fmt: skip
    count = len(looked) - len(refused)
    if as_json:
        show_json({"set": 0 if dry_run else count, "refused": refused})
    else:
        for each in refused:
            click.echo(f"{file}:{each['line']}: {each['detail']}", err=True)
        say(f"{count} overrides {'can be' if dry_run else 'are'} set{f', {len(refused)} refused' if refused else ''}")
    sys.exit(1 if refused else 0)


# Any: decoded JSON, as the server sent it.
def _show(report: dict[str, Any]) -> None:
    states = ", ".join(f"{count} {state}" for state, count in report["subscriptions"].items()) or "none"
    matched = report["matched"]
    say(f"customers: {report['customers']}, subscriptions: {states}")
    say(f"accounts: {report['accounts']}, {report['new_accounts']} of them new; customers matched by metadata "
        f"({matched['metadata']}), by a link ({matched['link']}), as before ({matched['known']}), "
        f"by their own id ({matched['customer_id']})")  # fmt: skip
    say(f"access: {report['gaining']} accounts would gain, {report['losing']} would lose")
    _section(
        "Prices that the catalog doesn't have:",
        ("price", "lookup key", "product", "subscriptions", "some of them"),
        ((each["price"], each["lookup_key"], each["product"], each["subscriptions"], each["sample"])
         for each in report["unmapped_prices"]),
    )  # fmt: skip
    _section(
        "Customers that may be the same:",
        ("same", "name", "customers"),
        ((each["by"], each["name"], each["customers"]) for each in report["duplicates"]),
    )
    _section(
        "What would change:",
        ("account", "feature", "how", "before", "after"),
        ((each["account"], each["feature"], each["how"], each["before"], each["after"]) for each in report["effects"]),
    )
    _section("Can't be read:", ("subject",), ((each,) for each in report["not_understood"]))


def _section(title: str, columns: tuple[str, ...], rows: Any) -> None:
    found = list(rows)
    if found:
        say()
        say(title, style="yellow")
        table(columns, found)
