"""Rows of migrations from one version of a plan to another, and of the accounts in them.

Laws: of a plan there is one unfinished migration at most; an account's status is saved in the transaction that states
its pin, so a migration that was killed goes on where it was; who moves an account holds its row here first, then the
account.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Literal

from msgspec import Struct
from psycopg.rows import TupleRow

from paygrade.billing.facts import Pin
from paygrade.changes.version_migration import MovedAccount, MoveStatus, VersionMigration
from paygrade.postgres.claims import Candidate, Claims

_COLUMNS = """
    id, plan, from_version, to_version, effective_at, reason, direction, paused, started_at, started_by, finished_at
"""

Direction = Literal["forward", "back"]


class SavedMigration(Struct, frozen=True):
    """A migration as saved. `direction` back: it is being rolled back, or was."""

    id: int
    move: VersionMigration
    direction: Direction
    paused: bool
    started_at: datetime
    started_by: str
    finished_at: datetime | None


class SavedMove(MovedAccount, frozen=True):
    """One account of a migration. `before` None: there was no pin. `fact` None: nothing had to be said."""

    migration: int
    before: Pin | None
    fact: int | None
    attempts: int
    fence: int


_WAITS = """
    migration = %(migration)s and status = (
        select case direction when 'forward' then 'waiting' else 'done' end from plan_migrations m
        where m.id = %(migration)s and not m.paused and m.finished_at is null)
"""


class PlanMigrations(Claims[SavedMove]):
    """Migrations within one transaction. What is claimed are the accounts that are still to be moved, or moved back."""

    TABLE = "plan_migration_accounts"
    KEY = ("account", "migration")
    WAITING = ((_WAITS, "account"),)
    OPEN = _WAITS
    ROW = SavedMove
    COLUMNS = SavedMove.__struct_fields__
    JSON: ClassVar = {"before": Pin}

    async def start(self, move: VersionMigration, *, by: str, at: datetime) -> int | None:
        """Begin a migration; its id, None when one of the plan is unfinished."""
        cursor = await self._connection.execute(
            """
            insert into plan_migrations
                (plan, from_version, to_version, effective_at, reason, started_at, started_by)
            values (%s, %s, %s, %s, %s, %s, %s)
            on conflict (plan) where finished_at is null do nothing returning id
            """,
            (move.plan, move.from_version, move.to_version, move.at, move.reason, at, by),
        )
        row = await cursor.fetchone()
        return row[0] if row else None

    async def add(self, id: int, accounts: Iterable[str]) -> None:
        await self._connection.execute(
            """
            insert into plan_migration_accounts (account, migration)
            select unnest(%s::text[]), %s on conflict do nothing
            """,
            (sorted(set(accounts)), id),
        )

    async def load(self, id: int, *, lock: bool = False) -> SavedMigration | None:
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from plan_migrations where id = %s{' for update' if lock else ''}", (id,)
        )
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def page(self, *, before: int | None = None, limit: int) -> tuple[SavedMigration, ...]:
        """The latest first; with `before`, those with a smaller id."""
        cursor = await self._connection.execute(
            f"""
            select {_COLUMNS} from plan_migrations where (%(before)s::bigint is null or id < %(before)s)
            order by id desc limit %(limit)s
            """,
            {"before": before, "limit": limit},
        )
        return tuple([_saved(row) async for row in cursor])

    async def unfinished(self) -> tuple[SavedMigration, ...]:
        """Those under way that do not pause, the oldest first."""
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from plan_migrations where finished_at is null and not paused order by id"
        )
        return tuple([_saved(row) async for row in cursor])

    async def pause(self, id: int, *, paused: bool) -> None:
        await self._connection.execute("update plan_migrations set paused = %s where id = %s", (paused, id))

    async def turn_back(self, id: int) -> None:
        """Have what was done undone, and nothing more done."""
        await self._connection.execute(
            "update plan_migrations set direction = 'back', paused = false, finished_at = null where id = %s", (id,)
        )
        await self._connection.execute(
            """
            update plan_migration_accounts set status = 'skipped', reason = 'rolled_back_before'
            where migration = %s and status = 'waiting'
            """,
            (id,),
        )

    def waits(self) -> str:
        """Whether a migration is under way, as SQL; `candidates` says of which accounts."""
        return "exists (select from plan_migrations where finished_at is null and not paused)"

    async def candidates(self, *, limit: int, **values: object) -> tuple[Candidate, ...]:
        """Accounts that are still to be moved, or moved back, those of the oldest migration first."""
        found: tuple[Candidate, ...] = ()
        for migration in await self.unfinished():
            found += await super().candidates(limit=limit - len(found), migration=migration.id, **values)
        return found

    async def finish(self, migration: SavedMigration, *, at: datetime) -> bool:
        """End it if nothing is left to do."""
        cursor = await self._connection.execute(
            """
            update plan_migrations m set finished_at = %s
            where id = %s and direction = %s and not paused and finished_at is null and not exists (
                  select from plan_migration_accounts a where a.migration = m.id and a.status = %s)
            """,
            (at, migration.id, migration.direction, _TO_DO[migration.direction]),
        )
        return cursor.rowcount == 1

    async def counts(self, ids: Iterable[int]) -> dict[int, dict[str, int]]:
        """How many accounts of each migration have which status."""
        cursor = await self._connection.execute(
            """
            select migration, status, count(*) from plan_migration_accounts where migration = any(%s) group by 1, 2
            """,
            (list(ids),),
        )
        found: dict[int, dict[str, int]] = {}
        async for id, status, count in cursor:
            found.setdefault(id, {})[status] = count
        return found

    async def accounts(self, id: int, *, status: str | None, after: str, limit: int) -> tuple[MovedAccount, ...]:
        return await self._seen(
            MovedAccount,
            """
            migration = %(id)s and (%(status)s::text is null or status = %(status)s) and account > %(after)s
            order by account limit %(limit)s
            """,
            {"id": id, "status": status, "after": after, "limit": limit},
        )


_TO_DO: dict[Direction, MoveStatus] = {"forward": "waiting", "back": "done"}


def _saved(row: TupleRow) -> SavedMigration:
    id, plan, from_version, to_version, effective_at, reason, direction, paused, started_at, by, finished_at = row
    return SavedMigration(
        id,
        VersionMigration(plan=plan, from_version=from_version, to_version=to_version, at=effective_at, reason=reason),
        direction,
        paused,
        started_at,
        by,
        finished_at,
    )
