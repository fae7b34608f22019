"""The store: one PostgreSQL database, its transactions and its notifications.

Laws: every statement of the project lives in this folder; rows are locked subjects first, then accounts, each in
the order of their keys, and the heads of audit chains last of all, so no two transactions wait for each other; what a
transaction tells, others hear only after it is committed.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any, Literal, LiteralString, get_args

import msgspec
import psycopg
from psycopg import AsyncConnection, sql
from psycopg.errors import DeadlockDetected, ProgramLimitExceeded, UniqueViolation
from psycopg.rows import TupleRow

from paygrade.billing.audit_chain import AuditEntry, AuditRecord
from paygrade.postgres.accounts import Accounts
from paygrade.postgres.alerts import Alerts
from paygrade.postgres.announced import Announcements
from paygrade.postgres.announced_ends import AnnouncedEnds
from paygrade.postgres.api_keys import ApiKeys
from paygrade.postgres.approvals import Approvals
from paygrade.postgres.audit import Audit
from paygrade.postgres.audit_streams import AuditStreams
from paygrade.postgres.catalog_checks import CatalogChecks
from paygrade.postgres.catalogs import Catalogs
from paygrade.postgres.checkouts import Checkouts
from paygrade.postgres.connections import BY_KEY_ONCE, Connections
from paygrade.postgres.decision_log import DecisionRows
from paygrade.postgres.drift import Drifts
from paygrade.postgres.gathered import CHANNEL, GatheredCounts, Tellers, packets
from paygrade.postgres.idempotency import KeyedRequests
from paygrade.postgres.inbox import Inbox
from paygrade.postgres.invoices import Invoices
from paygrade.postgres.ledger import Ledger
from paygrade.postgres.measures import Measures
from paygrade.postgres.nodes import Nodes
from paygrade.postgres.optimistic_use import Count, OptimisticUse
from paygrade.postgres.people import People
from paygrade.postgres.personal_data import PersonalData
from paygrade.postgres.plan_changes import PlanChanges
from paygrade.postgres.polls import Polls
from paygrade.postgres.portal_sessions import PortalSessions
from paygrade.postgres.quotes import Quotes
from paygrade.postgres.recorded_use import RecordedUse
from paygrade.postgres.replica import Replica
from paygrade.postgres.rereads import Rereads
from paygrade.postgres.session_locks import HOLDERS, hold
from paygrade.postgres.shared_hearing import SharedHearing
from paygrade.postgres.signing_keys import SigningKeys
from paygrade.postgres.subjects import Subjects
from paygrade.postgres.sweeps import Sweeps
from paygrade.postgres.top_ups import TopUps
from paygrade.postgres.updates import Updates
from paygrade.postgres.usage_events import Events
from paygrade.postgres.usage_reports import Reports
from paygrade.postgres.version_migrations import PlanMigrations
from paygrade.postgres.waits import Waits
from paygrade.postgres.webhooks import WebhookDeliveries, WebhookEndpoints
from paygrade.updates.log import News
from paygrade.usage.entries import Entry, Key
from paygrade.values.errors import Refused, Unavailable

Channel = Literal[
    "paygrade_account",
    "paygrade_alert",
    "paygrade_balance",
    "paygrade_catalog",
    "paygrade_change",
    "paygrade_key",
    "paygrade_repair",
    "paygrade_finding",
    "paygrade_subject",
    "paygrade_update",
]
"""What changed: an account (told with its key), balances (told as JSON, a list of `[account, pool, slot, used,
reserved, version]`, or `[account]` for one to be read anew; `gathered` says how others hear of counts), the catalog
(its version), an API key or a person (its id), a subject's dirty mark; or, told as JSON, how a plan change has ended,
what repair found or asks for, a threshold that was passed, or a finding; or that state updates were written (told as
nothing), and up to which position they can be read (told with that)."""
CHANNELS: tuple[Channel, ...] = get_args(Channel)
Hear = Callable[[Channel, str], None]
Traceparent = Callable[[], str | None]
HEARTBEAT_S, LOOK_S = 5.0, 1.0
"""How long a connection may take to answer, and how often it is asked: whether it lives, and who tells of counts."""


def _no_trace() -> None:
    """Nobody takes traces."""


class Store:
    """One database. Open it before use, close it when done.

    `direct_url` is the way to it without the pooler that `database_url` leads to, `replica_url` a copy of it that reads
    may be asked of. `traceparent` says which span is under way, to be kept with state updates.
    """

    def __init__(
        self,
        database_url: str,
        *,
        direct_url: str | None = None,
        replica_url: str | None = None,
        connections_max: int = 10,
        traceparent: Traceparent = _no_trace,
    ) -> None:
        self._database_url = direct_url or database_url
        pooled = self._database_url != database_url
        self._connections = Connections(database_url, connections_max=connections_max, pooled=pooled)
        self._replica = Replica(replica_url, self._connections) if replica_url else None
        self._holders: list[int] = []
        """The numbers of the connections that listen now; leases are held by the latest."""
        self._hearers: list[Hear] = []
        self._readers: list[Callable[[AuditRecord], None]] = []
        self._counts = GatheredCounts(self._database_url)
        self._hearing: SharedHearing[Hear] = SharedHearing(self._listen)
        self._traceparent = traceparent

    async def open(self) -> None:
        await self._connections.open()
        if self._replica is not None:
            await self._replica.open()

    async def close(self) -> None:
        await self._counts.close()
        if self._replica is not None:
            await self._replica.close()
        await self._connections.close()

    async def __aenter__(self) -> "Store":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def transaction(
        self, *, pipelined: bool = False, single: bool = False, looking: bool = False
    ) -> AsyncIterator["Transaction"]:
        """Everything inside is saved together at the end, or not at all. Unavailable when the database is away, and
        (`contended`) when PostgreSQL ended it so that others who waited for the same rows can go on; Refused
        `id_taken` when another one entered the same id in the ledger meanwhile.

        `pipelined`: statements are sent without waiting for one another; whoever reads waits for those sent before,
        and what is wrong with the others is known at the end. `single`: one statement is all there is, which is a
        transaction by itself. `looking`: nothing is written, and each statement may see more than the one before.
        """
        try:
            joined = self._joined() if not (pipelined or single) else None
            if joined is not None:
                async with joined.part():
                    yield joined
                return
            async with (
                self._connections.taken(for_batches=pipelined or single) as connection,
                self._begun(connection, pipelined=pipelined, single=single, looking=looking),
            ):
                holder = self._holders[-1] if self._holders else None
                transaction = Transaction(connection, self._counts, holder=holder, traceparent=self._traceparent)
                yield transaction
                records = await transaction.audit.add(transaction.noted) if transaction.noted else []
        except UniqueViolation as error:
            if error.diag.constraint_name != "ledger_pkey":
                raise
            raise Refused("id_taken", "another request used one of these ids at the same moment; try again") from None
        except ProgramLimitExceeded:
            # Of a text that an index should hold. Sending it again would not help.
            raise Refused("text_too_long", "a text is too long; send a shorter one") from None
        except DeadlockDetected:
            # Rows that two transactions make at the same moment cannot be locked in order before they are there.
            raise Unavailable("contended", "other requests were changing the same rows; try again") from None
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            _stay_cancelled(error)
            raise Unavailable("database_unavailable", f"the database did not answer: {error}") from error
        except AssertionError as error:
            # psycopg's own, about a pipeline whose beginning was cancelled.
            _stay_cancelled(error)
            raise
        self._counts.put(transaction.counted)
        for record in records:
            for read in self._readers:
                read(record)
        for channel, payload in transaction.told:
            for hear in self._hearers:
                hear(channel, payload)

    def _begun(
        self, connection: AsyncConnection[TupleRow], *, pipelined: bool, single: bool, looking: bool
    ) -> AbstractAsyncContextManager[object]:
        if self._connections.pooled and (pipelined or single):
            return _pipelined(connection, first=BY_KEY_ONCE)
        if single or looking:
            return nullcontext()
        return _pipelined(connection) if pipelined else connection.transaction()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["Transaction"]:
        """A transaction that only reads, of everything that was committed before: at the replica if there is one that
        has all of that by now, else here. Unavailable also when a replica is lost on the way; asking again helps.
        """
        if self._replica is not None and self._joined() is None:
            async with self._replica.caught_up() as connection:
                if connection is not None:
                    async with _read_only(connection):
                        yield Transaction(connection, self._counts, holder=None)
                    return
        async with self.transaction() as tx:
            yield tx

    @asynccontextmanager
    async def whole(self) -> AsyncIterator["Transaction"]:
        """All that this task does in transactions of this store inside is one: saved at the end, or not at all. Tasks
        that it starts have transactions of their own, and so have batches of usage."""
        async with self.transaction() as transaction:
            token = _whole.set((self, asyncio.current_task(), transaction))
            try:
                yield transaction
            finally:
                _whole.reset(token)

    def _joined(self) -> "Transaction | None":
        """What this task's transactions are a part of, if of anything."""
        store, task, transaction = _whole.get()
        return transaction if store is self and task is asyncio.current_task() else None

    def hear_own(self, hear: Hear) -> None:
        """Call `hear` with everything this store's own transactions tell, before they return to their caller."""
        self._hearers.append(hear)

    def read_own(self, read: Callable[[AuditRecord], None]) -> None:
        """Call `read` with every audit record of this store's own transactions, once it is saved."""
        self._readers.append(read)

    async def listen(self, *, ready: Callable[[], None], hear: Hear) -> None:
        """Call `hear` with everything told from now on, until the connection that listens ends, or another process did
        that may have had more to tell. All who listen share that connection.

        `ready` is called once nothing can be missed any more. Ends by Unavailable or by being cancelled.
        Leases taken while it listens end with that connection at the latest: so with this process, or with a
        PostgreSQL that went away and took along what the leases were for (ADR 0007).
        """
        await self._hearing.join(ready=ready, hear=hear)

    async def _listen(self, ready: Callable[[], None]) -> None:
        holder = secrets.randbelow(2**31)
        try:
            async with await AsyncConnection.connect(self._database_url, autocommit=True) as connection:
                for channel in (*CHANNELS, CHANNEL):
                    await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                await hold(connection, HOLDERS, holder)
                tellers = Tellers(connection, self._counts.own)
                await tellers.begin()
                self._holders.append(holder)
                try:
                    ready()
                    await _hear(connection, tellers, partial(self._hear_others, tellers))
                finally:
                    self._holders.remove(holder)
        except (psycopg.Error, OSError) as error:
            _stay_cancelled(error)
            self._connections.doubt()
            raise Unavailable("database_unavailable", f"notifications from the database stopped: {error}") from error

    def _hear_others(self, tellers: Tellers, told: psycopg.Notify) -> None:
        """Pass on what was told, but for counts to those who have heard of them from us."""
        if told.channel == CHANNEL:
            tellers.hear(told.payload)
            return
        from_us = self._counts.told(told)
        for hear in self._hearing.hearers:
            if not from_us or hear not in self._hearers:
                hear(told.channel, told.payload)  # type: ignore[arg-type]  # we listen to no other channel


