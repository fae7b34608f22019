"""A place to run the command line in, as people run it."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ENDS_S = 150.0
"""What has not ended by then hangs: on a machine that does much else, a command takes half a minute."""
RUN = [sys.executable, "-c", "from paygrade.cli.main import main; main()"]


class Shell:
    """A place to run `paygrade` in, without a terminal."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")}
        self.environ = {**kept, **environ}

    def run(self, *arguments: str, typing: str = "", code: int = 0) -> str:
        """What the command printed that read what was typed; fails unless it ends with this exit code."""
        ended = subprocess.run(
            [*RUN, *arguments],
            cwd=self.folder,
            env=self.environ,
            input=typing or None,
            capture_output=True,
            text=True,
            timeout=ENDS_S,
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout if code in (0, 1) and ended.stdout else ended.stderr

    def on_terminal(self, *arguments: str, typing: str = "", code: int = 0) -> str:
        """What a person sees who types this; both standard input and output are a terminal."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*RUN, *arguments], cwd=self.folder, env=self.environ, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.write(ours, typing.encode())
        seen = b""
        with suppress(OSError):  # Linux says EIO once nobody holds the other end
            while part := os.read(ours, 65536):
                seen += part
        os.close(ours)
        assert process.wait(timeout=ENDS_S) == code, seen.decode()
        return seen.decode().replace("\r\n", "\n")

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))
