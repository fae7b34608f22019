"""Rows of polls: up to when every billing event of a provider was seen.

Law: the watermark moves only after everything below it is kept, and never back.
"""

from paygrade.billing.drift import Poll
from paygrade.postgres.claims import Candidate, Claims


class SavedPoll(Poll, frozen=True):
    """How the poll of a provider stands, with what its claims need."""

    provider: str
    attempts: int = 0
    fence: int = 0


class Polls(Claims[SavedPoll]):
    """Polls within one transaction."""

    TABLE = "polls"
    KEY = ("provider",)
    WAITING = (("provider = %(provider)s", "provider"),)
    ROW = SavedPoll
    COLUMNS = SavedPoll.__struct_fields__

    async def candidates(self, *, limit: int, **values: object) -> tuple[Candidate, ...]:
        """The provider's poll, if it is time; one of which there is nothing yet has never been polled."""
        # Only where there is none: beside a row that somebody is claiming even `do nothing` waits for who does.
        await self._connection.execute(
            """
            insert into polls (provider) select %(provider)s::text
            where not exists (select from polls where provider = %(provider)s) on conflict do nothing
            """,
            values,
        )
        return await super().candidates(limit=limit, **values)

    async def load(self, provider: str) -> Poll | None:
        found = await self._seen(Poll, "provider = %s", (provider,))
        return found[0] if found else None
