"""Rows of links to the customers' pages.

Law: of the secret in a link its SHA-256 is kept, and nobody is shown it.
"""

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple
from psycopg import AsyncConnection
from psycopg.rows import TupleRow


class SavedPortalSession(Struct, frozen=True, kw_only=True):
    """One link: whose pages it opens, for whom, and until when."""

    account: str
    id: str
    hash: str
    member: str | None
    return_url: str | None
    language: str | None
    created_at: datetime
    expires_at: datetime


_NAMES = SavedPortalSession.__struct_fields__


class PortalSessions:
    """Links to the customers' pages within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, **said: Any) -> None:
        """Enter one. Any: the fields of a SavedPortalSession."""
        await self._connection.execute(
            """
            insert into portal_sessions (account, id, hash, member, return_url, language, created_at, expires_at)
            values (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            astuple(SavedPortalSession(**said)),
        )

    async def open_one(self, hash: str, at: datetime) -> SavedPortalSession | None:
        """The one of this secret; None: there is none, or it is over."""
        cursor = await self._connection.execute(
            """
            select account, id, hash, member, return_url, language, created_at, expires_at
            from portal_sessions where hash = %s and expires_at > %s
            """,
            (hash, at),
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        values: dict[str, Any] = {  # Any: of every type
            name: value.astimezone(UTC) if isinstance(value, datetime) else value
            for name, value in zip(_NAMES, row, strict=True)
        }
        return SavedPortalSession(**values)

    async def end(self, account: str, id: str) -> bool:
        """Forget one; False: there is none."""
        cursor = await self._connection.execute(
            "delete from portal_sessions where account = %s and id = %s", (account, id)
        )
        return cursor.rowcount == 1

    async def purge(self, *, until: datetime) -> int:
        """Forget those that were over before an instant; returns how many."""
        cursor = await self._connection.execute("delete from portal_sessions where expires_at < %s", (until,))
        return cursor.rowcount
