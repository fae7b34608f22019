"""What waits, of any number of tables, in one statement: so that looking often costs next to nothing.

Law: nothing is claimed or locked by looking; who is told that something waits looks for themselves.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

_NAMED = re.compile(r"%\((?!at\)|living\))(\w+)\)s")

Condition = tuple[str, Mapping[str, object]]
"""Whether something waits, as SQL, and the values it names beside `at` and `living`."""


class Waits:
    """What waits, within one transaction. `holder`: the session that holds what this process has claimed, if any."""

    def __init__(self, connection: AsyncConnection[TupleRow], *, holder: int | None) -> None:
        self._connection = connection
        self._living = [] if holder is None else [holder]

    async def look(self, conditions: Mapping[str, Condition], *, at: datetime) -> frozenset[str]:
        """The names of the conditions that are true by the billing clock `at`."""
        values = {
            f"{number}_{name}": value
            for number, (_, its) in enumerate(conditions.values())
            for name, value in its.items()
        }
        cursor = await self._connection.execute(
            _in_one(tuple([condition for condition, _ in conditions.values()])),
            {"at": at, "living": self._living, **values},
        )
        row = await cursor.fetchone()
        assert row is not None
        return frozenset(name for name, waits in zip(conditions, row, strict=True) if waits)


@lru_cache(maxsize=16)
def _in_one(conditions: tuple[str, ...]) -> str:
    """Each with its values under names of its own: those of two may differ."""
    numbered = (_NAMED.sub(rf"%({number}_\1)s", condition) for number, condition in enumerate(conditions))
    return f"select {', '.join(numbered)}"
