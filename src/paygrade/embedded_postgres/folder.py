"""Makes the embedded database's folder ours alone, and tells which user PostgreSQL runs as.

Laws (ADR 0001):
- A folder with other files in it, or of another user, is refused and left as it was.
- No folder but our own changes hands or permissions; those made on the way to it can be passed by others.
"""

import contextlib
import os
import pwd
import stat
from pathlib import Path

from paygrade.embedded_postgres.binaries import RunAs, run_program
from paygrade.values.errors import Unavailable

UNPRIVILEGED_USERS = ("postgres", "_postgres", "nobody")
OUR_FILES = {
    "cluster",
    "server.log",
    "server.log.1",
    "starting.lock",
    "owner.lock",
    "running.lock",
    ".s.PGSQL.5432",
    ".s.PGSQL.5432.lock",
    "lost+found",  # stands in a fresh volume
}


def default_data_dir() -> Path:
    """Return where the embedded database lives when nobody says otherwise."""
    if os.geteuid() == 0:
        # Not below root's home: PostgreSQL runs as an unprivileged user, who cannot enter it.
        return Path("/var/lib/paygrade/postgres")
    data_home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data_home) if data_home.startswith("/") else Path.home() / ".local" / "share"
    return base / "paygrade" / "postgres"


def claim_folder(data_dir: Path) -> RunAs | None:
    """Make the data folder ours and private, and tell who PostgreSQL is to run as: None for ourselves."""
    _make_folder(data_dir, mode=0o700)
    found = data_dir.stat()
    if os.geteuid() not in (0, found.st_uid):
        raise Unavailable(
            "embedded_folder_foreign",
            f"`{data_dir}` belongs to the user with id {found.st_uid}; run as that user, or name another folder"
            " in PAYGRADE_DATA_DIR",
        )
    if not _looks_like_ours(set(os.listdir(data_dir))):
        raise Unavailable(
            "embedded_folder_foreign",
            f"`{data_dir}` holds other files; name an empty or a new folder in PAYGRADE_DATA_DIR",
        )
    run_as = None
    if os.geteuid() == 0:
        run_as = _unprivileged_user(found.st_uid)
        _check_reachable(data_dir, run_as)
        os.chown(data_dir, run_as.uid, run_as.gid, follow_symlinks=False)
    if stat.S_IMODE(found.st_mode) != 0o700:
        data_dir.chmod(0o700)
    return run_as


def _looks_like_ours(names: set[str]) -> bool:
    return "cluster" in names or all(name in OUR_FILES or name.startswith("cluster.") for name in names)


def _check_reachable(data_dir: Path, run_as: RunAs) -> None:
    if run_program(["/bin/sh", "-c", 'cd "$1"', "sh", str(data_dir.parent)], run_as).returncode != 0:
        raise Unavailable(
            "embedded_folder_unreachable",
            f"PostgreSQL does not run as root, and the user with id {run_as.uid} cannot enter `{data_dir.parent}`,"
            " a private folder; name another in PAYGRADE_DATA_DIR, `/var/lib/paygrade/postgres` say",
        )


def _make_folder(folder: Path, *, mode: int) -> None:
    """Make `folder`, and whatever is missing above it so that others can pass; leave alone what exists."""
    if folder.exists():
        return
    _make_folder(folder.parent, mode=0o755)
    folder.mkdir(mode=mode, exist_ok=True)
    if os.geteuid() == 0:
        # Root's umask may be strict, and PostgreSQL must pass as another user.
        folder.chmod(mode)


def _unprivileged_user(folder_owner: int) -> RunAs:
    if folder_owner != 0:
        try:
            return RunAs(uid=folder_owner, gid=pwd.getpwuid(folder_owner).pw_gid)
        except KeyError:
            return RunAs(uid=folder_owner, gid=folder_owner)
    for name in UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return RunAs(uid=user.pw_uid, gid=user.pw_gid)
    raise Unavailable(
        "embedded_user_missing",
        "PostgreSQL does not run as root and this machine has neither a user `postgres` nor `nobody`;"
        " add one, or run Paygrade as an ordinary user",
    )


def open_ours(path: Path, run_as: RunAs | None) -> int:
    """Open a file of the data folder, which belongs to the user PostgreSQL runs as."""
    # O_NOFOLLOW: that user could have put a link there, and we may be root.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if run_as is not None:
        os.fchown(descriptor, run_as.uid, run_as.gid)
    return descriptor
