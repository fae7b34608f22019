"""Brings a database to the schema this release speaks.

Laws: migrations are applied in order, each whole or not at all, by one process at a time; a migration that was
applied never changes; servers go on while a newer release migrates, unless a migration takes away what they still use,
which then says so (ADR 27); a database newer than the code is left alone.

A migration that takes something away (a column, a table, what a column may be) begins with `-- needs: 0025`: whoever
knows migration 25 does without it already. Every other one only adds.
"""

import hashlib
import re
from importlib import resources

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.values.errors import Refused

_LOCK = 4710_0001
"""Key of the advisory lock all processes of one database agree on."""

NEEDS = re.compile(r"-- needs: (\d{4})\n")
_TABLE = """
create table if not exists migrations (
    number     integer primary key,
    name       text not null,
    applied_at timestamptz not null default now(),
    digest     text not null
)"""


class Migration(Struct, frozen=True):
    """One numbered SQL file."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def needs(self) -> int | None:
        """The migration that whoever runs on this schema has to know; None: it only adds to the one before."""
        stated = NEEDS.match(self.sql)
        return int(stated[1]) if stated else None


class _Applied(Struct, frozen=True):
    name: str
    digest: str
    needs: int | None


def migrations() -> tuple[Migration, ...]:
    """Every migration this release carries, in order."""
    folder = resources.files("paygrade.postgres") / "migrations"
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    found = tuple(_read(name, (folder / name).read_text("utf-8")) for name in files)
    assert len({migration.number for migration in found}) == len(found), f"two migrations have one number: {files}"
    return found


async def migrate(database_url: str, known: tuple[Migration, ...] | None = None) -> tuple[str, ...]:
    """Apply what is missing and return the names applied; Refused when the database and the code disagree."""
    wanted = migrations() if known is None else known
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("select pg_advisory_lock(%s)", (_LOCK,))
        await connection.execute(_TABLE)
        missing = _missing(wanted, await _applied(connection))
        if missing:
            await connection.execute("alter table migrations add column if not exists needs integer")
        for migration in missing:
            await _apply(connection, migration)
        return tuple(migration.name for migration in missing)


async def pending(database_url: str) -> tuple[str, ...]:
    """The names `migrate` would apply now; Refused when the database and the code disagree."""
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        cursor = await connection.execute("select to_regclass('migrations') is not null")
        there = await cursor.fetchone()
        applied = await _applied(connection) if there == (True,) else {}
        return tuple(migration.name for migration in _missing(migrations(), applied))


def _read(name: str, sql: str) -> Migration:
    matched = re.match(r"([0-9]{4})_[a-z0-9_]+\.sql$", name)
    assert matched, f"`{name}` is not named like 0001_what_it_does.sql"
    return Migration(number=int(matched[1]), name=name.removesuffix(".sql"), sql=sql)


def _missing(wanted: tuple[Migration, ...], applied: dict[int, _Applied]) -> list[Migration]:
    by_number = {migration.number: migration for migration in wanted}
    newest = max(by_number, default=0)
    for number, its in applied.items():
        migration = by_number.get(number)
        if migration is None and (number < newest or (its.needs or 0) > newest):
            raise Refused(
                "database_newer",
                f"the database has migration `{its.name}`, which is newer than this release; run the newer release",
            )
        if migration is not None and migration.digest != its.digest:
            raise Refused(
                "migration_changed",
                f"migration `{its.name}` was applied with different content; restore the file and write a new one",
            )
    return [migration for migration in wanted if migration.number not in applied]


async def _applied(connection: AsyncConnection[TupleRow]) -> dict[int, _Applied]:
    # As JSON: a database that an older release has made lacks the column.
    cursor = await connection.execute(
        "select number, name, digest, (to_jsonb(migrations) ->> 'needs')::int from migrations order by number"
    )
    return {number: _Applied(*its) for number, *its in await cursor.fetchall()}


async def _apply(connection: AsyncConnection[TupleRow], migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql.encode())
        await connection.execute(
            "insert into migrations (number, name, digest, needs) values (%s, %s, %s, %s)",
            (migration.number, migration.name, migration.digest, migration.needs),
        )
