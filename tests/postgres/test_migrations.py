"""Migrations on real PostgreSQL."""

import asyncio
import re

import psycopg
import pytest
from msgspec.structs import replace

from paygrade.postgres.migrate import Migration, migrate, migrations, pending
from paygrade.values.errors import Refused

pytestmark = pytest.mark.anyio

FIRST = Migration(1, "0001_first", "create table first (id int)")
SECOND = Migration(2, "0002_second", "create table second (id int); insert into second values (1)")


def tables(database_url: str) -> set[str]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    return {name for (name,) in rows}


async def test_an_empty_database_gets_every_migration_once(empty_database_url: str) -> None:
    names = tuple(migration.name for migration in migrations())
    assert await pending(empty_database_url) == names
    assert await migrate(empty_database_url) == names
    assert await migrate(empty_database_url) == ()
    assert await pending(empty_database_url) == ()
    assert {"accounts", "facts", "subjects", "inbox", "catalogs"} <= tables(empty_database_url)


async def test_only_what_is_missing_is_applied(empty_database_url: str) -> None:
    await migrate(empty_database_url, (FIRST,))
    assert await migrate(empty_database_url, (FIRST, SECOND)) == ("0002_second",)


async def test_several_processes_may_migrate_at_once(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    assert sorted(map(len, applied)) == [0, 0, 0, len(migrations())]


async def test_a_migration_changed_after_it_was_applied_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url, (FIRST,))
    with pytest.raises(Refused) as refused:
        await migrate(empty_database_url, (replace(FIRST, sql="create table other (id int)"), SECOND))
    assert refused.value.code == "migration_changed"
    assert "second" not in tables(empty_database_url)


async def test_who_knows_an_older_schema_goes_on_while_a_newer_one_only_adds(empty_database_url: str) -> None:
    await migrate(empty_database_url, (FIRST, SECOND))
    assert await migrate(empty_database_url, (FIRST,)) == ()
    assert "second" in tables(empty_database_url)


async def test_who_still_uses_what_a_newer_migration_takes_away_is_refused(empty_database_url: str) -> None:
    third = Migration(3, "0003_third", "-- needs: 0002\ndrop table first")
    await migrate(empty_database_url, (FIRST, SECOND))
    await migrate(empty_database_url, (FIRST, SECOND, third))
    assert await migrate(empty_database_url, (FIRST, SECOND)) == ()
    with pytest.raises(Refused) as refused:
        await migrate(empty_database_url, (FIRST,))
    assert refused.value.code == "database_newer"
    assert "0003_third" in refused.value.detail


async def test_a_migration_of_another_branch_is_refused(empty_database_url: str) -> None:
    await migrate(empty_database_url, (FIRST,))
    with pytest.raises(Refused) as refused:
        await migrate(empty_database_url, (SECOND,))
    assert refused.value.code == "database_newer"


async def test_a_database_that_an_older_release_migrated_learns_what_its_migrations_need(
    empty_database_url: str,
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(
            "create table migrations (number integer primary key, name text not null,"
            " applied_at timestamptz not null default now(), digest text not null)"
        )
        connection.execute(
            "insert into migrations (number, name, digest) values (1, '0001_first', %s)", (FIRST.digest,)
        )
    assert await migrate(empty_database_url, (FIRST, SECOND)) == ("0002_second",)


TAKES_AWAY = re.compile(
    r"\bdrop\s+(table|column|constraint|not\s+null|default|type)|\brename\b|\bset\s+not\s+null|\balter\s+(column\s+)?\w+\s+type|"
    r"\badd\s+column\s+(?!if\b)[^,;]*\bnot\s+null(?![^,;]*\bdefault\b)(?![^,;]*\bgenerated\b)",
    re.IGNORECASE,
)
RELEASED_WITH = 15
"""Nobody runs a release that knows fewer migrations than this."""


def takes_away(migration: Migration) -> bool:
    return TAKES_AWAY.search(re.sub(r"--[^\n]*", "", migration.sql)) is not None


def test_a_migration_that_takes_something_away_says_who_does_without_it() -> None:
    silent = [its.name for its in migrations() if its.number > RELEASED_WITH and takes_away(its) and its.needs is None]
    assert not silent, "begin it with `-- needs: NNNN`, the migration since which nothing uses it (docs/deploy.md)"
    for its in migrations():
        assert its.needs is None or its.needs < its.number


@pytest.mark.parametrize(
    ("statement", "takes"),
    [
        ("alter table accounts drop column name", True),
        ("alter table accounts rename column name to title", True),
        ("alter table accounts add column size int not null", True),
        ("alter table accounts alter size type bigint", True),
        ("alter table accounts alter size set not null", True),
        ("drop table accounts", True),
        ("alter table accounts add column size int not null default 0", False),
        ("alter table accounts add column size int", False),
        ("create table sizes (size int not null)", False),
        ("create index on accounts (size) -- drop table", False),
    ],
)
def test_what_takes_something_away_is_told_from_what_adds(statement: str, takes: bool) -> None:
    assert takes_away(Migration(99, "0099_some", statement)) is takes


async def test_a_database_newer_than_the_code_is_left_alone(empty_database_url: str) -> None:
    await migrate(empty_database_url, (FIRST, replace(SECOND, sql=f"-- needs: 0002\n{SECOND.sql}")))
    with pytest.raises(Refused) as refused:
        await migrate(empty_database_url, (FIRST,))
    assert refused.value.code == "database_newer"


async def test_a_migration_that_fails_leaves_nothing_of_itself(empty_database_url: str) -> None:
    broken = replace(SECOND, sql="create table second (id int); select nonsense")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        await migrate(empty_database_url, (FIRST, broken))
    assert tables(empty_database_url) == {"migrations", "first"}
    assert await migrate(empty_database_url, (FIRST, SECOND)) == ("0002_second",)


def test_the_primary_key_of_every_table_begins_with_its_account_or_subject(empty_database_url: str) -> None:
    asyncio.run(migrate(empty_database_url))
    with psycopg.connect(empty_database_url) as connection:
        rows = connection.execute(
            """
            select c.relname, a.attname from pg_index i
            join pg_class c on c.oid = i.indrelid join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
            where i.indisprimary and n.nspname = 'public'
            """
        ).fetchall()
    leading: dict[str, str] = dict(rows)
    # What every account reads, what is about the provider, and what is about the database itself.
    assert leading.pop("catalogs") == "version"
    assert leading.pop("signing_keys") == "number"
    assert leading.pop("idempotency_keys") == "actor"
    assert leading.pop("api_keys") == "id"
    assert leading.pop("people") == "id"
    assert leading.pop("sessions") == "hash"
    assert leading.pop("used_log_ins") == "state"
    assert leading.pop("polls") == "provider"
    assert leading.pop("catalog_checks") == "provider"
    assert leading.pop("rereads") == "catalog"
    assert leading.pop("audit_streams") == "stream"
    assert leading.pop("reporting") == "provider"
    assert leading.pop("sweeps") == "id"
    assert leading.pop("plan_migrations") == "id"
    assert leading.pop("announced_ends") == "what"
    assert leading.pop("webhook_endpoints") == "id"
    assert leading.pop("migrations") == "number"
    assert set(leading.values()) == {"account", "subject"}
