"""A place to run the command line in, as people run it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

RUN = [sys.executable, "-c", "from paygrade.cli.main import main; main()"]


class Shell:
    """A place to run `paygrade` in, without a terminal."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")}
        self.environ = {**kept, **environ}

    def run(self, *arguments: str, code: int = 0) -> str:
        """What the command printed; fails unless it ends with this exit code."""
        ended = subprocess.run(
            [*RUN, *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=40
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout if code in (0, 1) and ended.stdout else ended.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))