class Transaction:
    """One unit of work: the rows of each noun, and what will be told when it is committed."""

    def __init__(
        self,
        connection: AsyncConnection[TupleRow],
        counts: GatheredCounts,
        *,
        holder: int | None,
        traceparent: Traceparent = _no_trace,
    ) -> None:
        self._connection, self._counts, self._traceparent = connection, counts, traceparent
        self.told: list[tuple[Channel, str]] = []
        self.counted: list[Count] = []
        """What of that are counts with their versions, which others hear of later."""
        self.noted: list[AuditEntry] = []
        self.accounts = Accounts(connection)
        self.subjects = Subjects(connection, holder=holder)
        self.inbox = Inbox(connection)
        self.invoices = Invoices(connection, holder=holder)
        self.catalogs = Catalogs(connection)
        self.catalog_checks = CatalogChecks(connection, holder=holder)
        self.rereads = Rereads(connection, holder=holder)
        self.polls = Polls(connection, holder=holder)
        self.sweeps = Sweeps(connection, holder=holder)
        self.drifts = Drifts(connection)
        self.reports = Reports(connection, holder=holder)
        self.top_ups = TopUps(connection, holder=holder)
        self.nodes = Nodes(connection)
        self.ledger = Ledger(connection)
        self.recorded_use = RecordedUse(connection)
        self._optimistic = OptimisticUse(connection)
        self.alerts = Alerts(connection)
        self.quotes = Quotes(connection)
        self.plan_changes = PlanChanges(connection, holder=holder)
        self.checkouts = Checkouts(connection, holder=holder)
        self.plan_migrations = PlanMigrations(connection, holder=holder)
        self.events = Events(connection)
        self.signing_keys = SigningKeys(connection)
        self.api_keys = ApiKeys(connection)
        self.people = People(connection)
        self.portal_sessions = PortalSessions(connection)
        self.approvals = Approvals(connection)
        self.updates = Updates(connection)
        self.announced_ends = AnnouncedEnds(connection)
        self.announcements = Announcements(connection, holder=holder)
        self.webhook_endpoints = WebhookEndpoints(connection, holder=holder)
        self.webhook_deliveries = WebhookDeliveries(connection)
        self.audit = Audit(connection)
        self.audit_streams = AuditStreams(connection, holder=holder)
        self.keyed_requests = KeyedRequests(connection, holder=holder)
        self.measures = Measures(connection)
        self.waits = Waits(connection, holder=holder)
        self.decision_log = DecisionRows(connection)

    def personal_data(self, account: str) -> PersonalData:
        """All rows of one account."""
        return PersonalData(self._connection, account)

    def note(self, entry: AuditEntry) -> None:
        """Have this written down in its audit chain: with this transaction, as the last that it does."""
        self.noted.append(entry)

    @asynccontextmanager
    async def part(self) -> AsyncIterator[None]:
        """What is inside is undone, and not told, if it fails; the rest stays."""
        told, counted, noted = len(self.told), len(self.counted), len(self.noted)
        try:
            async with self._connection.transaction():
                yield
        except BaseException:
            del self.told[told:], self.counted[counted:], self.noted[noted:]
            raise

    async def tell(self, channel: Channel, payload: str = "") -> None:
        """Tell every process that listens, once this transaction is committed."""
        await self._connection.execute("select pg_notify(%s, %s)", (channel, payload))
        self.told.append((channel, payload))

    async def announce(self, news: Sequence[News], at: datetime) -> None:
        """Write state updates down with what this transaction saves, in this order."""
        if news:
            await self.updates.add(news, at, traceparent=self._traceparent())
            await self.tell("paygrade_update")

    async def tell_balances(self, news: Iterable[tuple[str | int, ...]]) -> None:
        """Tell every process what balances are now: of accounts to be read anew with the commit, in as few
        notifications as they fit in; of counts soon after it."""
        rows = list(news)
        anew = [_written(packet) for packet in packets([row for row in rows if len(row) == 1])]
        if anew:
            await self._connection.execute(
                "select pg_notify('paygrade_balance', payload) from json_array_elements_text(%s) as payload",
                (_written(anew),),
            )
            self.told += [("paygrade_balance", payload) for payload in anew]
        await self._have_counted([row for row in rows if len(row) > 1])  # type: ignore[misc]  # then it has all six

    async def enter_counts(self, counts: Sequence[Count], entries: Sequence[Entry]) -> set[Key]:
        """Write plain counts and the entries made on them, and tell every process: one statement. Returns the counts
        that are not as they were any more, of which nothing is written."""
        await self._counts.begin()
        raced = await self._optimistic.enter(counts, entries)
        await self._have_counted([count for count in counts if count[:3] not in raced] if raced else counts)
        return raced

    async def _have_counted(self, counts: Sequence[Count]) -> None:
        if counts:
            await self._counts.begin()
            self.counted += counts
            self.told.append(("paygrade_balance", _written(counts)))


