"""`paygrade catalog migrate`: move accounts to another version of a plan, and watch it: a bar on a terminal, plain
lines in a pipe."""

import sys
import time
from typing import Any

import click

from paygrade.cli.api import call, path
from paygrade.cli.output import MOMENT, as_json, confirm, for_people, page_limit, say, show_json, table, yes
from paygrade.cli.wording import instant
from paygrade.values.money import amount

LOOK_S = 0.2
LINE_EVERY_S = 5.0

# Any: decoded JSON, as the server sent it.
Migration = dict[str, Any]


@click.command()
@click.argument("plan")
@click.option("--from", "from_version", type=click.IntRange(min=1), help="Only accounts on this version.")
@click.option("--to", "to_version", type=click.IntRange(min=1), help="The version to move to; the newest by default.")
@click.option("--account", "accounts", multiple=True, help="Only this account; repeatable.")
@click.option("--at", type=MOMENT, help="When it takes effect, for example 2027-01-01; at once by default.")
@click.option("--reason", default="", help="Why; shown in explanations.")
@click.option("--dry-run", is_flag=True, help="Show what would happen; change nothing.")
@click.option("--no-wait", is_flag=True, help="Don't wait until it finishes.")
@yes
@as_json
def migrate(plan: str, accounts: tuple[str, ...], at: str | None, dry_run: bool, no_wait: bool, yes: bool,
            as_json: bool, **said: int | str | None) -> None:  # fmt: skip
    """Move accounts to another version of PLAN (or an add-on): all that have it, or those you name."""
    wanted = {"plan": plan, "accounts": accounts, "at": at, **said}
    body = {name: what for name, what in wanted.items() if what}
    asked = not (dry_run or yes or as_json) and for_people()
    if asked:
        _show_preview(call("POST", "/v1/catalog/migrations", body=body, query={"dry_run": "true"})["preview"])
        confirm("Move these accounts?", yes=yes)
    told = call("POST", "/v1/catalog/migrations", body=body, query={"dry_run": "true"} if dry_run else {})
    if not (as_json or asked):
        _show_preview(told["preview"])
    if told["migration"] is None:
        if as_json:
            show_json(told)
        return
    migration = told["migration"] if no_wait else follow(told["migration"], quiet=as_json)
    if as_json:
        show_json({**told, "migration": migration})
    else:
        say(summary(migration), style="green")


@click.command()
@page_limit()
@as_json
def migrations(limit: int, as_json: bool) -> None:
    """List migrations, the latest first."""
    told = call("GET", "/v1/catalog/migrations", query={"limit": str(limit)})
    if as_json:
        show_json(told)
        return
    table(
        ("id", "plan", "from", "to", "state", "started", "waiting", "done", "skipped", "rolled back"),
        (
            (each["id"], each["plan"], each["from_version"], each["to_version"] or "newest", each["state"],
             instant(each["started_at"]), each["waiting"], each["done"], each["skipped"], each["rolled_back"])
            for each in told["migrations"]
        ),
    )  # fmt: skip


@click.command()
@click.argument("id", type=click.IntRange(min=1))
@click.option("--pause", "action", flag_value="pause", help="Move no more accounts until you resume it.")
@click.option("--resume", "action", flag_value="resume", help="Continue a paused migration.")
@click.option("--roll-back", "action", flag_value="roll-back", help="Restore each account's earlier pin.")
@click.option(
    "--status",
    type=click.Choice(["waiting", "done", "skipped", "rolled_back"]),
    help="List the accounts in this state.",
)
@click.option("--after", default="", help="Show accounts after this key.")
@as_json
def migration(id: int, action: str | None, status: str | None, after: str, as_json: bool) -> None:
    """Show migration ID, pause, resume or roll it back; with --status, list its accounts."""
    where = path("v1", "catalog", "migrations", str(id))
    if status is not None:
        told = call("GET", f"{where}/accounts", query={"status": status, **({"after": after} if after else {})})
        if as_json:
            show_json(told)
            return
        table(("account", "status", "why"), ((a["account"], a["status"], a["reason"]) for a in told["accounts"]))
        if told["next"] is not None:
            click.echo(f"more: --after {told['next']}", err=True)
        return
    found = call("POST", f"{where}/{action}") if action else call("GET", where)
    if action in ("resume", "roll-back"):
        found = follow(found, quiet=as_json)
    if as_json:
        show_json(found)
    else:
        say(summary(found))


