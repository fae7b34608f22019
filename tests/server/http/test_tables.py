"""Reports as files: every page of them, in whatever parts they are written."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.response import Stream
from msgspec import Struct
from pyarrow import parquet

from paygrade.server.http import tables

pytestmark = pytest.mark.anyio

AT = datetime(2026, 3, 1, tzinfo=UTC)


class Row(Struct, frozen=True, kw_only=True):
    units: int
    since: datetime | None
    account: str


class Page(Struct, frozen=True):
    as_of: datetime
    rows: tuple[Row, ...]
    next: str | None


@given(st.lists(st.lists(st.integers(0, 99), max_size=3), min_size=1, max_size=4), st.integers(1, 4))
async def test_a_file_has_the_rows_of_all_pages_once_and_in_their_order(units: list[list[int]], group: int) -> None:
    rows = [tuple(Row(account=f"a{n}", units=each, since=AT) for each in page) for n, page in enumerate(units)]
    asked: list[tuple[str, int]] = []

    async def ask(*, after: str, limit: int) -> Page:
        asked.append((after, limit))
        number = int(after or 0)
        return Page(AT, rows[number], str(number + 1) if number + 1 < len(rows) else None)

    async def answered(kind: str | None) -> Any:
        return await tables.answer_table(
            ask, Row, after="", limit=1, in_format=kind, file_limit=7, of_page={"as_of": datetime}
        )

    wanted = [{"account": row.account, "as_of": AT, "units": row.units, "since": AT} for page in rows for row in page]
    assert (await answered(None)).content == Page(AT, rows[0], "1" if len(rows) > 1 else None)
    assert asked == [("", 1)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "GROUP_ROWS", group)
        table = parquet.read_table(pyarrow.BufferReader(await whole(await answered("parquet"))))
    assert table.to_pylist() == wanted
    assert asked[1:] == [("" if n == 0 else str(n), 7) for n in range(len(rows))]
    found = list(csv.DictReader(io.StringIO((await whole(await answered("csv"))).decode(), newline="")))
    assert found == [
        {**row, "units": str(row["units"]), "as_of": "2026-03-01T00:00:00Z", "since": "2026-03-01T00:00:00Z"}
        for row in wanted
    ]


async def whole(answer: Any) -> bytes:
    assert isinstance(answer, Stream)
    parts = [part async for part in answer.iterator]  # type: ignore[union-attr]  # it is an asynchronous one
    return b"".join(part if isinstance(part, bytes) else part.encode() for part in parts)
