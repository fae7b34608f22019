"""Usage that is reported later, kept in files until the server has it: it survives the process.

Laws: what `put` took is sent, by this process or by another one after it, under the id it had from the start, so that
sending it again changes nothing; a file has one process that writes and reads it, by a lock that ends with that
process; a line that cannot be read is set aside, and its neighbours are sent; what is kept has a bound.
"""

import errno
import fcntl
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import msgspec
from msgspec import Struct

from paygrade.client.errors import PaygradeError
from paygrade.client.outbox import BATCH_MAX, Waiting
from paygrade.usage.events import UsageEvent

BYTES_MAX = 256 * 1024 * 1024
"""What one process keeps, files of dead ones that it took over among it."""
FILE_BYTES, BATCH_BYTES = 8 * 1024 * 1024, 4 * 1024 * 1024
"""A file is deleted when all of it was sent, so it must not grow for ever; how much is sent at once."""
ADOPT_MAX = 16
"""How many files of dead processes are held at a time."""
ASIDE_BYTES_MAX = 1024 * 1024

log = logging.getLogger("paygrade")


def made_folder(path: str | Path) -> Path:
    """The folder of a spool. PaygradeError `invalid_settings` where it can't be one."""
    folder = Path(path).absolute()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise PaygradeError("invalid_settings", f"`{folder}` can't be a spool: {error}") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PaygradeError("invalid_settings", f"`{folder}` can't be a spool: it is not writable")
    return folder


class _File(Struct):
    """A file held by this process. What is before `at` was sent; `count` events are not."""

    path: Path
    fd: int
    size: int = 0
    at: int = 0
    count: int = 0
    is_saved: bool = True


class _Batch(Struct):
    """What is under way: so many bytes and lines of a file, some of which cannot be read."""

    file: _File
    size: int
    lines: int
    odd: list[bytes]


