"""The real store under the simulation: `postgres.store.Store`, on the simulation's clock.

Laws: every call is done when it returns, so the seed alone decides what runs next; nothing in the store is replaced.
PostgreSQL's `clock_timestamp()` gives the loop's time, because a function of that name is found before the built-in
one; within a statement it moves on by a microsecond per call, as the real one does.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Fact
from paygrade.postgres.migrate import migrate
from paygrade.postgres.plan_changes import ClaimedChange
from paygrade.postgres.store import Store, Transaction
from paygrade.server.operations.catalog.publish import publish_catalog
from simulation.merchant import DOCUMENT

from .hostile import CONNECTIONS_MAX
from .loop import START
from .tables import Dump, SubjectRow, in_order

T = TypeVar("T")


VIRTUAL_CLOCK = """
    create schema simulation;
    create table simulation.clock (at timestamptz not null);
    insert into simulation.clock values ('2026-01-31T12:00:00Z');
    create sequence simulation.tick;
    create function simulation.clock_timestamp() returns timestamptz language sql volatile
        as $$ select at + nextval('simulation.tick') * interval '1 microsecond' from simulation.clock $$;
"""


class PostgresBackend:
    """A migrated database with the shop's catalog; use as a context manager around the whole run."""

    def __init__(self, database_url: str) -> None:
        self.now: Callable[[], datetime] = lambda: START
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._url = database_url
        self._store = Store(database_url, connections_max=CONNECTIONS_MAX + 5)

    def __enter__(self) -> "PostgresBackend":
        self._thread.start()
        self.wait(migrate(self._url))
        self._connection.execute(VIRTUAL_CLOCK)
        database = sql.Identifier(self._connection.info.dbname)
        path = "alter database {} set search_path to simulation, public, pg_catalog"
        self._connection.execute(sql.SQL(path).format(database))
        self.wait(self._store.open())
        self.wait(publish_catalog(self._store, document=DOCUMENT, lines={}, dry_run=False, at=START, by="simulation"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.wait(self._store.close())
        self._connection.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def on(self, now: Callable[[], datetime]) -> "PostgresBackend":
        """Follow this clock."""
        self.now = now
        return self

    def begin(self) -> "PostgresTransaction":
        return PostgresTransaction(self, self._store)

    def wait(self, doing: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(60)

    def set_clock(self) -> None:
        self._connection.execute(
            "with reset as (select setval('simulation.tick', 1)) update simulation.clock set at = %s from reset",
            (self.now(),),
        )

    def dump(self) -> Dump:
        accounts, facts, changes = self.wait(self._accounts())
        with self._connection.cursor(row_factory=dict_row) as cursor:
            subjects = [
                SubjectRow(**{name: _in_utc(value) for name, value in row.items()})
                for row in cursor.execute(
                    """
                    select subject, account, dirty, synced, fence, swept, rereads, attempts,
                           error is not null as failing, marked_at, leased_until, retry_at, read_at, due_at
                    from subjects order by subject collate "C"
                    """
                )
            ]
            inbox = cursor.execute("select subject, event_id, handled_at is not null as handled from inbox").fetchall()
            drift = cursor.execute("select subject, subscription, field from drift where healed_at is null").fetchall()
            sweeping = cursor.execute("select from sweeps where finished_at is null").rowcount > 0
            due = cursor.execute("select settle_at from accounts where settle_at is not null").fetchall()
        return Dump(
            accounts=dict(sorted(accounts.items())),
            facts=tuple(sorted(facts, key=lambda entry: (entry[0], entry[1].number))),
            subjects={row.subject: row for row in subjects},
            inbox=dict(sorted(((row["subject"], row["event_id"]), row["handled"]) for row in inbox)),
            drift=tuple(sorted((row["subject"], row["subscription"] or "", row["field"]) for row in drift)),
            sweeping=sweeping,
            changes=in_order(changes),
            to_settle=tuple(sorted(_in_utc(row["settle_at"]) for row in due)),
        )

    async def _accounts(self) -> tuple[dict[str, Account], list[tuple[str, Fact]], list[ClaimedChange]]:
        async with self._store.transaction() as tx:
            # `page` leaves out those that are not ours; the simulation knows every account that can be.
            keys = [row[0] for row in self._connection.execute("select account from accounts")]
            accounts = {key: saved.account for key in keys if (saved := await tx.accounts.load(key))}
            facts = [(key, saved.fact) for key in keys for saved in await tx.accounts.facts(key)]
            changes = [
                change for key in keys for change in await tx.plan_changes._many("account = %s", (key,))
            ]  # fences too
        return accounts, facts, changes


class PostgresTransaction:
    def __init__(self, backend: PostgresBackend, store: Store) -> None:
        self._backend = backend
        self._context = store.transaction()
        self._transaction: Transaction = backend.wait(self._context.__aenter__())

    def perform(self, noun: str, method: str, *args: Any, **named: Any) -> Any:
        self._backend.set_clock()
        if noun == "tell":
            return self._backend.wait(self._transaction.tell(*args))
        if noun == "announce":
            return self._backend.wait(self._transaction.announce(*args))
        return self._backend.wait(getattr(getattr(self._transaction, noun), method)(*args, **named))

    def commit(self) -> None:
        self._backend.wait(self._end(None))

    def abort(self) -> None:
        self._backend.wait(self._end(_Abort()))

    async def _end(self, error: "_Abort | None") -> None:
        try:
            await self._context.__aexit__(type(error) if error else None, error, None)
        except _Abort:
            return


class _Abort(Exception):
    """Ends a transaction without keeping anything of it."""


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value
