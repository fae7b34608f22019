"""A place to run the command line in, as people run it."""

import json
import os
import pty
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from support.warm_process import Running, warm

ENDS_S = 150.0
"""What has not ended by then hangs: on a machine that does much else, a command takes half a minute."""
RUN = [sys.executable, "-c", "import sys; sys.argv[0] = 'paygrade'; from paygrade.cli.main import main; main()"]


class Shell:
    """A place to run `paygrade` in, without a terminal."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")}
        self.environ = {**kept, **environ}

    def run(self, *arguments: str, typing: str = "", code: int = 0) -> str:
        """What the command printed that read what was typed; fails unless it ends with this exit code."""
        return paygrade(arguments, environ=self.environ, folder=self.folder, typing=typing, code=code)

    def start(self, *arguments: str, log: IO[str]) -> Running:
        """Begin a command that goes on, and writes what it says to this file."""
        return warm().start(arguments, environ=self.environ, folder=self.folder, stdout=log, stderr=log)

    def on_terminal(self, *arguments: str, typing: str = "", code: int = 0) -> str:
        """What a person sees who types this; both standard input and output are a terminal."""
        ours, theirs = pty.openpty()
        begun = warm().start(
            arguments, environ=self.environ, folder=self.folder, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.write(ours, typing.encode())
        seen = b""
        with suppress(OSError):  # Linux says EIO once nobody holds the other end
            while part := os.read(ours, 65536):
                seen += part
        os.close(ours)
        assert begun.wait(ENDS_S) == code, seen.decode()
        return seen.decode().replace("\r\n", "\n")

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))


def paygrade(
    arguments: Sequence[str],
    *,
    environ: Mapping[str, str],
    folder: Path | None = None,
    typing: str = "",
    code: int = 0,
) -> str:
    """What a command printed that read what was typed; fails unless it ends with this exit code."""
    with TemporaryFile() as typed, TemporaryFile() as out, TemporaryFile() as err:
        typed.write(typing.encode())
        typed.seek(0)
        begun = warm().start(arguments, environ=environ, folder=folder, stdin=typed, stdout=out, stderr=err)
        ended = begun.wait(ENDS_S)
        stdout, stderr = (_read(each) for each in (out, err))
    assert ended == code, stdout + stderr
    return stdout if code in (0, 1) and stdout else stderr


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode()