def summary(migration: Migration) -> str:
    """One line on how far it is."""
    version = migration["to_version"]
    to = f"the newest {migration['plan']}" if version is None else f"{migration['plan']}@{version}"
    dated = f" at {instant(migration['at'])}" if migration["at"] else ""
    counts = ", ".join(
        f"{migration[name]} {name.replace('_', ' ')}" for name in ("waiting", "done", "skipped", "rolled_back")
    )
    return f"migration {migration['id']} to {to}{dated}: {migration['state'].replace('_', ' ')}; {counts}"


def follow(migration: Migration, *, quiet: bool) -> Migration:
    """Wait until it is over or pauses, and show how far it is, on standard error; `quiet`: only wait."""
    show = _quietly if quiet else _bar if sys.stderr.isatty() else _lines
    return show(migration)


def _again(migration: Migration) -> Migration:
    found: Migration = call("GET", path("v1", "catalog", "migrations", str(migration["id"])))
    return found


def _goes_on(migration: Migration) -> bool:
    return migration["state"] in ("running", "rolling_back")


def _quietly(migration: Migration) -> Migration:
    while _goes_on(migration):
        time.sleep(LOOK_S)
        migration = _again(migration)
    return migration


def _lines(migration: Migration) -> Migration:
    told_at = time.monotonic()
    while _goes_on(migration):
        time.sleep(LOOK_S)
        migration = _again(migration)
        if time.monotonic() - told_at >= LINE_EVERY_S:
            told_at = time.monotonic()
            click.echo(summary(migration), err=True)
    return migration


def _bar(migration: Migration) -> Migration:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("accounts", total=None)
        while True:
            whole = sum(migration[name] for name in ("waiting", "done", "skipped", "rolled_back"))
            left = migration["waiting" if migration["state"] == "running" else "done"]
            progress.update(task, completed=whole - left, total=whole, description=migration["state"].replace("_", " "))
            if not _goes_on(migration):
                return migration
            time.sleep(LOOK_S)
            migration = _again(migration)


def _show_preview(preview: dict[str, Any]) -> None:
    skipped = "".join(f"; {count} left alone: {why.replace('_', ' ')}" for why, count in preview["skipped"].items())
    say(f"{preview['accounts']} accounts{skipped}", style="bold")
    say(
        f"{preview['affected']} affected: {preview['gaining']} gain, {preview['losing']} lose, "
        f"{preview['changing']} see another value; {preview['exceeded']} use more than the new limit"
    )
    if preview["sample"]:
        rows = ((e["account"], e["feature"], e["how"], e["before"], e["after"]) for e in preview["sample"])
        table(("account", "feature", "how", "before", "after"), rows)
    for each in preview["exceeded_sample"]:
        over = each["violation"]
        say(f"over the limit: {each['account']} {over['feature']}: {over['used']} used, {over['limit']} allowed")
    for price in preview["prices"]:
        if price["unknown"]:
            say(f"{price['unknown']} accounts: the price is unknown in one of the versions", style="yellow")
            continue
        every = price["interval"] if price["interval_count"] == 1 else f"{price['interval_count']} {price['interval']}s"
        paid = amount(price["before"], price["currency"])
        say(
            f"prices: {price['accounts']} accounts pay {paid} each {every}; in the other version it would be "
            f"{amount(price['after'], price['currency'])}. A migration bills nothing"
        )
