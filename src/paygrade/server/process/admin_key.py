"""The admin key of an embedded database: made once, kept in the data folder, readable by its owner only."""

import os
import secrets
import time
from pathlib import Path

FILE_NAME = "admin_key"
WAIT_S = 1.0


def kept_key(data_dir: Path) -> tuple[str, bool]:
    """The key kept in `data_dir`, made on first use; and whether this was it."""
    while True:
        try:
            return _make(data_dir / FILE_NAME), True
        except FileExistsError:
            found = _wait_for(data_dir)
        if found is not None:
            return found, False
        # Whoever made the file died before writing the key.
        (data_dir / FILE_NAME).unlink(missing_ok=True)


def stored_key(data_dir: Path) -> str | None:
    """The key kept in `data_dir`; None when there is none, or none for us."""
    try:
        descriptor = os.open(data_dir / FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(descriptor) as file:
        return file.read().strip() or None


def _make(path: Path) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        made = f"sk_{secrets.token_urlsafe(24)}"
        file.write(made + "\n")
    return made


def _wait_for(data_dir: Path) -> str | None:
    give_up_at = time.monotonic() + WAIT_S
    while time.monotonic() < give_up_at:
        found = stored_key(data_dir)
        if found is not None:
            return found
        time.sleep(0.01)
    return None
