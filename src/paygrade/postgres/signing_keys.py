"""Rows of signing keys: what account tokens are signed with.

Laws: a number is entered once, by whoever comes first; the private key is read and written here, and shown nowhere.
"""

from datetime import UTC, datetime

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow


class SavedSigningKey(Struct, frozen=True):
    """One key. `private_key` is PKCS 8 in PEM; `kid` is its name, and `signs_from` when it begins to sign."""

    number: int
    kid: str
    private_key: str
    signs_from: datetime

    def __repr__(self) -> str:
        return f"SavedSigningKey({self.number}, {self.kid!r})"


class SigningKeys:
    """Signing keys within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def load(self) -> tuple[SavedSigningKey, ...]:
        """All there are, the oldest first."""
        cursor = await self._connection.execute(
            "select number, kid, private_key, signs_from from signing_keys order by number"
        )
        return tuple(
            [
                SavedSigningKey(number, kid, private_key, signs_from.astimezone(UTC))
                async for number, kid, private_key, signs_from in cursor
            ]
        )

    async def add(self, *, number: int, kid: str, private_key: str, signs_from: datetime) -> bool:
        """Enter one; False when another process has entered this number before."""
        cursor = await self._connection.execute(
            """
            insert into signing_keys (number, kid, private_key, signs_from) values (%s, %s, %s, %s)
            on conflict do nothing
            """,
            (number, kid, private_key, signs_from),
        )
        return cursor.rowcount == 1

    async def delete_before(self, number: int) -> None:
        """Delete those with a smaller number: what they have signed counts no more."""
        await self._connection.execute("delete from signing_keys where number < %s", (number,))
