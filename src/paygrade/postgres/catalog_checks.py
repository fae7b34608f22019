"""Rows of catalog checks: how the catalog and what a provider sells compared when they were compared last."""

from datetime import datetime
from typing import Any, ClassVar

from msgspec import Struct

from paygrade.postgres.claims import Candidate, Claims
from paygrade.updates.types import FindingUpdate


class SavedCatalogCheck(Struct, frozen=True):
    """What differed at a provider, with what its claims need. `checked_at` None: they were never compared."""

    provider: str
    checked_at: datetime | None
    found: tuple[FindingUpdate, ...]
    attempts: int = 0
    fence: int = 0
    error: str | None = None


class CatalogChecks(Claims[SavedCatalogCheck]):
    """Catalog checks within one transaction."""

    TABLE = "catalog_checks"
    KEY = ("provider",)
    WAITING = (("provider = %(provider)s", "provider"),)
    ROW = SavedCatalogCheck
    COLUMNS = SavedCatalogCheck.__struct_fields__
    # Any: msgspec takes every type.
    JSON: ClassVar[dict[str, Any]] = {"found": tuple[FindingUpdate, ...]}

    async def candidates(self, *, limit: int, **values: object) -> tuple[Candidate, ...]:
        """The provider's check, if it is time; one of which there is nothing yet has never been made."""
        # Only where there is none: beside a row that somebody is claiming even `do nothing` waits for who does.
        await self._connection.execute(
            """
            insert into catalog_checks (provider) select %(provider)s::text
            where not exists (select from catalog_checks where provider = %(provider)s) on conflict do nothing
            """,
            values,
        )
        return await super().candidates(limit=limit, **values)
