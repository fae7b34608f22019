"""`paygrade reports`: what was earned, who pays for what they have, what became of credits; and the journal."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from paygrade.cli.api import call, download, path
from paygrade.cli.output import as_json, say, show_json, table
from paygrade.cli.wording import instant
from paygrade.documents.spreadsheets import write_csv
from paygrade.reports.journal import JournalEntry, journal
from paygrade.reports.movements import MonthOfMovements
from paygrade.reports.movements import of_all as of_all_movements
from paygrade.reports.revenue import MonthOfRevenue, of_all
from paygrade.values.money import amount

# Any in this file: decoded JSON, as the server sent it.
SUMS = ("paid", "refunded", "recognized", "usage")


@click.group()
def reports() -> None:
    """Report revenue, usage, credits, and access beside money."""


_from = click.option("--from", "from_month", help="The first month, `2026-01`. Default: the January of the last month.")
_until = click.option("--until", help="The first month after it. Default: the next month.")
_csv = click.option("--csv", "as_csv", is_flag=True, help="Write CSV for a spreadsheet: a row for each account.")
_parquet = click.option(
    "--parquet", "into", type=click.Path(dir_okay=False, path_type=Path), help="Write Parquet into this file."
)


@reports.command()
@_from
@_until
@click.option(
    "--journal", "as_journal", is_flag=True, help="Write journal entries as CSV: debits and credits by month."
)
@_csv
@_parquet
@as_json
def revenue(
    from_month: str | None, until: str | None, as_journal: bool, as_csv: bool, into: Path | None, as_json: bool
) -> None:
    """Report what was paid, refunded, recognized and deferred, by month and currency.

    Amounts are without tax. CSV and JSON hold minor units.
    """
    if not as_journal and _written("revenue", _span(from_month, until), as_csv=as_csv, into=into):
        return
    pages = list(_pages("revenue", _span(from_month, until)))
    rows = [row for page in pages for row in page["rows"]]
    _tell_unread(pages[-1])
    months = [msgspec.convert(row, MonthOfRevenue) for row in rows]
    if as_journal:
        entries = journal(months)
        if as_json:
            show_json({"entries": entries})
        else:
            columns = JournalEntry.__struct_fields__
            click.echo(write_csv([columns, *(msgspec.structs.astuple(one) for one in entries)]), nl=False)
    elif as_json:
        show_json({**pages[-1], "rows": rows})
    else:
        totals = of_all(months)
        table(
            ("month", *SUMS, "deferred"),
            ((one.month, *(amount(getattr(one, name), one.currency) for name in (*SUMS, "deferred")))
             for one in totals),
        )  # fmt: skip


@reports.command()
@_from
@_until
@_csv
@_parquet
@as_json
def mrr(from_month: str | None, until: str | None, as_csv: bool, into: Path | None, as_json: bool) -> None:
    """Report how monthly recurring revenue moved: new, expansion, contraction, churn and reactivation."""
    if _written("mrr", _span(from_month, until), as_csv=as_csv, into=into):
        return
    rows = [row for page in _pages("mrr", _span(from_month, until)) for row in page["rows"]]
    if as_json:
        show_json({"rows": rows})
    else:
        names = MonthOfMovements.__struct_fields__[2:]
        totals = of_all_movements([msgspec.convert(row, MonthOfMovements) for row in rows])
        table(("month", *names), ((one.month, *(amount(getattr(one, name), one.currency) for name in names))
                                  for one in totals))  # fmt: skip


@reports.command()
@_from
@_until
@_csv
@_parquet
@as_json
def usage(from_month: str | None, until: str | None, as_csv: bool, into: Path | None, as_json: bool) -> None:
    """Report what usage was billed for, by the months in which it was used."""
    _show(
        "usage", _span(from_month, until), ("account", "month", "price", "quantity", "recognized"),
        lambda row: (row["account"], row["month"], row["price"], row["quantity"], _money(row, "recognized")),
        as_csv=as_csv, into=into, as_json=as_json,
    )  # fmt: skip


@reports.command("credits")
@_csv
@_parquet
@as_json
def credits_(as_csv: bool, into: Path | None, as_json: bool) -> None:
    """Report what became of each grant: units used, expired and left, and what was paid for them."""
    _show(
        "credits", {}, ("account", "credit", "grant", "units", "used", "expired", "left", "paid", "earned", "breakage"),
        lambda row: (row["account"], row["pool"], row["grant"], row["units"], row["used"], row["expired"],
                     row["available"], *(_money(row, name) for name in ("price", "earned", "breakage"))),
        as_csv=as_csv, into=into, as_json=as_json,
    )  # fmt: skip


@reports.command()
@_csv
@_parquet
@as_json
def leakage(as_csv: bool, into: Path | None, as_json: bool) -> None:
    """Report who may use what nobody pays for, and who paid for what they can't use."""
    _show(
        "leakage", {}, ("account", "what", "cause", "of", "amount", "since"),
        lambda row: (row["account"], row["kind"].replace("_", " "), row["cause"].replace("_", " "),
                     row["subscription"] or row["feature"], _money(row, "amount"),
                     row["since"] and instant(row["since"])),
        as_csv=as_csv, into=into, as_json=as_json,
    )  # fmt: skip


def _show(
    name: str, query: dict[str, str], heads: Sequence[str], cells: Callable[[Any], Sequence[object]], *,
    as_csv: bool, into: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """A report as it is asked for: all of its pages."""
    if _written(name, query, as_csv=as_csv, into=into):
        return
    pages = list(_pages(name, query))
    rows = [row for page in pages for row in page["rows"]]
    _tell_unread(pages[-1])
    if as_json:
        show_json({**pages[-1], "rows": rows})
    else:
        table(heads, map(cells, rows))


def _span(from_month: str | None, until: str | None) -> dict[str, str]:
    """The months that were asked for, as a query."""
    return {name: said for name, said in {"from": from_month, "until": until}.items() if said is not None}


def _money(row: Any, name: str) -> str | None:
    return None if row[name] is None else amount(row[name], row["currency"])


def _pages(name: str, query: dict[str, str]) -> Iterator[Any]:
    """Every page of a report."""
    after: str | None = ""
    while after is not None:
        page = call("GET", path("v1", "reports", name), query={**query, "after": after})
        yield page
        after = page["next"]


def _written(name: str, query: dict[str, str], *, as_csv: bool, into: Path | None) -> bool:
    """Whether a file was asked for, which the server then writes."""
    if not as_csv and into is None:
        return False
    address = path("v1", "reports", name)
    _tell_unread(call("GET", address, query={**query, "limit": "1"}))
    with click.open_file(str(into or "-"), "wb") as file:
        download(address, file, query={**query, "format": "csv" if into is None else "parquet"})
    if into is not None:
        say(f"{into} is written")
    return True


def _tell_unread(page: Any) -> None:
    unread = page.get("unread")
    if unread is not None and unread["waiting"]:
        failing = f", of whom {unread['failing']} could not be read" if unread["failing"] else ""
        click.echo(f"not whole yet: the invoices of {unread['waiting']} customers wait to be read{failing}", err=True)
