"""A plugin for the tests of an older release: what they migrate gets the schema of this one.

`NEWER` names the folder with the migrations of this release.
"""

import os
from pathlib import Path

import paygrade.postgres.migrate as older

_NEWER = Path(os.environ["NEWER"])


def _migrations() -> tuple[older.Migration, ...]:
    """As an older release would read them."""
    return tuple(
        older.Migration(number=int(path.name[:4]), name=path.stem, sql=path.read_text(encoding="utf-8"))
        for path in sorted(_NEWER.glob("*.sql"))
    )


older.migrations = _migrations
