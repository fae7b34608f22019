"""Rows of polls: up to when every billing event of a provider was seen.

Laws: one process polls at a time; the watermark never goes back, and moves only after everything below it is kept.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

_COLUMNS = "watermark, polled_at, every_s, seen, missed, error"


class SavedPoll(Struct, frozen=True):
    """How polling stands. `seen` and `missed` are of the latest finished poll."""

    watermark: datetime | None
    polled_at: datetime | None
    every_s: int
    seen: int
    missed: int
    error: str | None


class Polls:
    """Polls within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def claim(self, provider: str, *, lease_s: float) -> SavedPoll | None:
        """Take the poll when it is time and nobody has it."""
        await self._connection.execute("insert into polls (provider) values (%s) on conflict do nothing", (provider,))
        cursor = await self._connection.execute(
            f"""
            update polls set leased_until = clock_timestamp() + %s::interval
            where provider = %s and (next_at is null or next_at <= clock_timestamp())
              and (leased_until is null or leased_until <= clock_timestamp())
            returning {_COLUMNS}
            """,
            (timedelta(seconds=lease_s), provider),
        )
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def load(self, provider: str) -> SavedPoll | None:
        cursor = await self._connection.execute(f"select {_COLUMNS} from polls where provider = %s", (provider,))
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def hold(self, provider: str, *, lease_s: float) -> None:
        """Go on holding it."""
        await self._connection.execute(
            "update polls set leased_until = clock_timestamp() + %s::interval where provider = %s",
            (timedelta(seconds=lease_s), provider),
        )

    async def finish(self, provider: str, poll: SavedPoll) -> None:
        """Save what was found, and rest for as long as it says."""
        await self._connection.execute(
            """
            update polls set watermark = greatest(watermark, %s), polled_at = %s, every_s = %s, seen = %s, missed = %s,
                   error = null, leased_until = null, next_at = clock_timestamp() + %s::interval
            where provider = %s
            """,
            (
                poll.watermark,
                poll.polled_at,
                poll.every_s,
                poll.seen,
                poll.missed,
                timedelta(seconds=poll.every_s),
                provider,
            ),
        )

    async def fail(self, provider: str, *, error: str, retry_s: float) -> None:
        await self._connection.execute(
            """
            update polls set error = %s, leased_until = null, next_at = clock_timestamp() + %s::interval
            where provider = %s
            """,
            (error.replace("\0", ""), timedelta(seconds=retry_s), provider),
        )


def _saved(row: TupleRow) -> SavedPoll:
    return SavedPoll(*row)
