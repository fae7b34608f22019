"""Rows of usage events: ledger entries of the kind `event`, and the balances they change.

Laws: an id is written once, by whoever comes first; entries are written in the order of their keys, and after them
balances are locked in the order of theirs, so no two batches wait for each other; many rows go over as one COPY or as
one JSON parameter, never as a statement each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.errors import NumericValueOutOfRange, UniqueViolation
from psycopg.rows import TupleRow

from paygrade.postgres import columns
from paygrade.postgres.ledger import draws_text
from paygrade.usage.entries import Key, Posting
from paygrade.usage.meters import EventEntry, Read, Said
from paygrade.values.errors import Refused
from paygrade.values.periods import Period

News = tuple[str, str, str, int, int, int]
"""A balance after it was changed: account, pool, slot, used, reserved, version."""


class KeptWindow(NamedTuple):
    """What is counted in a window; without dates: for good."""

    pool: str
    from_at: datetime | None
    until: datetime | None
    used: int
    reserved: int


class EventAsKept(Struct, frozen=True):
    """An event as it stands in the ledger."""

    account: str
    id: str
    root: str
    time: datetime
    draws: tuple[Posting, ...]
    read: Read


class _Balance(Struct, omit_defaults=True, gc=False):
    """A balance on its way into JSON."""

    account: str
    pool: str
    slot: str
    units: int
    from_at: datetime | None = None
    until: datetime | None = None


class Events:
    """Usage events within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, events: Sequence[EventEntry], at: datetime) -> dict[tuple[str, str], int]:
        """Write those that are new, each id once in `events`; returns the digests of ids that were there before.

        Nearly always all of them are new: then it is one COPY. If not, they are looked up, and the rest is copied.
        """
        waiting = sorted(events, key=_key)
        before: dict[tuple[str, str], int] = {}
        while waiting:
            try:
                async with self._connection.transaction():
                    await self._copy(waiting, at)
                return before
            except UniqueViolation:
                found = await self._digests(waiting)
                assert found, "an id is in this batch twice"
                before |= found
                waiting = [event for event in waiting if _key(event) not in found]
        return before

    async def _copy(self, events: Iterable[EventEntry], at: datetime) -> None:
        recorded_at = at.isoformat()
        lines = [_line(event, recorded_at) for event in events]
        async with self._connection.cursor().copy(
            """
            copy ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws,
                         member, properties, amends) from stdin
            """
        ) as copy:
            await copy.write("".join(lines).encode())

    async def _digests(self, events: Iterable[EventEntry]) -> dict[tuple[str, str], int]:
        accounts, ids = zip(*(_key(event) for event in events), strict=True)
        cursor = await self._connection.execute(
            """
            select l.account, l.id, l.digest
            from unnest(%s::text[], %s::text[]) as asked(account, id) join ledger l using (account, id)
            """,
            (columns.texts(accounts), columns.texts(ids)),
        )
        return {(account, id): digest async for account, id, digest in cursor}

    async def add_up(self, sums: Mapping[Key, tuple[int, Period | None]]) -> list[News]:
        """Add units to these balances, making those that are not there yet."""
        rows = [_balance(key, units, period) for key, (units, period) in sorted(sums.items())]
        try:
            # They come back as one JSON text, too: a row each costs more to read than to write.
            cursor = await self._connection.execute(
                """
                with changed as (
                    insert into balances as b (account, pool, slot, used, version, from_at, until)
                    select account, pool, slot, units, 1, from_at, until
                    from json_to_recordset(%s) as given(account text, pool text, slot text, units bigint,
                                                        from_at timestamptz, until timestamptz)
                    on conflict (account, pool, slot) do update set used = b.used + excluded.used,
                                                                    version = b.version + 1
                    returning account, pool, slot, used, reserved, version)
                select coalesce(json_agg(json_build_array(account, pool, slot, used, reserved, version)), '[]')::text
                from changed
                """,
                (_json(rows),),
            )
            row = await cursor.fetchone()
        except NumericValueOutOfRange:
            raise Refused("too_much_usage", "together these events are more than can be counted") from None
        assert row is not None
        return _changes.decode(row[0])

    async def granted(self, accounts: Iterable[str], since: datetime) -> set[tuple[str, str]]:
        """Which pools of these accounts have grants of their own that could be spent at or after `since`."""
        cursor = await self._connection.execute(
            "select distinct account, pool from grants "
            "where account = any(%s::text[]) and (until is null or until > %s)",
            (columns.texts(sorted(accounts)), since),
        )
        return {(account, pool) async for account, pool in cursor}

    async def complete(
        self, drawn: Mapping[tuple[str, str], tuple[Sequence[Posting], Read | None, str | None]]
    ) -> None:
        """Write what these entries of this transaction changed, where that depended on what was there: their draws,
        what was read, and the root of the chain they amend."""
        rows = [
            {
                "account": account,
                "id": id,
                "draws": msgspec.Raw(draws_text(draws).encode()),
                "answer": read,
                "amends": root,
            }
            for (account, id), (draws, read, root) in drawn.items()
        ]
        if rows:
            await self._connection.execute(
                """
                update ledger l set draws = given.draws, answer = given.answer, amends = given.amends
                from json_to_recordset(%s) as given(account text, id text, draws json, answer json, amends text)
                where (l.account, l.id) = (given.account, given.id)
                """,
                (_json(rows),),
            )

    async def take_back(self, keys: Iterable[tuple[str, str]]) -> None:
        """Remove entries of this transaction that turned out to be refused."""
        await self._connection.execute(
            """
            delete from ledger l using json_to_recordset(%s) as given(account text, id text)
            where (l.account, l.id) = (given.account, given.id)
            """,
            (_json([{"account": account, "id": id} for account, id in keys]),),
        )

    async def chains(self, keys: Iterable[tuple[str, str]]) -> list[EventAsKept]:
        """Every event of the chains that these events belong to, by account and id."""
        return await self._entries(
            """
            with asked as (
                select distinct l.account, coalesce(l.amends, l.id) as root
                from json_to_recordset(%s) as given(account text, id text) join ledger l using (account, id)
                where l.kind = 'event')
            select {columns} from asked join ledger l on l.account = asked.account and l.id = asked.root
            union all
            select {columns} from asked join ledger l on l.account = asked.account and l.amends = asked.root
            """,
            _json([{"account": account, "id": id} for account, id in keys]),
        )

    async def said(self, key: Key, since: datetime | None) -> dict[str, Said]:
        """What counts today in a window that does not add up and began at `since`, by the root of its chain."""
        account, pool, slot = key
        entries = await self._entries(
            # An event is never recorded more than five minutes before its time; the index on that column is small.
            """
            select {columns} from ledger l
            where account = %s and kind = 'event' and answer is not null
              and (%s::timestamptz is null or recorded_at >= %s::timestamptz - interval '5 minutes')
            """,
            account,
            since,
            since,
        )
        latest: dict[str, EventAsKept] = {}
        for entry in entries:
            if entry.root not in latest or latest[entry.root].read.generation < entry.read.generation:
                latest[entry.root] = entry
        return {
            root: _said(entry, pool)
            for root, entry in latest.items()
            if pool in entry.read.reads and any((draw.pool, draw.slot) == (pool, slot) for draw in entry.draws)
        }

    async def _entries(self, statement: str, *parameters: object) -> list[EventAsKept]:
        row = "l.account, l.id, coalesce(l.amends, l.id), l.time, l.draws::text, l.answer::text"
        cursor = await self._connection.execute(statement.format(columns=row).encode(), parameters)
        return [
            EventAsKept(account, id, root, time, _draws.decode(draws), _reads.decode(answer) if answer else Read())
            async for account, id, root, time, draws, answer in cursor
        ]

    async def windows(
        self, account: str, *, pool: str | None, from_at: datetime, until: datetime, limit: int
    ) -> list[KeptWindow]:
        """Counts of windows that end after `from_at` and begin before `until`, the newest first."""
        cursor = await self._connection.execute(
            """
            select pool, from_at, until, used, reserved from balances
            where account = %(account)s and (%(pool)s::text is null or pool = %(pool)s)
              and (slot = 'lifetime' or from_at < %(until)s and until > %(from_at)s and strpos(slot, ' ') = 0)
            order by from_at desc nulls first, pool limit %(limit)s
            """,
            {"account": account, "pool": pool, "from_at": from_at, "until": until, "limit": limit},
        )
        return [KeptWindow(*row) async for row in cursor]

    async def grouped(
        self, account: str, pool: str, slots: Sequence[str], *, by: str, since: datetime | None, limit: int
    ) -> dict[str, list[tuple[str | None, int]]]:
        """What was used in these windows, by `member` or the value of a property, the most used first.

        What was amended belongs to what the last amendment says.
        """
        cursor = await self._connection.execute(
            """
            with heads as (
                select distinct on (amends) amends as root,
                       case when %(by)s = 'member' then member else properties ->> %(by)s end as value
                from ledger where account = %(account)s and amends is not null
                order by amends, (answer ->> 'generation')::int desc),
            drawn as (
                select d ->> 1 as slot, (d ->> 2)::bigint as used,
                       case when h.root is not null then h.value when %(by)s = 'member' then l.member
                            else l.properties ->> %(by)s end as value
                from ledger l cross join lateral json_array_elements(l.draws) d
                left join heads h on h.root = coalesce(l.amends, l.id)
                where l.account = %(account)s and d ->> 0 = %(pool)s and d ->> 1 = any(%(slots)s)
                  and (%(since)s::timestamptz is null
                       or l.recorded_at >= %(since)s::timestamptz - interval '5 minutes')),
            summed as (
                select slot, value, sum(used)::bigint as used,
                       row_number() over (partition by slot order by sum(used) desc, value) as place
                from drawn group by slot, value having sum(used) <> 0)
            select slot, value, used from summed where place <= %(limit)s order by slot, place
            """,
            {"account": account, "pool": pool, "slots": list(slots), "by": by, "since": since, "limit": limit},
        )
        found: dict[str, list[tuple[str | None, int]]] = {}
        async for slot, value, used in cursor:
            found.setdefault(slot, []).append((value, used))
        return found

    async def by_node(
        self, account: str, pool: str, slots: Sequence[str], *, limit: int
    ) -> dict[str, list[tuple[str | None, int]]]:
        """What was used at each node in these windows, the most used first."""
        cursor = await self._connection.execute(
            """
            with counted as (
                select k.slot, substr(b.slot, length(k.slot) + 7) as node, b.used,
                       row_number() over (partition by k.slot order by b.used desc, b.slot) as place
                from balances b join unnest(%(slots)s::text[]) k (slot) on starts_with(b.slot, k.slot || ' node:')
                where b.account = %(account)s and b.pool = %(pool)s and b.used <> 0 and strpos(b.slot, '?') = 0)
            select slot, node, used from counted where place <= %(limit)s order by slot, place
            """,
            {"account": account, "pool": pool, "slots": list(slots), "limit": limit},
        )
        found: dict[str, list[tuple[str | None, int]]] = {}
        async for slot, node, used in cursor:
            found.setdefault(slot, []).append((node, used))
        return found

    async def seen(self, values: Iterable[tuple[Key, str]]) -> set[tuple[Key, str]]:
        """Those of these values that their window has seen."""
        cursor = await self._connection.execute(
            """
            select s.account, s.pool, s.slot, s.value
            from json_to_recordset(%s) as given(account text, pool text, slot text, value text)
            join seen_values s using (account, pool, slot, value)
            """,
            (_values(values),),
        )
        return {((account, pool, slot), value) async for account, pool, slot, value in cursor}

    async def see(self, values: Iterable[tuple[Key, str]]) -> None:
        await self._connection.execute(
            """
            insert into seen_values select account, pool, slot, value
            from json_to_recordset(%s) as given(account text, pool text, slot text, value text)
            on conflict do nothing
            """,
            (_values(values),),
        )

    async def see_only(self, key: Key, values: Iterable[str]) -> None:
        """State all that a window has seen."""
        await self._connection.execute("delete from seen_values where (account, pool, slot) = (%s, %s, %s)", key)
        await self.see([(key, value) for value in values])