class Spool(Waiting):
    """Files in `folder`, which processes may share: each writes its own."""

    def __init__(self, folder: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self._folder, self._bytes_max = folder, bytes_max
        self._own: _File | None = None
        self._others: deque[_File] = deque()
        """Full ones of this process and those of dead ones, sent before its own."""
        self._batch: _Batch | None = None
        self._count = self._bytes = 0
        self._lock = threading.Lock()
        self._fails = False
        self.dropped = self.rejected = 0

    def __len__(self) -> int:
        return self._count

    def put(self, event: bytes) -> bool:
        """False: there is no room for it, or the disk does not take it. Once it is True, the event survives the
        process; it survives the machine after the next `save`."""
        line = event + b"\n"
        with self._lock:
            if self._bytes + len(line) > self._bytes_max:
                self.dropped += 1
                return False
            try:
                if self._own is None:
                    self._own = self._created()
                _append(self._own, line)
            except OSError as error:
                self.dropped += 1
                if not self._fails:
                    log.error("usage events are lost, `%s` does not take them: %s", self._folder, error)
                self._fails = True
                return False
            self._fails = False
            self._count += 1
            self._bytes += len(line)
            if self._own.size >= FILE_BYTES:
                self._others.append(self._own)
                self._own = None
        return True

    def next(self) -> tuple[bytes, int]:
        while True:
            with self._lock:
                file = next((file for file in self._files() if file.at < file.size), None)
                if file is None:
                    return b"[]", 0
                part = os.pread(file.fd, min(BATCH_BYTES, file.size - file.at), file.at)
                lines = _lines(part, is_last=file.at + len(part) >= file.size)[:BATCH_MAX]
                taken = sum(map(len, lines))
                is_torn = file.at + taken == file.size and not lines[-1].endswith(b"\n")
                ended = sum(line.endswith(b"\n") for line in lines) + is_torn
                some = [line.rstrip(b"\n") for line in lines if _is_event(line)]
                odd = [line for line in lines if not _is_event(line)] if len(some) < len(lines) else []
                self._batch = _Batch(file, taken, ended, odd)
            if some:
                return b"[" + b",".join(some) + b"]", len(some)
            self.sent(0)

    def sent(self, rejected: int) -> None:
        self.rejected += rejected
        with self._lock:
            batch, self._batch = self._batch, None
            if batch is None:
                return
            self._set_aside(batch)
            file = batch.file
            file.at += batch.size
            file.count -= batch.lines
            self._bytes -= batch.size
            self._count -= batch.lines
            if file.at < file.size:
                return
            if file is self._own:
                os.ftruncate(file.fd, 0)
                file.size = file.at = 0
            else:
                self._others.remove(file)
                _delete(file)

    def save(self) -> None:
        with self._lock:
            files = [file for file in self._files() if not file.is_saved]
        for file in files:
            file.is_saved = True
            try:
                os.fsync(file.fd)
            except OSError as error:
                log.error("usage events of `%s` may not survive this machine: %s", file.path, error)

    def adopt(self) -> bool:
        with self._lock:
            held = {file.path for file in self._files()}
        found: list[_File] = []
        for path in sorted(self._folder.glob("*.events")):
            if path not in held and len(held) + len(found) < ADOPT_MAX:
                found += _taken(path)
        with self._lock:
            for file in found:
                self._others.append(file)
                self._count += file.count
                self._bytes += file.size
        return bool(found)

    def forget(self) -> None:
        # A lock ends when the last who has the file open closes it: a child must not keep it from its parent's heirs.
        for file in self._files():
            os.close(file.fd)

    def close(self) -> None:
        self.save()
        with self._lock:
            for file in self._files():
                if file.at < file.size:
                    os.close(file.fd)
                else:
                    _delete(file)
            self._own = self._batch = None
            self._others.clear()
            self._count = self._bytes = 0

    def _files(self) -> list[_File]:
        return [*self._others, *([self._own] if self._own is not None else [])]

    def _created(self) -> _File:
        while True:
            path = self._folder / f"{os.getpid()}-{uuid4().hex}.events"
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            # Another process may have taken it for one that was left empty, before it was locked.
            if _is_locked(fd):
                break
            os.close(fd)
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return _File(path, fd)

    def _set_aside(self, batch: _Batch) -> None:
        if not batch.odd:
            return
        aside = batch.file.path.with_suffix(".unreadable")
        log.error("%d lines of `%s` are no usage events, and are set aside in `%s`",
                  len(batch.odd), batch.file.path.name, aside)  # fmt: skip
        with aside.open("ab") as opened:
            if opened.tell() < ASIDE_BYTES_MAX:
                opened.writelines(batch.odd)


def _append(file: _File, line: bytes) -> None:
    if os.write(file.fd, line) < len(line):
        os.ftruncate(file.fd, file.size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    file.size += len(line)
    file.count += 1
    file.is_saved = False


def _taken(path: Path) -> Iterator[_File]:
    """The file, locked, if no process has it and there is something in it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError:
        return  # another process has sent it meanwhile, or it is another user's
    if not _is_locked(fd):
        os.close(fd)
        return
    file = _File(path, fd, os.fstat(fd).st_size)
    while part := os.pread(fd, BATCH_BYTES, file.at):
        file.count += part.count(b"\n")
        file.at += len(part)
    if file.size and os.pread(fd, 1, file.size - 1) != b"\n":
        file.count += 1  # its process, or its machine, died while it wrote
    file.at = 0
    if file.count:
        yield file
    else:
        _delete(file)


def _is_locked(fd: int) -> bool:
    """Lock it; False: another process has it, or has deleted it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(fd).st_nlink > 0


def _delete(file: _File) -> None:
    file.path.unlink(missing_ok=True)
    os.close(file.fd)


def _lines(part: bytes, *, is_last: bool) -> list[bytes]:
    """The lines in it: without the beginning of one that goes on, unless it is all there is. The last one of a file may
    lack its end."""
    *whole, rest = part.split(b"\n")
    lines = [line + b"\n" for line in whole]
    return [*lines, rest] if rest and (is_last or not lines) else lines


def _is_event(line: bytes) -> bool:
    try:
        _event.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


_event = msgspec.json.Decoder(UsageEvent)
