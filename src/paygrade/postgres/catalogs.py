"""Rows of catalogs: every version ever published.

Law: a published version never changes; `resolved` is the catalog as it was parsed, so an old version reads the
same without the versions before it.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.catalog import Catalog

_catalogs = msgspec.json.Decoder(Catalog)
_LOCK = 4710_0002
"""Key of the advisory lock under which catalogs are published."""


class CatalogVersion(Struct, frozen=True):
    """Who published a version, and when. `digest` tells documents apart."""

    version: int
    digest: str
    published_at: datetime
    published_by: str


class SavedCatalog(Struct, frozen=True):
    """A published catalog, with the document it was parsed from."""

    catalog: Catalog
    document: dict[str, Any]
    published: CatalogVersion


class Catalogs:
    """Published catalogs within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def hold(self) -> None:
        """Keep others from publishing until the end of the transaction."""
        await self._connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))

    async def load(self, *, version: int | None = None, published_until: datetime | None = None) -> SavedCatalog | None:
        """The newest version, this one, or the one in force at an instant; None when there is none."""
        cursor = await self._connection.execute(
            """
            select version, digest, published_at, published_by, resolved::text, document::text from catalogs
            where (%(version)s::int is null or version = %(version)s)
              and (%(until)s::timestamptz is null or published_at <= %(until)s)
            order by version desc limit 1
            """,
            {"version": version, "until": published_until},
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        *published, resolved, document = row
        return SavedCatalog(_catalogs.decode(resolved), msgspec.json.decode(document), _version(published))

    async def versions(self) -> tuple[CatalogVersion, ...]:
        """Every version, the newest first."""
        cursor = await self._connection.execute(
            "select version, digest, published_at, published_by from catalogs order by version desc"
        )
        return tuple([_version(row) async for row in cursor])

    async def save(self, catalog: Catalog, *, document: dict[str, Any], digest: str, by: str, at: datetime) -> None:
        await self._connection.execute(
            """
            insert into catalogs (version, document, resolved, digest, published_at, published_by)
            select %(version)s, %(document)s, %(resolved)s, %(digest)s,
                   greatest(%(at)s, (select max(published_at) from catalogs)), %(by)s
            """,
            {
                "version": catalog.version,
                "document": msgspec.json.encode(document).decode(),
                "resolved": msgspec.json.encode(catalog).decode(),
                "digest": digest,
                "at": at,
                "by": by,
            },
        )


def _version(row: Any) -> CatalogVersion:
    version, digest, published_at, published_by = row
    return CatalogVersion(version, digest, published_at.astimezone(UTC), published_by)
