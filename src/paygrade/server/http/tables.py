"""A report as a page of JSON, or all of its pages as one file."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, Protocol

import msgspec
from litestar import Response
from litestar.response import Stream
from msgspec import Struct
from msgspec.structs import fields

from paygrade.documents import parquet
from paygrade.documents.parquet import ParquetWriter
from paygrade.documents.spreadsheets import write_csv
from paygrade.server.http.parameters import choice, read_choice

FORMATS = ("json", "csv", "parquet")
MEDIA_TYPES = ("text/csv", parquet.MEDIA_TYPE)
"""Those of files."""
NOT_WRITTEN = ("format_not_installed",)
"""What a file is refused for."""
GROUP_ROWS = 20_000
"""Of Parquet, so many are held in memory; fewer would make a large file slow to read."""

TableFormat = Annotated[
    str | None,
    choice(
        "format", FORMATS, "`csv`, `parquet`: one file of all pages, written as they are read. `limit` is for JSON."
    ),
]


class Report(Protocol):
    """A page of a report."""

    @property
    def rows(self) -> Sequence[Struct]: ...
    @property
    def next(self) -> str | None: ...


Ask = Callable[..., Awaitable[Report]]


async def answer_table(
    ask: Ask,
    row: type[Struct],
    *,
    after: str,
    limit: int,
    in_format: str | None,
    file_limit: int,
    of_page: Mapping[str, Any] | None = None,
) -> Response[Any]:  # Any: a page, or a file; type expressions
    """The page behind `after`, or a file from there on, which reads pages of `file_limit`. The first is read before
    anything is answered, so what is refused is refused. Columns: those of a row, and `of_page`, those that every row
    has from its page, by name and type. Refused: `invalid_query`, `format_not_installed`."""
    chosen = read_choice(in_format, FORMATS, name="format")
    if chosen in (None, "json"):
        return Response(await ask(after=after, limit=limit))
    first = await ask(after=after, limit=file_limit)
    own = {each.name: each.type for each in fields(row)}
    columns = {"account": own.pop("account"), **(of_page or {}), **own}
    pages = _pages(partial(ask, limit=file_limit), first)
    if chosen == "csv":
        return Stream(_csv(pages, tuple(columns), tuple(of_page or ())), media_type="text/csv")
    writer = await asyncio.to_thread(ParquetWriter, columns)
    return Stream(_parquet(pages, writer, tuple(of_page or ())), media_type=parquet.MEDIA_TYPE)


async def _pages(ask: Ask, first: Report) -> AsyncIterator[Report]:
    page = first
    yield page
    while page.next is not None:
        page = await ask(after=page.next)
        yield page


async def _csv(pages: AsyncIterator[Report], columns: Sequence[str], of_page: Sequence[str]) -> AsyncIterator[str]:
    yield write_csv([columns])
    async for page in pages:
        yield write_csv([row[name] for name in columns] for row in _rows(page, of_page))


async def _parquet(pages: AsyncIterator[Report], writer: ParquetWriter, of_page: Sequence[str]) -> AsyncIterator[bytes]:
    waiting = list[dict[str, Any]]()  # Any: plain values, dates and instants
    async for page in pages:
        waiting += _rows(page, of_page, kept=(datetime, date))
        if len(waiting) >= GROUP_ROWS:
            yield await asyncio.to_thread(writer.write, waiting)
            waiting = []
    yield await asyncio.to_thread(writer.write, waiting)
    yield await asyncio.to_thread(writer.end)


def _rows(page: Report, of_page: Sequence[str], kept: tuple[type, ...] = ()) -> Iterator[dict[str, Any]]:
    """Any: plain values, and those of the types that are kept."""
    common = {name: msgspec.to_builtins(getattr(page, name), builtin_types=kept) for name in of_page}
    for row in page.rows:
        yield {**msgspec.to_builtins(row, builtin_types=kept), **common}
