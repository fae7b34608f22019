"""Rows of API keys: who may ask, and what.

Law: of a secret its SHA-256 is kept, and enough of its end for people to recognize it.
"""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple, replace
from psycopg import AsyncConnection
from psycopg.rows import TupleRow


class SavedSecret(Struct, frozen=True):
    """One secret of a key. `hash` is its SHA-256 in hexadecimal; `ends_at` None: it has no successor."""

    hash: str
    hint: str
    created_at: datetime
    ends_at: datetime | None = None


class SavedApiKey(Struct, frozen=True, kw_only=True):
    """One key, with its `secrets`, the oldest first."""

    id: str
    name: str
    publishable: bool
    mode: str
    scopes: tuple[str, ...]
    role: str | None
    ip_ranges: tuple[str, ...]
    rate_limit: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    secrets: tuple[SavedSecret, ...]


_secrets = msgspec.json.Decoder(tuple[SavedSecret, ...])
_COLUMNS = ", ".join(SavedApiKey.__struct_fields__[:-1])


class ApiKeys:
    """API keys within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def hold(self) -> None:
        """Keep others from adding keys until the end of the transaction."""
        await self._connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))

    async def add(self, *, secret_hash: str, hint: str, **said: Any) -> SavedApiKey:
        """Enter a key with its first secret. Any: the fields of a SavedApiKey."""
        made = SavedApiKey(**said, secrets=(SavedSecret(secret_hash, hint, said["created_at"]),))
        places = ", ".join(["%s"] * len(made.__struct_fields__))
        *columns, secrets = astuple(made)
        await self._connection.execute(
            f"insert into api_keys ({_COLUMNS}, secrets) values ({places})",
            [list(value) if isinstance(value, tuple) else value for value in columns] + [_written(secrets)],
        )
        return made

    async def lock(self, id: str) -> SavedApiKey | None:
        """One key, which nobody else changes until the end of the transaction."""
        found = await self._load("where id = %s for update", id)
        return found[0] if found else None

    async def load(self, id: str) -> SavedApiKey | None:
        found = await self._load("where id = %s", id)
        return found[0] if found else None

    async def page(self, *, after: str, limit: int, state: str | None, at: datetime) -> tuple[SavedApiKey, ...]:
        """Those in a state, or all that ever were, by id, which is the order they were made in."""
        its_state = (
            "case when revoked_at is not null then 'revoked' when expires_at <= %s then 'expired' else 'active' end"
        )
        return await self._load(
            f"where id > %s and (%s::text is null or {its_state} = %s) order by id limit %s",
            after, state, at, state, limit,
        )  # fmt: skip

    async def count_live(self, at: datetime) -> int:
        """How many count now."""
        cursor = await self._connection.execute(
            "select count(*) from api_keys where revoked_at is null and (expires_at is null or expires_at > %s)", (at,)
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else 0

    async def live(self, *, since: datetime, limit: int) -> tuple[SavedApiKey, ...]:
        """Those that count, or did since an instant; not those that were revoked."""
        return await self._load(
            "where revoked_at is null and (expires_at is null or expires_at > %s) "
            "order by expires_at desc nulls first limit %s",
            since,
            limit,
        )

    async def save(self, key: SavedApiKey, *, secret_hash: str, hint: str, at: datetime) -> SavedApiKey:
        """Write what changes of a key, its end and its secrets, with a new secret; returns it."""
        grown = replace(key, secrets=(*key.secrets, SavedSecret(secret_hash, hint, at)))
        await self._connection.execute(
            "update api_keys set expires_at = %s, secrets = %s where id = %s",
            (key.expires_at, _written(grown.secrets), key.id),
        )
        return grown

    async def revoke(self, id: str, at: datetime) -> None:
        await self._connection.execute("update api_keys set revoked_at = %s where id = %s", (at, id))

    async def note_use(self, ids: Collection[str], at: datetime) -> None:
        """Write down when these were used last."""
        await self._connection.execute(
            "update api_keys set last_used_at = %s where id = any(%s) and (last_used_at is null or last_used_at < %s)",
            (at, list(ids), at),
        )

    async def _load(self, which: str, *arguments: object) -> tuple[SavedApiKey, ...]:
        query: Any = f"select {_COLUMNS}, secrets::text from api_keys {which}"  # Any: not a literal
        cursor = await self._connection.execute(query, arguments)
        return tuple([_read(row) async for row in cursor])


_LOCK = 4710_0018
"""Key of the advisory lock under which keys are added."""


def _written(secrets: Collection[SavedSecret]) -> str:
    return msgspec.json.encode(secrets).decode()


def _read(row: TupleRow) -> SavedApiKey:
    *columns, secrets = row
    values: dict[str, Any] = {  # Any: of every type
        name: tuple(value)
        if isinstance(value, list)
        else value.astimezone(UTC)
        if isinstance(value, datetime)
        else value
        for name, value in zip(SavedApiKey.__struct_fields__, columns, strict=False)
    }
    return SavedApiKey(**values, secrets=_secrets.decode(secrets))
