"""Run every benchmark of this folder, one after the other, and print what machine it was.

Each `bench_*.py` has `main()`, which prints its rows; some have more of them with `--long`, and some are run only when
they are named. Never run two at once: they would measure each other.
"""

import os
import platform
import runpy
import sys
from pathlib import Path

ONLY_NAMED = ("pages", "soak", "storm")
"""They take minutes, or all of the machine."""


def main(names: list[str]) -> None:
    folder = Path(__file__).parent
    tests = folder.parent / "tests"
    sys.path.insert(0, str(tests))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}")
    for path in sorted(folder.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if name in names or (not names and name not in ONLY_NAMED):
            print(f"\n{name}")
            runpy.run_path(str(path))["main"]()


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if not name.startswith("--")])
