"""Files of overrides: a line each, looked at as a whole before anything is set.

Laws: nothing is set before every line was tried; a bad line keeps no other out.
"""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from paygrade.cli.api import call, path
from paygrade.values.errors import Refused

ROWS_MAX = 10_000
COLUMNS = (
    "account", "feature", "value", "limit", "add", "unlimited", "spend_cap", "reason", "code", "starts_at",
    "expires_at", "review_at",
)  # fmt: skip
_JSON = frozenset({"value", "limit", "add", "unlimited", "spend_cap"})
"""Whose cells are JSON: a number, `true`, or a text as it is."""


class Line(NamedTuple):
    """An override of the file: its line, from 1, its body, and why it can't be set. Any: JSON."""

    number: int
    account: str
    feature: str
    body: dict[str, Any]
    wrong: str | None = None


class Tried(NamedTuple):
    """What an override leads to: the decision on its feature, before and after. Any: decoded JSON, as the server sent
    it."""

    line: Line
    before: Any
    after: Any


def read_overrides(file: Path) -> list[Line]:
    """The lines of a CSV file. click.UsageError: it is none, or too long."""
    with file.open(encoding="utf-8-sig", newline="") as source:
        rows = csv.DictReader(source, strict=True)
        try:
            named = rows.fieldnames or ()
            strange = [name for name in named if name not in COLUMNS]
            if strange or not {"account", "feature"} <= {*named}:
                said = f"`{strange[0]}` is none of them" if strange else "`account` and `feature` are needed"
                raise click.UsageError(f"the first line must name columns of {', '.join(COLUMNS)}; {said}")
            found = list[Line]()
            for row in rows:
                if len(found) == ROWS_MAX:
                    raise click.UsageError(f"{file} has more than {ROWS_MAX:,} lines: import it in parts")
                found.append(_line(rows.line_num, row))
        except (csv.Error, UnicodeDecodeError) as error:
            raise click.UsageError(f"{file} is not CSV: {error}") from None
    return found


def try_override(line: Line) -> Tried | Line:
    """What it would lead to; or the line, with why it can't be set."""
    if line.wrong is not None:
        return line
    asked = {"account": line.account, "feature": line.feature}
    try:
        after = call("PUT", _where(line), body=line.body, query={"dry_run": "true"})
        return Tried(line, call("POST", "/v1/check", body=asked), after)
    except Refused as error:
        return line._replace(wrong=error.detail)


def set_override(line: Line) -> Line:
    """Set it; the line, with why it was not."""
    try:
        told = call("PUT", _where(line), body=line.body)
    except Refused as error:
        return line._replace(wrong=error.detail)
    # Where a second person is needed, the answer is no decision but an approval.
    waits = "another person has to approve it: see `paygrade approvals list`"
    return line if "allowed" in told else line._replace(wrong=waits)


def _line(number: int, row: dict[str | None, Any]) -> Line:
    # Any: cells. A cell too many has no column: csv gives it the key None.
    account, feature = row.get("account") or "", row.get("feature") or ""
    if None in row:
        return Line(number, account, feature, {}, "the line has more cells than columns")
    if not account or not feature:
        return Line(number, account, feature, {}, "`account` and `feature` are needed")
    body = {
        name: _cell(name, cell) for name, cell in row.items() if name and cell and name not in ("account", "feature")
    }
    return Line(number, account, feature, body)


def _cell(name: str, cell: str) -> Any:
    if name in _JSON:
        try:
            return msgspec.json.decode(cell)
        except msgspec.DecodeError:
            pass
    return cell


def _where(line: Line) -> str:
    return path("v1", "accounts", line.account, "overrides", line.feature)
