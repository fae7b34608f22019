"""Rows of rereads: customers who are read again since a catalog wants to know more of them than was read.

Laws: the latest catalog that wants to know more is the only one that is followed; how far it came is saved with the
marks that this made.
"""

from datetime import datetime

from paygrade.billing.drift import Reread
from paygrade.postgres.claims import Claims


class SavedReread(Reread, frozen=True):
    """A reread as saved, with what its claims need. `after`: the subject that was marked last."""

    after: str = ""
    attempts: int = 0
    fence: int = 0
    error: str | None = None


class Rereads(Claims[SavedReread]):
    """Rereads within one transaction."""

    TABLE = "rereads"
    KEY = ("catalog",)
    WAITING = (("finished_at is null", "catalog desc"),)
    OPEN = "finished_at is null"
    ROW = SavedReread
    COLUMNS = SavedReread.__struct_fields__
    FIXED = frozenset({"customers", "started_at"})

    async def customers(self) -> int:
        """How many customers there are of whom a provider has something to say from time to time."""
        cursor = await self._connection.execute(f"select count(*) from subjects where {_LIVE}")
        row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def start(self, catalog: int, *, customers: int, at: datetime) -> None:
        """Begin one, in the place of those that are under way."""
        await self._connection.execute("update rereads set finished_at = %s where finished_at is null", (at,))
        await self._connection.execute(
            "insert into rereads (catalog, customers, started_at) values (%s, %s, %s)", (catalog, customers, at)
        )

    async def following(self, after: str, *, limit: int) -> tuple[str, ...]:
        """The next customers after this one."""
        cursor = await self._connection.execute(
            f"select subject from subjects where {_LIVE} and subject > %s order by subject limit %s", (after, limit)
        )
        return tuple([subject async for (subject,) in cursor])

    async def latest(self) -> Reread | None:
        found = await self._seen(Reread, "true order by catalog desc limit 1", ())
        return found[0] if found else None


_LIVE = "account is not null and due_at is not null"
"""What is dated pays for something, or is about to: of all others there is nothing more to know."""
