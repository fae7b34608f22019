"""Rows of quotes: what was said a plan change would do.

Law: a quote that is kept never changes.
"""

from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.changes.quote import Quote

_quotes = msgspec.json.Decoder(Quote)


class Quotes:
    """Quotes within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def save(self, quote: Quote) -> None:
        await self._connection.execute(
            """
            insert into quotes (account, id, account_version, catalog_version, digest, made_at, expires_at, body)
            values (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                quote.account,
                quote.id,
                quote.account_version,
                quote.catalog_version,
                quote.digest,
                quote.made_at,
                quote.expires_at,
                msgspec.json.encode(quote).decode(),
            ),
        )

    async def load(self, account: str, id: str) -> Quote | None:
        cursor = await self._connection.execute(
            "select body::text from quotes where account = %s and id = %s", (account, id)
        )
        row = await cursor.fetchone()
        return _quotes.decode(row[0]) if row else None

    async def purge(self, *, until: datetime) -> int:
        """Forget quotes that expired before an instant; returns how many."""
        cursor = await self._connection.execute("delete from quotes where expires_at < %s", (until,))
        return cursor.rowcount
