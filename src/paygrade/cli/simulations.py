"""`paygrade catalog simulate`: what a draft would have meant for what was used."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from paygrade.cli.api import call
from paygrade.cli.output import MOMENT, as_json, say, show_json, table
from paygrade.cli.wording import instant
from paygrade.documents.spreadsheets import write_csv
from paygrade.values.money import amount

WHATS = ("loses", "denied", "over", "too_many", "pays", "gains", "allowed", "saves", "spends", "changes")
"""In the order of what matters."""


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="paygrade.yaml")
@click.option("--since", default="90d", show_default=True, help="How long back, or from when on; at most 400 days.")
@click.option("--until", type=MOMENT, help="Until when; now by default.")
@click.option(
    "--existing", type=click.Choice(["follow", "keep"]), default="follow", show_default=True,
    help="Whether existing customers follow the change or keep their version.",
)  # fmt: skip
@click.option("--account", metavar="ACCOUNT", help="Only this account, with all that it used.")
@click.option("--what", type=click.Choice(WHATS), help="Only rows with this difference.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a line for each account and feature.")
@as_json
def simulate(
    file: Path, since: str, until: str | None, existing: str, account: str | None, what: str | None, as_csv: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show what FILE would have meant for what was used: who would have been denied, gained, lost or paid. Changes
    nothing."""
    said = {"since": since, "until": until, "existing": existing, "account": account, "what": what}
    pages = list(_pages(file, {name: value for name, value in said.items() if value is not None}))
    rows = sorted((row for page in pages for row in page["rows"]), key=_weight)
    looked = sum(page["accounts"] for page in pages)
    if as_csv:
        names = list(rows[0]) if rows else ["account", "feature", "what"]
        click.echo(write_csv([names, *([row[name] for name in names] for row in rows)]), nl=False)
    elif as_json:
        show_json({"since": pages[0]["since"], "until": pages[0]["until"], "accounts": looked,
                   "totals": _totals(rows), "rows": rows})  # fmt: skip
    else:
        _show(rows, pages[0], looked)


# Any: decoded JSON, as the server sent it.
def _pages(file: Path, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every page, all of one span, with a word on how far it is where a person waits."""
    media_type = "application/json" if file.suffix == ".json" else "application/yaml"
    content, after, looked, played = file.read_bytes(), "", 0, 0
    while True:
        page = call("POST", "/v1/catalog/simulate", content=content, media_type=media_type,
                    query={**query, **({"after": after} if after else {})})  # fmt: skip
        looked, played = looked + page["accounts"], played + page["entries"]
        if sys.stderr.isatty():
            click.echo(f"\r{looked} accounts, {played} uses", nl=page["next"] is None, err=True)
        yield page
        if page["next"] is None:
            return
        after, query = page["next"], {**query, "since": page["since"], "until": page["until"]}


def _weight(row: dict[str, Any]) -> tuple[int, int, str]:
    units = abs(row["denied_units"] - row["denied_units_before"]) + abs(row["over_units"] - row["over_units_before"])
    first = row["what"].partition(" ")[0]
    place = WHATS.index(first) if first else len(WHATS)
    return place, -(units + abs(row["cost"] - row["cost_before"])), row["account"]


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By difference: how many accounts, and by currency: how much more all of them pay, for use and by the month."""
    accounts: dict[str, set[str]] = {}
    money: dict[str, Counter[str]] = {"use": Counter(), "month": Counter()}
    for row in rows:
        for what in row["what"].split():
            accounts.setdefault(what, set()).add(row["account"])
        if row["currency"] is not None:
            money["month" if row["feature"] is None else "use"][row["currency"]] += row["cost"] - row["cost_before"]
    return {"accounts": {what: len(accounts[what]) for what in WHATS if what in accounts},
            **{f"more_by_{name}": dict(its) for name, its in money.items()}}  # fmt: skip


def _show(rows: list[dict[str, Any]], page: dict[str, Any], looked: int) -> None:
    totals = _totals(rows)
    say(f"{looked} accounts from {instant(page['since'])} to {instant(page['until'])}", style="bold")
    for what, count in totals["accounts"].items():
        say(f"{_MEANS[what]}: {count}")
    for name, text in (("use", "for use in this time"), ("month", "by the month, at the prices of the draft")):
        for currency, more in totals[f"more_by_{name}"].items():
            if more:
                say(f"{amount(abs(more), currency)} {'more' if more > 0 else 'less'} {text}")
    if rows:
        say()
        table(("account", "feature", "what", "had", "would have", "used", "denied", "first", "cost"), map(_cells, rows))


_MEANS = {
    "loses": "accounts that lose something",
    "denied": "accounts that would have been denied more",
    "over": "accounts that reported more than would have been allowed",
    "too_many": "accounts that hold more than fits",
    "pays": "accounts that would have paid more",
    "gains": "accounts that gain something",
    "allowed": "accounts that would have been denied less",
    "saves": "accounts that would have paid less",
    "spends": "accounts that would have spent other credits",
    "changes": "accounts that see another value",
}


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    denied = _moved(row, "denied_units") or _moved(row, "over_units") or _moved(row, "too_many")
    its = row["currency"]
    cost = None if its is None else f"{amount(row['cost_before'], its)} → {amount(row['cost'], its)}"
    first = instant(row["first_denied_at"]) if row["first_denied_at"] else None
    return (row["account"], row["feature"] or "(subscription)", row["what"] or None, row["had"], row["has"],
            _moved(row, "used") or row["used"], denied, first, cost)  # fmt: skip


def _moved(row: dict[str, Any], name: str) -> str | None:
    before, after = row[f"{name}_before"], row[name]
    return None if before == after else f"{before} → {after}"
