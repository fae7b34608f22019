"""Rows of people who log in, and of their sessions.

Law: of a session its SHA-256 is kept, of a password what Argon2id made of it; nobody is shown either.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple
from psycopg import AsyncConnection
from psycopg.rows import TupleRow


class SavedPerson(Struct, frozen=True, kw_only=True):
    """One person. `failures`: attempts in a row that did not end in a session; `retry_at`: no attempt before. Who comes
    from a provider is its `subject`, has no password, and `email` is not theirs but their id; `claimed_email` is what
    the provider says. `must_change`: they need a password of their own first."""

    id: str
    email: str
    name: str
    role: str
    password_hash: str
    totp_secret: str | None
    totp_step: int = 0
    failures: int = 0
    retry_at: datetime | None = None
    created_at: datetime
    created_by: str
    seen_at: datetime | None = None
    issuer: str | None = None
    subject: str | None = None
    claimed_email: str | None = None
    must_change: bool = False

    def __repr__(self) -> str:
        return f"SavedPerson({self.id!r}, {self.role!r})"


_NAMES = SavedPerson.__struct_fields__
_COLUMNS = ", ".join(_NAMES)


class People:
    """People and their sessions within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, **said: Any) -> bool:
        """Enter one; False where somebody has this e-mail address, or is this subject. Any: the fields of a
        SavedPerson."""
        query: Any = (  # Any: not a literal
            f"insert into people ({_COLUMNS}) values ({', '.join(['%s'] * len(_NAMES))}) on conflict do nothing"
        )
        cursor = await self._connection.execute(query, astuple(SavedPerson(**said)))
        return cursor.rowcount == 1

    async def by_email(self, email: str) -> SavedPerson | None:
        """The person of this address, whom nobody else changes until the end of the transaction."""
        return await self._one("where email = %s for update", email)

    async def of_provider(self, issuer: str, subject: str) -> SavedPerson | None:
        """Who this is, whom nobody else changes until the end of the transaction."""
        return await self._one("where issuer = %s and subject = %s for update", issuer, subject)

    async def use_log_in(self, state: str, at: datetime, *, kept_since: datetime) -> bool:
        """Use the state of a log-in; False where it was used before. Those before `kept_since` are forgotten."""
        await self._connection.execute("delete from used_log_ins where used_at < %s", (kept_since,))
        cursor = await self._connection.execute(
            "insert into used_log_ins (state, used_at) values (%s, %s) on conflict do nothing", (state, at)
        )
        return cursor.rowcount == 1

    async def lock(self, id: str) -> SavedPerson | None:
        return await self._one("where id = %s for update", id)

    async def hold(self, id: str) -> SavedPerson | None:
        """Somebody who is neither changed nor removed until this transaction ends; others may hold them, too."""
        return await self._one("where id = %s for share", id)

    async def page(self, *, after: str, limit: int) -> tuple[SavedPerson, ...]:
        return await self._load("where id > %s order by id limit %s", after, limit)

    async def save(self, person: SavedPerson) -> None:
        """Write what changes of a person."""
        await self._connection.execute(
            """
            update people set name = %s, claimed_email = %s, must_change = %s, role = %s, password_hash = %s,
                totp_secret = %s, totp_step = %s, failures = %s,
                retry_at = %s, seen_at = %s where id = %s
            """,
            (person.name, person.claimed_email, person.must_change, person.role, person.password_hash,
             person.totp_secret, person.totp_step, person.failures, person.retry_at, person.seen_at, person.id),
        )  # fmt: skip

    async def remove(self, id: str) -> None:
        await self.close_all(id)
        await self._connection.execute("delete from people where id = %s", (id,))

    async def open(self, hash: str, *, person: str, at: datetime, until: datetime) -> None:
        """Begin a session. Those of this person that have ended are forgotten."""
        await self._connection.execute("delete from sessions where person = %s and expires_at <= %s", (person, at))
        await self._connection.execute(
            "insert into sessions (hash, person, created_at, expires_at) values (%s, %s, %s, %s)",
            (hash, person, at, until),
        )

    async def of_session(self, hash: str, at: datetime) -> tuple[SavedPerson, datetime] | None:
        """Whose session this is, and until when; None: nobody's any more."""
        cursor = await self._connection.execute(
            "select person, expires_at from sessions where hash = %s and expires_at > %s", (hash, at)
        )
        row = await cursor.fetchone()
        found = await self._one("where id = %s", row[0]) if row is not None else None
        return (found, row[1].astimezone(UTC)) if found is not None and row is not None else None

    async def close(self, hash: str) -> None:
        await self._connection.execute("delete from sessions where hash = %s", (hash,))

    async def prolong(self, hash: str, by: timedelta) -> None:
        """Let a session end so much later."""
        await self._connection.execute("update sessions set expires_at = expires_at + %s where hash = %s", (by, hash))

    async def close_all(self, person: str, *, but: str = "") -> None:
        """End their sessions; of `but`, its hash, the one that stays."""
        await self._connection.execute("delete from sessions where person = %s and hash <> %s", (person, but))

    async def _one(self, which: str, *arguments: object) -> SavedPerson | None:
        found = await self._load(which, *arguments)
        return found[0] if found else None

    async def _load(self, which: str, *arguments: object) -> tuple[SavedPerson, ...]:
        query: Any = f"select {_COLUMNS} from people {which}"  # Any: not a literal
        cursor = await self._connection.execute(query, arguments)
        return tuple([_read(row) async for row in cursor])


def _read(row: TupleRow) -> SavedPerson:
    values: dict[str, Any] = {  # Any: of every type
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in zip(_NAMES, row, strict=True)
    }
    return SavedPerson(**values)
