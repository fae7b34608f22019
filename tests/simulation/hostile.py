"""A store that lets everything go wrong between two statements, over tables in memory or over PostgreSQL.

Laws: at every statement another task may run, the process may die, the database may end the transaction; a commit
happens at once or not at all, and who asked for it may not learn that it did; whoever needs a row that another
transaction has waits for it, and a circle of those who wait is a deadlock, which is always a fault of ours.
The locks are ours even over PostgreSQL, which therefore never blocks: what runs next is the seed's choice alone.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Protocol

from msgspec import Struct

from paygrade.billing.audit_chain import AuditEntry
from paygrade.changes.plan_change import UNDER_WAY, PlanChange
from paygrade.postgres.claims import Candidate
from paygrade.updates.log import News
from paygrade.values.errors import Unavailable

from .tables import Dump

Key = tuple[str, ...]

NOUNS = frozenset(
    {
        *("subjects", "inbox", "accounts", "catalogs", "drifts", "sweeps", "polls", "plan_changes", "quotes", "ledger"),
        *("announcements", "invoices"),
    }
)
Statement = tuple[str, str, tuple[Any, ...], dict[str, Any]]

CONNECTIONS_MAX = 20


class BackendTransaction(Protocol):
    def perform(self, noun: str, method: str, *args: Any, **named: Any) -> Any: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


class Backend(Protocol):
    """What keeps the rows. Calls return when they are done, and let nobody else run meanwhile."""

    def begin(self) -> BackendTransaction: ...
    def dump(self) -> Dump: ...


class Crashes(Struct, frozen=True):
    """How probable it is, per statement, that the database gives up or takes its time; per commit, that it fails."""

    statement: float = 0.0
    before_commit: float = 0.0
    after_commit: float = 0.0
    stall: float = 0.0


class Call(Struct, frozen=True):
    """One statement of a committed transaction."""

    noun: str
    method: str
    args: tuple[Any, ...]
    named: dict[str, Any]
    result: Any


class Committed(Struct, frozen=True):
    at: datetime
    calls: tuple[Call, ...]


class Database:
    """What all processes share: the rows, the locks, and the record of what was committed."""

    def __init__(self, backend: Backend, draw: random.Random, now: Callable[[], datetime], crashes: Crashes) -> None:
        self.backend, self.draw, self.now, self.crashes = backend, draw, now, crashes
        self.committed: list[Committed] = []
        self.deadlocks: list[str] = []
        self.up = True
        self.hear: Callable[[], None] = lambda: None
        """Called when subjects were marked."""
        self.instead: Callable[[HostileTransaction, Statement], Statement] = lambda _, statement: statement
        """A wrong rule of ours: what is said to the database instead of what should be."""
        self._open: list[HostileTransaction] = []
        self._changes: dict[Key, PlanChange] = {}
        """Plan changes by their rows' keys, as committed."""
        self._owners: dict[Key, HostileTransaction] = {}
        self._queues: dict[Key, list[asyncio.Future[None]]] = {}
        self._inserted: set[Key] = set()
        self._without_connection: list[asyncio.Future[None]] = []

    def transaction(self, *, looking: bool = False) -> "HostileTransaction":
        return HostileTransaction(self)

    async def connection(self) -> None:
        """Wait until one of the pool's connections is free."""
        while len(self._open) >= CONNECTIONS_MAX:
            free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._without_connection.append(free)
            await free

    def calm(self) -> None:
        self.crashes = Crashes()

    def crash(self) -> None:
        """End every transaction under way, as a restart does; nobody gets in until `up` is set again."""
        self.up = False
        for transaction in list(self._open):
            transaction.end(lost=True)

    def exists(self, key: Key) -> bool:
        return key in self._inserted

    def changes_under_way(self, account: str) -> list[Key]:
        """The rows of an account's plan changes that are not resolved, in the order they were asked for."""
        found = [c for c in self._changes.values() if c.account == account and c.state in UNDER_WAY]
        return [_key_of(change) for change in sorted(found, key=lambda change: change.asked_at)]

    def busy(self, key: Key, transaction: "HostileTransaction") -> bool:
        return self._owners.get(key, transaction) is not transaction

    def take(self, key: Key, transaction: "HostileTransaction") -> None:
        """Lock a row that is not busy."""
        if key not in self._owners:
            self._owners[key] = transaction
            transaction.held.append(key)

    def turn(self, key: Key, transaction: "HostileTransaction") -> "asyncio.Future[None]":
        """What to wait for before asking again whether a row is busy."""
        wanted: Key | None = key
        while wanted is not None and (owner := self._owners.get(wanted)) is not None:
            if owner is transaction:
                self.deadlocks.append(f"{transaction.held} wants {key}")
                raise _unavailable("deadlock detected")
            wanted = owner.waits_for
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(key, []).append(turn)
        return turn

    def release(self, transaction: "HostileTransaction") -> None:
        for key in transaction.held:
            del self._owners[key]
            for turn in self._queues.pop(key, ()):
                if not turn.done():
                    turn.set_result(None)
        transaction.held.clear()

    def opened(self, transaction: "HostileTransaction") -> None:
        self._open.append(transaction)

    def closed(self, transaction: "HostileTransaction", *, committed: bool) -> None:
        self._open.remove(transaction)
        if committed:
            self._inserted.update(transaction.inserted)
            self.committed.append(Committed(self.now(), tuple(transaction.calls)))
            for call in transaction.calls:
                if call.noun == "plan_changes" and call.method in ("add", "save"):
                    self._changes[_key_of(call.args[0])] = call.args[0]
        self.release(transaction)
        while self._without_connection:
            free = self._without_connection.pop(0)
            if not free.done():
                free.set_result(None)
                break
        if committed and any(call.noun == "tell" and call.args[0] == "paygrade_subject" for call in transaction.calls):
            self.hear()


