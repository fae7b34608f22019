"""Parquet: what was written, in whatever parts, is read as it was, with its types."""

import json
import sys
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Literal

import pyarrow
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet

from paygrade.documents.parquet import ParquetWriter
from paygrade.values.errors import Refused


class Colour(StrEnum):
    RED = "red"


COLUMNS: dict[str, Any] = {
    "text": str,
    "word": Literal["a", "b"],
    "colour": Colour | None,
    "units": int | None,
    "flag": bool,
    "day": date | None,
    "at": datetime,
    "value": bool | int | str | None,
    "many": dict[str, int],
}
ROWS = st.fixed_dictionaries(
    {
        "text": st.text(st.characters(exclude_categories=["Cs"])),
        "word": st.sampled_from(["a", "b"]),
        "colour": st.sampled_from([Colour.RED.value, None]),
        "units": st.integers(-(2**53) + 1, 2**53 - 1) | st.none(),
        "flag": st.booleans(),
        "day": st.dates() | st.none(),
        "at": st.datetimes(timezones=st.just(UTC)),
        "value": st.booleans() | st.integers(0, 9) | st.text("ab") | st.none(),
        "many": st.dictionaries(st.text("ab", max_size=2), st.integers(0, 9), max_size=2),
    }
)


@given(st.lists(st.lists(ROWS, max_size=3), max_size=3))
@example([[], []])
def test_what_is_written_in_parts_is_read_whole(parts: list[list[dict[str, Any]]]) -> None:
    writer = ParquetWriter(COLUMNS)
    written = b"".join([*(writer.write(part) for part in parts), writer.end()])
    table = parquet.read_table(pyarrow.BufferReader(written))
    read = [{**row, **{name: decoded(row[name]) for name in ("value", "many")}} for row in table.to_pylist()]
    assert read == [row for part in parts for row in part]
    assert [str(field.type) for field in table.schema] == [
        "string", "string", "string", "int64", "bool", "date32[day]", "timestamp[us, tz=UTC]", "string", "string",
    ]  # fmt: skip


def test_without_its_library_it_is_refused_in_words_that_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Refused, match=r"install `paygrade\[parquet\]`") as refused:
        ParquetWriter({"text": str})
    assert refused.value.code == "format_not_installed"


def decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)
