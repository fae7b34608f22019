"""Rows of polls: up to when every billing event of a provider was seen.

Law: the watermark moves only after everything below it is kept, and never back.
"""

from datetime import datetime

from msgspec import Struct

from paygrade.postgres.claims import Candidate, Claims


class SavedPoll(Struct, frozen=True):
    """How polling stands. `seen` and `missed` are of the latest finished poll."""

    provider: str
    watermark: datetime | None
    polled_at: datetime | None
    every_s: int
    seen: int
    missed: int
    error: str | None
    attempts: int
    fence: int


class Polls(Claims[SavedPoll]):
    """Polls within one transaction."""

    TABLE = "polls"
    KEY = ("provider",)
    WAITING = (("provider = %(provider)s", "provider"),)
    ROW = SavedPoll
    COLUMNS = SavedPoll.__struct_fields__

    async def candidates(self, *, limit: int, **values: object) -> tuple[Candidate, ...]:
        """The provider's poll, if it is time; one of which there is nothing yet has never been polled."""
        await self._connection.execute(
            "insert into polls (provider) values (%(provider)s) on conflict do nothing", values
        )
        return await super().candidates(limit=limit, **values)

    async def load(self, provider: str) -> SavedPoll | None:
        return await self._one("provider = %s", (provider,))
