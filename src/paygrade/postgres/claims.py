"""Claims: rows that wait for something to be done outside the database, each done by one process at a time.

Theory of operation. A row that waits shows so itself, by its table's own conditions: there is no other queue. Whoever
has time reads candidates, without locking anything, and takes them one by one: an update of one row by its key, which
compares what was seen of the row's fence and lease and sets the next fence and a lease of one's own. Whoever comes
second finds another fence and takes nothing. What is then done may take as long as it takes; it is saved only under the
fence that was taken. A lease keeps others from beginning the same, no more: nothing rests on it but what it costs
to do a thing twice. So it may end early, and it ends with its holder at the latest (ADR 7), or when its time is up.

Laws:
1. The fence of a row grows by one with each claim, and in no other way: of any number of claims only the latest saves.
2. A claim is made before anything is asked of anybody, by one statement about one row, which waits for nobody but
   those who change that row; so it may run where rows are spread over several servers (ADR 14).
3. A row that is claimed is nobody's candidate while its holder lives and its lease is not over.
4. A lease ends with the session that holds it, whatever ended that. Who has no such session holds for the lease's time.
5. What failed is nobody's candidate before its pause is over. It goes on waiting, however often it failed.
6. What was given back once cannot be given back again: a failure noted late changes nothing.

Leases and pauses run on the database's clock, which all processes share.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.postgres.session_locks import HOLDERS, held

_FREE = """(retry_at is null or retry_at <= clock_timestamp())
    and (leased_until is null or leased_until <= clock_timestamp()
         or leased_by is not null and leased_by <> all(%(living)s))"""


class Claimed(Protocol):
    """A row as it was claimed; `attempts`: how often in a row it failed."""

    @property
    def fence(self) -> int: ...
    @property
    def attempts(self) -> int: ...


Row = TypeVar("Row", bound=Claimed)
Seen = TypeVar("Seen")
Values = Mapping[str, object] | Sequence[object]


class Candidate(Struct, frozen=True):
    """A row that was seen waiting. `fence` and `leased_until` must be so still when it is taken, and so must the
    condition of this number; `holder`: whose lease seemed to have ended with them."""

    key: tuple[Any, ...]  # Any: columns of several types
    fence: int
    leased_until: datetime | None
    condition: int = 0
    holder: int | None = None


class Claims(Generic[Row]):
    """Rows of one table that are claimed, within one transaction. `holder`: the number of a session that shows that
    this process lives, if any.

    The table has the columns `fence`, `leased_by`, `leased_until`, `retry_at`, `attempts` and `error`.
    """

    TABLE: ClassVar[str]
    KEY: ClassVar[tuple[str, ...]]
    WAITING: ClassVar[tuple[tuple[str, str], ...]]
    """Conditions under which a row waits, those that go first first, each with the order of its rows."""
    OPEN: ClassVar[str] = "true"
    """What is true of a row as long as there is something to save of what was claimed."""
    ROW: ClassVar[type[Struct]]
    COLUMNS: ClassVar[tuple[str, ...]]
    """The fields of the row that are read from the table."""
    FIXED: ClassVar[frozenset[str]] = frozenset()
    """Those of them that never change."""
    COMPUTED: ClassVar[Mapping[str, str]] = {}
    """Those of them that are no columns, as SQL."""
    # Any: msgspec takes every type.
    JSON: ClassVar[Mapping[str, Any]] = {}
    """Those of them that are JSON, and what of."""

    def __init__(self, connection: AsyncConnection[TupleRow], *, holder: int | None = None) -> None:
        self._connection = connection
        self._holder = holder

    async def candidates(self, *, limit: int, **values: object) -> tuple[Candidate, ...]:
        """Rows that wait and that nobody has, in their order; `values` are those that the conditions name."""
        found = await self._waiting(self.own, limit=limit, **values)
        if any(candidate.holder is not None for candidate in found):
            # Where nobody else has a lease, nobody need be asked who lives.
            found = await self._waiting(list(await held(self._connection, HOLDERS)), limit=limit, **values)
            # Who began to listen since then lives, too.
            living = await held(self._connection, HOLDERS)
            found = [candidate for candidate in found if candidate.holder not in living]
        return tuple(found)

    async def take(self, candidate: Candidate, *, lease_s: float, **values: object) -> Row | None:
        """Claim a row, if it still is as it was seen; None: somebody else was there first, or it waits no more."""
        taken = await self._select(
            f"""
            update {self.TABLE} set fence = fence + 1, leased_by = %(_holder)s,
                   leased_until = clock_timestamp() + %(_lease)s
            where {self._where()} and fence = %(_fence)s and leased_until is not distinct from %(_seen)s
              and {self.WAITING[candidate.condition][0]}
            returning {self._columns()}
            """,
            {
                **dict(zip(self.KEY, candidate.key, strict=True)),
                **values,
                "_holder": self._holder,
                "_lease": timedelta(seconds=lease_s),
                "_fence": candidate.fence,
                "_seen": candidate.leased_until,
            },
        )
        return taken[0] if taken else None

    async def lock(self, claimed: Row) -> Row | None:
        """The row as it is now, locked until the end of the transaction; None: it was claimed since, or is not open any
        more, so there is nothing to save."""
        return await self._one(f"{self._where()} and fence = %(fence)s and {self.OPEN} for update", self._key(claimed))

    async def save(self, row: Struct, *, lease_s: float | None = None, retry_s: float | None = None) -> None:
        """Save a row that this transaction has locked, or what is known of it without its claim. With `lease_s` the
        claim goes on; else it is given back, and with `retry_s` it waits for so long at least."""
        values = self._values(row)
        changing = [name for name in values if name not in (*self.KEY, "fence", *self.FIXED)]
        await self._connection.execute(
            f"""
            update {self.TABLE} set {", ".join(f"{name} = %({name})s" for name in changing)}, {GIVEN_BACK}
            where {self._where()}
            """,
            {**values, **given_back(lease_s=lease_s, retry_s=retry_s)},
        )

    async def keep(self, claimed: Row, *, lease_s: float) -> bool:
        """Let the claim go on for so long from now; False: it was claimed since."""
        cursor = await self._connection.execute(
            f"update {self.TABLE} set {GIVEN_BACK} where {self._where()} and fence = %(fence)s",
            {**self._key(claimed), **given_back(lease_s=lease_s)},
        )
        return cursor.rowcount == 1

    async def fail(self, claimed: Row, *, error: str, retry_s: float) -> bool:
        """Give the claim back undone: the row goes on waiting, for `retry_s` at least. False: there was nothing to give
        back."""
        cursor = await self._connection.execute(
            f"""
            update {self.TABLE} set attempts = attempts + 1, error = %(error)s, {GIVEN_BACK}
            where {self._where()} and fence = %(fence)s and leased_until is not null and {self.OPEN}
            """,
            {**self._key(claimed), "error": error.replace("\0", ""), **given_back(retry_s=retry_s)},
        )
        return cursor.rowcount == 1

    def waits(self) -> str:
        """Whether any row waits that this process doesn't have itself, as SQL: `candidates` says whether somebody else
        has it who lives. It names what the conditions name, and `living`."""
        found = [f"exists (select from {self.TABLE} where {waits} and {_FREE})" for waits, _ in self.WAITING]
        return f"({' or '.join(found)})"

    @property
    def own(self) -> list[int]:
        """The one session that is known to live without asking."""
        return [] if self._holder is None else [self._holder]

    async def _waiting(self, living: list[int], *, limit: int, **values: object) -> list[Candidate]:
        """Rows that wait and that none of these has, in their order."""
        found: list[Candidate] = []
        for condition, (waits, order) in enumerate(self.WAITING):
            cursor = await self._connection.execute(
                f"""
                select {", ".join(self.KEY)}, fence, leased_until,
                       case when leased_until > clock_timestamp() then leased_by end
                from {self.TABLE} where {waits} and {_FREE}
                order by {order} limit %(limit)s
                """,
                {**values, "living": living, "limit": limit - len(found)},
            )
            async for *key, fence, leased_until, dead in cursor:
                found.append(Candidate(tuple(key), fence, leased_until, condition, dead))
        return found

    async def _one(self, which: str, values: Values) -> Row | None:
        found = await self._many(which, values)
        return found[0] if found else None

    async def _many(self, which: str, values: Values) -> tuple[Row, ...]:
        return await self._select(f"select {self._columns()} from {self.TABLE} where {which}", values)

    async def _select(self, query: str, values: Values) -> tuple[Row, ...]:
        cursor = await self._connection.execute(query, values)
        return tuple([self._row(row) async for row in cursor])

    async def _seen(self, kind: type[Seen], which: str, values: Values) -> tuple[Seen, ...]:
        """Rows as everybody knows them: of this kind, which ROW adds its claims to."""
        rows = await self._many(which, values)
        return tuple([msgspec.convert(row, kind, from_attributes=True) for row in rows])

    def _where(self) -> str:
        return " and ".join(f"{name} = %({name})s" for name in self.KEY)

    def _columns(self) -> str:
        return ", ".join(
            self.COMPUTED.get(name) or (f"{name}::text" if name in self.JSON else name) for name in self.COLUMNS
        )

    def _key(self, claimed: Row) -> dict[str, object]:
        return {name: getattr(claimed, name) for name in (*self.KEY, "fence")}

    def _values(self, row: Struct) -> dict[str, object]:
        """The columns of a row, as they are written."""
        names = [name for name in row.__struct_fields__ if name in self.COLUMNS and name not in self.COMPUTED]
        return {name: self._written(name, getattr(row, name)) for name in names}

    def _written(self, name: str, value: object) -> object:
        if name in self.JSON and value is not None:
            return msgspec.json.encode(value).decode()
        return value.replace("\0", "") if isinstance(value, str) else value

    def _row(self, row: TupleRow) -> Row:
        values = {}
        for name, value in zip(self.COLUMNS, row, strict=True):
            if name in self.JSON and value is not None:
                value = msgspec.json.decode(value, type=self.JSON[name])
            values[name] = value
        return self.ROW(**values)  # type: ignore[return-value]  # ROW is the class of rows


GIVEN_BACK = (
    "leased_until = clock_timestamp() + %(_lease)s::interval, retry_at = clock_timestamp() + %(_retry)s::interval"
)


def given_back(*, lease_s: float | None = None, retry_s: float | None = None) -> dict[str, timedelta | None]:
    """The values of `GIVEN_BACK`: with `lease_s` the claim goes on; with `retry_s` there is a pause before the next."""
    return {
        "_lease": None if lease_s is None else timedelta(seconds=lease_s),
        "_retry": None if retry_s is None else timedelta(seconds=retry_s),
    }