_Whole = tuple[Store | None, "asyncio.Task[Any] | None", Transaction | None]
"""A store, the task whose transactions of it are one, and that one. Any: whatever the task returns."""
_whole: ContextVar[_Whole] = ContextVar("whole", default=(None, None, None))


@asynccontextmanager
async def _read_only(connection: AsyncConnection[TupleRow]) -> AsyncIterator[None]:
    """A transaction at a replica. Unavailable when it is lost on the way."""
    try:
        async with connection.transaction():
            yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        _stay_cancelled(error)
        raise Unavailable("database_unavailable", f"the replica did not answer: {error}") from error


@asynccontextmanager
async def _pipelined(connection: AsyncConnection[TupleRow], *, first: LiteralString = "") -> AsyncIterator[None]:
    """A transaction that waits once, at its end; psycopg's own, in a pipeline, would wait twice more. `first` is said
    at its beginning."""
    try:
        async with connection.pipeline():
            await connection.execute("begin")
            if first:
                await connection.execute(first)
            yield
            await connection.execute("commit")
    except BaseException:
        # What was sent has failed, or must not be kept. A connection that is gone has rolled back by itself.
        with suppress(psycopg.Error):
            await connection.rollback()
        raise


def _written(told: object) -> str:
    return msgspec.json.encode(told).decode()


async def _hear(
    connection: AsyncConnection[TupleRow], tellers: Tellers, hear: Callable[[psycopg.Notify], None]
) -> None:
    while True:
        async for told in connection.notifies(timeout=LOOK_S):
            hear(told)
        # A connection that broke without a word would leave us deaf, and what we remember wrong.
        async with asyncio.timeout(HEARTBEAT_S):
            await tellers.look()


def _stay_cancelled(error: Exception) -> None:
    """Go on cancelling where psycopg reports a cancelled wait as a failure of the database: whoever catches that
    failure would carry on, and a server told to stop would not."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
