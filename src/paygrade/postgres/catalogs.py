"""Rows of catalogs: every version ever published.

Law: a published version never changes; `resolved` is the catalog as it was parsed, so an old version reads the
same without the versions before it.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.catalog.model import NO_CATALOG, Catalog

_catalogs = msgspec.json.Decoder(Catalog)
_LOCK = 4710_0002
"""Key of the advisory lock under which catalogs are published."""


@lru_cache(maxsize=8)
def _read(resolved: str) -> Catalog:
    """A catalog never changes, and every fact is saved by the one in force: it is read once."""
    return _catalogs.decode(resolved)


class SavedCatalog(Struct, frozen=True):
    """A published catalog, with the document it was parsed from. `digest` tells documents apart."""

    catalog: Catalog
    document: dict[str, Any]
    digest: str
    published_at: datetime
    published_by: str


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
            select resolved::text, document::text, digest, published_at, published_by from catalogs
            where (%(version)s::int is null or version = %(version)s)
              and (%(until)s::timestamptz is null or published_at <= %(until)s)
            order by version desc limit 1
            """,
            {"version": version, "until": published_until},
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        resolved, document, digest, published_at, by = row
        catalog = _catalogs.decode(resolved)
        return SavedCatalog(catalog, msgspec.json.decode(document), digest, published_at, by)

    async def in_force(self, *, at: datetime | None = None) -> Catalog:
        """The newest version, or the one in force at an instant; an empty catalog before the first is published."""
        cursor = await self._connection.execute(
            """
            select resolved::text from catalogs where (%(until)s::timestamptz is null or published_at <= %(until)s)
            order by version desc limit 1
            """,
            {"until": at},
        )
        row = await cursor.fetchone()
        return _read(row[0]) if row else NO_CATALOG

    async def of(self, versions: Iterable[int]) -> dict[int, Catalog]:
        """These versions."""
        cursor = await self._connection.execute(
            "select version, resolved::text from catalogs where version = any(%s)", (sorted(set(versions)),)
        )
        return {version: _read(resolved) async for version, resolved in cursor}

    async def published(self) -> tuple[tuple[datetime, int], ...]:
        """When which version was published, the earliest first."""
        cursor = await self._connection.execute("select published_at, version from catalogs order by version")
        return tuple([row async for row in cursor])

    async def versions(self, *, before: int | None, limit: int) -> tuple[tuple[int, str, datetime, str], ...]:
        """Versions, the newest first: its digest, when it was published, by whom; with `before`, those before it."""
        cursor = await self._connection.execute(
            """
            select version, digest, published_at, published_by from catalogs
            where (%(before)s::bigint is null or version < %(before)s) order by version desc limit %(limit)s
            """,
            {"before": before, "limit": limit},
        )
        return tuple([row async for row in cursor])

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