_changes = msgspec.json.Decoder(list[News])
_draws = msgspec.json.Decoder(tuple[Posting, ...])
_reads = msgspec.json.Decoder(Read)
_NULL = "\\N"


_key: Callable[[EventEntry], tuple[str, str]] = attrgetter("account", "id")


def _line(event: EventEntry, recorded_at: str) -> str:
    """A line of COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html"""
    account, id, properties = event.account, event.id, event.properties
    if "\\" in account:
        account = _escaped(account)
    if "\\" in id:
        id = id.replace("\\", "\\\\")
    if properties is None:
        properties = _NULL
    elif "\\" in properties:
        properties = properties.replace("\\", "\\\\")
    member = _NULL if event.member is None else _escaped(event.member)
    amends = _NULL if event.amends is None else _escaped(event.amends)
    return (
        f"{account}\t{id}\tevent\t{_escaped(event.name)}\t{event.quantity}\t{event.time.isoformat()}\t{recorded_at}\t"
        f"{event.digest}\t{event.draws}\t{member}\t{properties}\t{amends}\n"
    )


@lru_cache(maxsize=1024)
def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _balance(key: Key, units: int, period: Period | None) -> _Balance:
    if period is None:
        return _Balance(*key, units)
    return _Balance(*key, units, period.from_at, period.until)


def _values(values: Iterable[tuple[Key, str]]) -> str:
    rows = sorted((account, pool, slot, value) for (account, pool, slot), value in values)
    return _json([dict(zip(("account", "pool", "slot", "value"), row, strict=True)) for row in rows])


def _said(entry: EventAsKept, pool: str) -> Said:
    _, read = entry.read.reads[pool]
    return Said(entry.id, entry.time, read) if isinstance(read, int) else Said(entry.id, entry.time, 1, read)
