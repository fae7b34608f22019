"""Rows as Parquet, for data warehouses and notebooks.

pyarrow writes it. Only `paygrade[parquet]` installs it: it is larger than all the rest together.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import inspect

from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from pyarrow import Schema

MEDIA_TYPE = "application/vnd.apache.parquet"


class ParquetWriter:
    """One file, written part by part. `columns`: each by its name, with the type its values have. Any: a type
    expression.

    What is text, a whole number, yes or no, a date or an instant is that in the file, and null where it is None;
    anything else is JSON as text. Refused: `format_not_installed`.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise Refused(
                "format_not_installed",
                "Parquet can't be written here: install `paygrade[parquet]` where the server runs, or ask for `csv`",
            ) from None
        types = {
            "text": pyarrow.string(),
            "number": pyarrow.int64(),
            "flag": pyarrow.bool_(),
            "date": pyarrow.date32(),
            "instant": pyarrow.timestamp("us", tz="UTC"),
            "json": pyarrow.string(),
        }
        self._columns = {name: _written_as(kind) for name, kind in columns.items()}
        self._schema: Schema = pyarrow.schema([(name, types[said]) for name, said in self._columns.items()])
        self._sent = _Sent()
        self._file = parquet.ParquetWriter(pyarrow.PythonFile(self._sent, mode="w"), self._schema, compression="zstd")

    def write(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """The next part of the file, with these rows. Any: plain values, as `msgspec.to_builtins` makes them but for
        dates and instants."""
        from pyarrow import Table

        shown = [{name: self._cell(name, row[name]) for name in self._columns} for row in rows]
        self._file.write_table(Table.from_pylist(shown, schema=self._schema))
        return self._sent.take()

    def end(self) -> bytes:
        """The rest of the file."""
        self._file.close()
        return self._sent.take()

    def _cell(self, name: str, value: Any) -> Any:
        return value if value is None or self._columns[name] != "json" else msgspec.json.encode(value).decode()


class _Sent:
    """A file that only grows, and keeps nothing of what was taken from it."""

    def __init__(self) -> None:
        self._parts, self._length, self.closed = list[bytes](), 0, False

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


def _written_as(kind: Any) -> Literal["text", "number", "flag", "date", "instant", "json"]:
    told = inspect.type_info(kind)
    either = told.types if isinstance(told, inspect.UnionType) else (told,)
    match [each for each in either if not isinstance(each, inspect.NoneType)]:
        case [inspect.StrType()]:
            return "text"
        case [inspect.LiteralType(values=words) | inspect.EnumType(cls=words)] if all(
            isinstance(w, str) for w in words
        ):
            return "text"
        case [inspect.IntType()]:
            return "number"
        case [inspect.BoolType()]:
            return "flag"
        case [inspect.DateType()]:
            return "date"
        case [inspect.DateTimeType()]:
            return "instant"
    return "json"
