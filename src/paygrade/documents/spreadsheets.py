"""Rows as CSV for a spreadsheet.

Law: no text that somebody else wrote becomes a formula (https://owasp.org/www-community/attacks/CSV_Injection).
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

RECORD_COLUMNS = (
    "account", "number", "occurred_at", "action", "actor_kind", "actor_id", "actor_name", "address", "request",
    "targets", "changes", "personal", "hash",
)  # fmt: skip
"""Of records of the audit log."""


def write_csv(rows: Iterable[Sequence[object]]) -> str:
    """Lists and mappings are cells of JSON, and None is an empty one."""
    kept = io.StringIO()
    csv.writer(kept, lineterminator="\r\n").writerows([_cell(value) for value in row] for row in rows)
    return kept.getvalue()


def record_rows(records: Iterable[Mapping[str, Any]]) -> Iterator[list[object]]:
    """Records of the audit log as the API shows them. Any: plain JSON."""
    for record in records:
        actor = record.get("actor") or {}
        whole = {**record, **{f"actor_{name}": actor.get(name) for name in ("kind", "id", "name")}}
        yield [whole.get(name) for name in RECORD_COLUMNS]


def _cell(value: object) -> object:
    if isinstance(value, list | dict | tuple):
        return msgspec.json.encode(value).decode()
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
