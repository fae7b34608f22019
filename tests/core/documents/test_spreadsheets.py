"""CSV for spreadsheets: what was written is read as it was, and none of it is a formula."""

import csv
import io

from hypothesis import example, given
from hypothesis import strategies as st

from paygrade.documents.spreadsheets import RECORD_COLUMNS, record_rows, write_csv

CELLS = st.one_of(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.integers(), st.none())


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=4))
@example([["=1+1", "+1", "-1", "@sum"], ["\t=1", "\r=1", "a=1", ""]])
def test_no_text_is_a_formula_and_every_cell_is_read_as_it_was(rows: list[list[object]]) -> None:
    read = list(csv.reader(io.StringIO(write_csv(rows), newline="")))
    assert len(read) == len(rows)
    for row, seen in zip(rows, read, strict=True):
        for value, cell in zip(row, seen, strict=True):
            text = "" if value is None else str(value)
            assert cell in (text, f"'{text}")
            assert not isinstance(value, str) or cell[:1] not in ("=", "+", "-", "@", "\t", "\r")


def test_a_record_has_a_cell_for_each_column_whatever_it_lacks() -> None:
    record = {"account": "acme", "number": 1, "actor": {"kind": "key", "id": "key_1"}, "changes": {"name": ["a", "b"]}}
    (row,) = record_rows([record])
    assert dict(zip(RECORD_COLUMNS, row, strict=True)) | {"actor_name": None} == {
        **dict.fromkeys(RECORD_COLUMNS),
        "account": "acme",
        "number": 1,
        "actor_kind": "key",
        "actor_id": "key_1",
        "changes": {"name": ["a", "b"]},
    }
    assert '{""name"":[""a"",""b""]}' in write_csv([row])
