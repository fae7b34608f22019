"""What commands print: tables and colour for people, plain lines in a pipe, JSON when asked.

Law: with `--json` standard output holds one JSON document and nothing else.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from paygrade.values.text import PAGE_MAX


class _Moment(click.ParamType[str]):
    """An instant; a day alone is the midnight (UTC) it begins with, and without an offset a time is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if len(text) == len("2027-01-01"):
            text = f"{text}T00:00:00"
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"`{value}` is not a time; write `2027-01-31` or `2027-01-31T10:00:00Z`", param, ctx)
        at = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
        return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


class _When(_Moment):
    """An instant, or a word of the API for one."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value) if value in ("now", "period_end") else super().convert(value, param, ctx)


MOMENT = _Moment()
WHEN = _When()
F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
believed = click.option("--believed", is_flag=True, help="Of the past: as was known then, not as is known now.")
yes = click.option("--yes", "-y", is_flag=True, help="Don't ask for confirmation.")


def page_limit(default: int = 100) -> Callable[[F], F]:
    """How long a list may be."""
    kind = click.IntRange(1, PAGE_MAX)
    return click.option("--limit", type=kind, default=default, show_default=True, help="How many to show.")


def for_people() -> bool:
    return sys.stdout.isatty()


def show_json(value: object) -> None:
    encoded = msgspec.json.encode(value)
    click.echo(msgspec.json.format(encoded, indent=2).decode() if for_people() else encoded.decode())


def say(text: str = "", *, style: str = "") -> None:
    """One line; `style` (a colour of click's, or `bold` or `dim`) only where someone watches."""
    if not style or not for_people():
        click.echo(text)
    elif style in ("bold", "dim"):
        click.secho(text, bold=style == "bold", dim=style == "dim")
    else:
        click.secho(text, fg=style)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before customers lose something, where a person is there to answer. Raises click.Abort for a no.

    `yes`: it was answered by `--yes`. A script is not asked: whoever wrote it has decided.
    """
    if not yes and for_people() and sys.stdin.isatty():
        click.confirm(question, abort=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "none") -> None:
    """A table on a terminal; in a pipe a header and a line per row, cells separated by tabs.

    `empty` is said where there are no rows: on standard error in a pipe, so that the output stays a table.
    """
    cells = [[_text(cell) for cell in row] for row in rows]
    if not cells:
        click.echo(empty, err=not for_people())
    if not for_people():
        click.echo("\t".join(columns))
        for row in cells:
            click.echo("\t".join(row))
        return
    if not cells:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


def _text(cell: object) -> str:
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case list() | tuple():
            return ", ".join(_text(part) for part in cell) or "-"
        case dict():
            return ", ".join(f"{key}={_text(value)}" for key, value in cell.items()) or "-"
        case _:
            return str(cell).replace("\t", " ").replace("\n", " ")