class HostileTransaction:
    """Stands where `paygrade.postgres.store.Transaction` does; each noun hands its calls to `perform`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._inner: BackendTransaction | None = None
        self._lost = False
        self._turn: asyncio.Future[None] | None = None
        self.held: list[Key] = []
        self.inserted: set[Key] = set()
        self.waits_for: Key | None = None
        self.calls: list[Call] = []

    def note(self, _: AuditEntry) -> None:
        """Who acts is not simulated."""

    def __getattr__(self, noun: str) -> "Noun":
        if noun not in NOUNS:
            raise AttributeError(noun)
        return Noun(self, noun)

    async def __aenter__(self) -> "HostileTransaction":
        await asyncio.sleep(0)
        await self._database.connection()
        if not self._database.up:
            raise _unavailable("connection refused")
        self._inner = self._database.backend.begin()
        self._database.opened(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Who was killed runs nothing any more: the database ends the transaction by itself.
        if kind is not None:
            self.end()
            return
        crashes, draw = self._database.crashes, self._database.draw
        try:
            await asyncio.sleep(0)
            if self._lost or draw.random() < crashes.before_commit:
                raise _unavailable("connection lost before the commit")
        except BaseException:
            self.end()
            raise
        assert self._inner is not None
        self._inner.commit()
        self._inner = None
        self._database.closed(self, committed=True)
        if draw.random() < crashes.after_commit:
            raise _unavailable("connection lost after the commit")

    def end(self, *, lost: bool = False) -> None:
        """Roll back, unless that is done already. `lost`: by the database's own decision."""
        self._lost = self._lost or lost
        if self._inner is not None:
            self._inner.abort()
            self._inner = None
            if self._turn is not None and not self._turn.done():
                self._turn.set_exception(_unavailable("the database was restarted"))
            self._database.closed(self, committed=False)

    async def tell(self, channel: str, payload: str = "") -> None:
        await self.perform("tell", "", channel, payload)

    async def announce(self, news: Sequence[News], at: datetime) -> None:
        if news:
            await self.perform("announce", "", news, at)

    async def perform(self, noun: str, method: str, *args: Any, **named: Any) -> Any:
        database = self._database
        crashes, draw = database.crashes, database.draw
        noun, method, args, named = database.instead(self, (noun, method, args, named))
        roll = draw.random()
        await asyncio.sleep(draw.choice((0.2, 3, 40, 100)) if roll < crashes.stall else 0)
        if crashes.stall <= roll < crashes.stall + crashes.statement:
            raise _unavailable("connection lost")
        self._check()
        # Whoever looks at the arguments first must leave them for the statement.
        args = tuple([tuple(arg) if isinstance(arg, Iterator) else arg for arg in args])
        keys = [key for key in self._needs(noun, method, args, named) if not self._is_there(key)]
        for key in keys:
            while database.busy(key, self):
                await self._wait(key)
                self._check()
            # Nobody else runs from the last of them to the statement itself: what is locked here is locked there.
            if not self._is_there(key):
                database.take(key, self)
                if key[0].startswith("new "):
                    self.inserted.add(key)
        assert self._inner is not None
        result = self._inner.perform(noun, method, *args, **named)
        if method == "candidates":
            # In which order those come that have waited equally long must not matter, but be the same.
            result = tuple(sorted(result, key=_order_of))
        if (noun, method) == ("plan_changes", "to_settle"):
            result = tuple(sorted(result))
        self.calls.append(Call(noun, method, args, named, result))
        return result

    def _check(self) -> None:
        if self._lost:
            raise _unavailable("the database was restarted")

    def _is_there(self, key: Key) -> bool:
        """What others have added is only looked at; what another transaction is just adding is waited for."""
        return key[0].startswith("new ") and self._database.exists(key)

    async def _wait(self, key: Key) -> None:
        self._turn, self.waits_for = self._database.turn(key, self), key
        await self._turn
        self._turn = self.waits_for = None

    def _needs(self, noun: str, method: str, args: tuple[Any, ...], named: dict[str, Any]) -> Iterable[Key]:
        """The rows that PostgreSQL would lock for this statement, in its order."""
        match noun, method:
            case "subjects", "mark":
                return [("subject", subject) for subject in sorted(set(args[0]))]
            case "subjects" | "plan_changes", "take":
                return [(noun.removesuffix("s").removeprefix("plan_"), *args[0].key)]
            case "subjects", "lock" | "settle" | "fail":
                return [("subject", args[0].subject)]
            case "inbox", "add":
                return [("new event", named["subject"], named["event_id"])]
            case "inbox", "hand_on":
                return [("new event", named["to"], id) for id in args[1]]
            case "accounts", "create":
                return [("new account", args[0])]
            case "accounts", "lock":
                there = [a for a in sorted(set(args[0])) if self._sees(("new account", a))]
                return [("account", account) for account in there]
            case "accounts", "hold_links":
                return [("links of", args[0])]
            case "plan_changes", "add":
                # An account has one that is being made: whoever adds another one waits to hear what becomes of it.
                return [("adding to", args[0].account), _key_of(args[0])]
            case "plan_changes", "save" | "take_back" | "hurry" | "lock" | "fail":
                return [_key_of(args[0])]
            case "plan_changes", "hold" | "note_reverted":
                return [("change", args[0], args[1])]
            case "plan_changes", "under_way" if named.get("locked", True):
                return self._database.changes_under_way(args[0])
            case "sweeps", "start" | "start_regularly" | "take" | "hold" | "save" | "finish" | "fail":
                return [("sweep",)]
            case "polls", "candidates":
                return [("new poll", named["provider"])]
            case "polls", "take" | "lock" | "save" | "keep" | "fail":
                return [("poll",)]
        return []

    def _sees(self, key: Key) -> bool:
        return self._database.exists(key) or key in self.inserted


class Noun:
    def __init__(self, transaction: HostileTransaction, name: str) -> None:
        self._transaction, self._name = transaction, name

    def __getattr__(self, method: str) -> Any:
        return partial(self._transaction.perform, self._name, method)


def _key_of(change: PlanChange) -> Key:
    return ("change", change.account, change.id)


def _order_of(candidate: Candidate) -> tuple[Any, ...]:
    """By what does not rest on ids of changes, which are drawn anew in each run."""
    return candidate.key[:1]


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("database_unavailable", f"the database did not answer: {detail}")
