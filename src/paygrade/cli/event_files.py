"""Files of usage events: read as a stream, sent in batches, with a word on every line that is not taken.

Laws: an event counts once, so a file that was interrupted is simply imported again; a bad line keeps no other out; a
batch is never larger than the server takes.
"""

import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click
import msgspec

from paygrade.cli.api import call
from paygrade.cli.track import property_of
from paygrade.values.errors import Unavailable

BATCH_EVENTS, BATCH_BYTES = 5000, 8 * 1024 * 1024
RETRIES_S = (1, 2, 4, 8, 15)
LINE_EVERY_S = 5.0
_KNOWN = ("id", "account", "feature", "event", "quantity", "time", "member", "amends")


class Line(NamedTuple):
    """One event of the file: its line, from 1, and its JSON, or why it has none. `read`: bytes of the file so far."""

    number: int
    event: bytes
    wrong: str | None
    read: int


class Imported(msgspec.Struct):
    """What became of a file. `rejects`: where the lines that were not taken are told."""

    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejects: str | None = None


def import_events(file: Path, rejects: Path, *, backfill: bool, quiet: bool) -> Imported:
    """Send every event of a CSV or JSON-lines file. Unavailable when the server stays away; nothing is lost then."""
    done = Imported()
    query = {"backfill": "true"} if backfill else {}
    size = file.stat().st_size
    with file.open("rb") as source, _rejects(rejects, done) as reject, _progress(size, quiet=quiet) as show:
        lines = _csv_lines(source) if file.suffix.lower() == ".csv" else _json_lines(source)
        for batch in _batches(lines):
            done.lines += len(batch)
            good = [line for line in batch if line.wrong is None]
            for line in batch:
                if line.wrong is not None:
                    reject(line, "invalid_event", line.wrong)
            if good:
                told = _send(b"[" + b",".join(line.event for line in good) + b"]", query, done)
                done.accepted += told["accepted"]
                done.duplicates += told["duplicates"]
                for each in told["rejected"]:
                    reject(good[each["index"]], each["code"], each["detail"])
            show(batch[-1].read, done)
    return done


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        if batch and (len(batch) == BATCH_EVENTS or size + len(line.event) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line.event) + 1
    if batch:
        yield batch


def _json_lines(source: BinaryIO) -> Iterator[Line]:
    read = 0
    for number, raw in enumerate(source, start=1):
        read += len(raw)
        text = raw.strip()
        if not text:
            continue
        try:
            msgspec.json.decode(text)
            yield Line(number, text, None, read)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Line(number, b"", f"not JSON: {error}", read)


def _csv_lines(source: BinaryIO) -> Iterator[Line]:
    """Columns are an event's fields; `properties` is JSON, and every other column a property. Empty: not said."""
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for raw in source:
            read += len(raw)
            yield raw.decode("utf-8-sig" if read == len(raw) else "utf-8", "replace")

    rows = csv.DictReader(texts(), strict=True)
    columns = rows.fieldnames or []
    if "id" not in columns or "account" not in columns:
        raise click.UsageError("the first line must name the columns, with `id` and `account`")
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(rows.line_num, b"", f"not CSV: {error}", read)
            continue
        wrong, event = None, dict[str, Any]()
        try:
            event = _event(row)
        except ValueError as error:
            wrong = str(error)
        yield Line(rows.line_num, msgspec.json.encode(event), wrong, read)


def _event(row: dict[str | None, Any]) -> dict[str, Any]:
    # Any: cells, and plain JSON. A cell too many has no column: csv gives it the key None.
    if None in row:
        raise ValueError("the line has more cells than columns")
    event: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for name, cell in row.items():
        if not cell or name is None:
            continue
        if name == "quantity":
            event[name] = property_of(cell)
        elif name in _KNOWN:
            event[name] = cell
        elif name == "properties":
            try:
                properties |= msgspec.json.decode(cell, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise ValueError(f"`properties` is not a JSON object: {error}") from None
        else:
            properties[name] = property_of(cell)
    return {**event, "properties": properties} if properties else event


def _send(content: bytes, query: dict[str, str], done: Imported) -> Any:
    # Any: decoded JSON, as the server sent it.
    for pause in (*RETRIES_S, None):
        try:
            return call("POST", "/v1/events", content=content, query=query)
        except Unavailable as error:
            if pause is None:
                sent = done.accepted + done.duplicates
                detail = f"{error.detail}; {sent} events are in: run the same command again to go on"
                raise Unavailable(error.code, detail) from None
            time.sleep(pause)
    raise AssertionError


@contextmanager
def _rejects(path: Path, done: Imported) -> Iterator[Callable[[Line, str, str], None]]:
    """Something to call with each line that is not taken; the file is made with the first."""
    if path.exists():
        path.unlink()

    def reject(line: Line, code: str, detail: str) -> None:
        done.rejected += 1
        done.rejects = str(path)
        told = {"line": line.number, "code": code, "detail": detail, "event": msgspec.Raw(line.event or b"null")}
        with path.open("ab") as file:
            file.write(msgspec.json.encode(told) + b"\n")

    yield reject


@contextmanager
def _progress(size: int, *, quiet: bool) -> Iterator[Callable[[int, Imported], None]]:
    """A bar on a terminal, a line every few seconds elsewhere, on standard error."""
    if quiet or not sys.stderr.isatty():
        told_at = time.monotonic()

        def tell(read: int, done: Imported) -> None:
            nonlocal told_at
            if not quiet and time.monotonic() - told_at >= LINE_EVERY_S:
                told_at = time.monotonic()
                percent = 100 * read // max(size, 1)
                click.echo(f"{done.lines} events, {percent} %, {done.rejected} refused", err=True)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("events", total=size)
        yield lambda read, done: progress.update(task, completed=read, description=f"{done.lines} events")
