"""Run every benchmark of this folder, one after the other, and print what machine it was.

Each `bench_*.py` has `main()`, which prints its rows; some have more of them with `--long`. Never run two at once: they
would measure each other.
"""

import os
import platform
import runpy
import sys
from pathlib import Path


def main(names: list[str]) -> None:
    folder = Path(__file__).parent
    tests = folder.parent / "tests"
    sys.path.insert(0, str(tests))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}")
    for path in sorted(folder.glob("bench_*.py")):
        if not names or path.stem.removeprefix("bench_") in names:
            print(f"\n{path.stem.removeprefix('bench_')}")
            runpy.run_path(str(path))["main"]()


if __name__ == "__main__":
    main([name for name in sys.argv[1:] if not name.startswith("--")])
