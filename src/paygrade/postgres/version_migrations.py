"""Rows of migrations from one version of a plan to another, and of the accounts in them.

Laws: of a plan there is one unfinished migration at most; an account's status is saved in the transaction that states
its pin, so a migration that was killed goes on where it was; who moves an account holds its row here first, then the
account.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.billing.facts import Pin
from paygrade.changes.version_migration import VersionMigration

_pins = msgspec.json.Decoder(Pin)
_COLUMNS = """
    id, plan, from_version, to_version, effective_at, reason, direction, paused, started_at, started_by, finished_at
"""

Direction = Literal["forward", "back"]
MoveStatus = Literal["waiting", "done", "skipped", "rolled_back"]


class SavedMigration(Struct, frozen=True):
    """A migration as saved. `direction` back: it is being rolled back, or was."""

    id: int
    move: VersionMigration
    direction: Direction
    paused: bool
    started_at: datetime
    started_by: str
    finished_at: datetime | None


class SavedMove(Struct, frozen=True):
    """One account of a migration. `before` None: there was no pin. `fact` None: nothing had to be said."""

    account: str
    status: MoveStatus
    reason: str | None
    before: Pin | None
    fact: int | None


class PlanMigrations:
    """Migrations within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

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

    async def page(self, *, limit: int) -> tuple[SavedMigration, ...]:
        """The latest first."""
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from plan_migrations order by id desc limit %s", (limit,)
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

    async def take(self, migration: SavedMigration) -> SavedMove | None:
        """Hold an account that is still to be moved, or moved back, and that nobody else holds; None: there is none.

        None too when the migration was paused, or turned, since it was loaded."""
        cursor = await self._connection.execute(
            """
            select a.account, a.status, a.reason, a.before::text, a.fact from plan_migration_accounts a
            join plan_migrations m on m.id = a.migration
            where a.migration = %s and a.status = %s
              and m.direction = %s and not m.paused and m.finished_at is null
            order by a.account limit 1 for update of a skip locked
            """,
            (migration.id, _TO_DO[migration.direction], migration.direction),
        )
        row = await cursor.fetchone()
        return _move(row) if row else None

    async def note(self, id: int, move: SavedMove) -> None:
        """Save how an account stands that this transaction holds."""
        await self._connection.execute(
            """
            update plan_migration_accounts set status = %s, reason = %s, before = %s, fact = %s
            where account = %s and migration = %s
            """,
            (
                move.status,
                move.reason,
                None if move.before is None else msgspec.json.encode(move.before).decode(),
                move.fact,
                move.account,
                id,
            ),
        )

    async def finish(self, migration: SavedMigration, *, at: datetime) -> bool:
        """End it if nothing is left to do; accounts that others hold are left."""
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

    async def accounts(self, id: int, *, status: str | None, after: str, limit: int) -> tuple[SavedMove, ...]:
        cursor = await self._connection.execute(
            """
            select account, status, reason, before::text, fact from plan_migration_accounts
            where migration = %(id)s and (%(status)s::text is null or status = %(status)s) and account > %(after)s
            order by account limit %(limit)s
            """,
            {"id": id, "status": status, "after": after, "limit": limit},
        )
        return tuple([_move(row) async for row in cursor])


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


def _move(row: TupleRow) -> SavedMove:
    account, status, reason, before, fact = row
    return SavedMove(account, status, reason, _pins.decode(before) if before else None, fact)
