"""Columns of many rows, written as the array literals that `unnest` takes apart again.

psycopg writes a list value by value, in Python, and asks of each whether it needs quotes; for a batch of usage that
costs more than everything else together. Here each column is written at once, and every text is quoted.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime


def texts(values: Iterable[str | None]) -> str:
    """An array of texts, or of anything that PostgreSQL reads from one."""
    return f"{{{','.join([_quoted(value) for value in values])}}}"


def few(values: Sequence[str | None]) -> str:
    """The same of texts of which many are alike: each is written once."""
    written = {value: _quoted(value) for value in set(values)}
    return f"{{{','.join([written[value] for value in values])}}}"


def numbers(values: Iterable[int]) -> str:
    return f"{{{','.join(map(str, values))}}}"


def instants(values: Sequence[datetime | None]) -> str:
    """Most of a batch happened at the same few instants: each is written once."""
    written = {value: _quoted(None if value is None else value.isoformat()) for value in set(values)}
    return f"{{{','.join([written[value] for value in values])}}}"


def keys(rows: Sequence[tuple[str, ...]], width: int) -> tuple[str, ...]:
    """The columns of keys, one array for each part."""
    return tuple([texts([row[part] for row in rows]) for part in range(width)])


def escaped(search: str) -> str:
    """What `like` takes as itself: `%` and `_` have a meaning there."""
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _quoted(value: str | None) -> str:
    # https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    if value is None:
        return "NULL"
    if '"' in value or "\\" in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
