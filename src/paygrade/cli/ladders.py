"""`paygrade catalog ladder`: what each state of a subscription leaves of each plan."""

from datetime import timedelta
from pathlib import Path

import click
import msgspec

from paygrade.catalog.parse import parse
from paygrade.cli.output import as_json, say, show_json, table
from paygrade.documents.catalog_file import read_catalog
from paygrade.entitlements.ladders import AccessLeft, PlanLadder, ladder_table
from paygrade.values.periods import render_duration
from paygrade.values.text import one_of

_COLUMNS = ("state", "from", "until", "read", "export", "write", "admin", "credits", "counts as")


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default="paygrade.yaml")
@click.option("--plan", help="Only this plan.")
@as_json
def ladder(file: Path, plan: str | None, as_json: bool) -> None:
    """Show what each state of a subscription leaves of the plans of FILE (paygrade.yaml), step by step: which classes
    of features, for how long, and which plan counts instead. Needs no server.
    """
    document, lines = read_catalog(file)
    catalog = parse(document, lines=lines)
    if plan is not None and plan not in catalog.plans:
        raise click.UsageError(f"there is no plan `{plan}` in {file}; it has {one_of(tuple(catalog.plans))}")
    found = [ladder_table(catalog, its) for key, its in catalog.plans.items() if plan in (None, key)]
    if as_json:
        show_json(msgspec.to_builtins({"plans": found}))
        return
    for number, (plans, its) in enumerate(_alike(found)):
        if number:
            say()
        say(", ".join(plans), style="bold")
        table(_COLUMNS, map(_cells, its))


def _alike(found: list[PlanLadder]) -> list[tuple[list[str], tuple[AccessLeft, ...]]]:
    """Plans of which the same is left stand together."""
    groups: dict[tuple[AccessLeft, ...], list[str]] = {}
    for each in found:
        groups.setdefault(each.rows, []).append(each.plan.partition("@")[0])
    return [(plans, rows) for rows, plans in groups.items()]


def _cells(row: AccessLeft) -> tuple[object, ...]:
    opened = ("yes" if each in row.open else None for each in ("read", "export", "write", "admin"))
    return (_state(row), _from(row), _until(row), *opened, "yes" if row.credits else None, row.counts_as)


def _state(row: AccessLeft) -> str:
    """The state as decisions have it; of a payment that went back, how it did and what the catalog says of that."""
    return row.state if row.returned is None else f"{row.returned}: {row.consequence}"


def _from(row: AccessLeft) -> str:
    return "period end" if row.from_s is None else _span(row.from_s) if row.from_s else "at once"


def _until(row: AccessLeft) -> str | None:
    ends_with_period = row.consequence == "end_at_period_end" and row.from_s == 0
    return "period end" if ends_with_period else None if row.until_s is None else _span(row.until_s)


def _span(seconds: int) -> str:
    return render_duration(timedelta(seconds=seconds))
