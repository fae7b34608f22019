"""Rows of the audit chains.

Laws: records are only ever added, at the end of their chain; nothing of one changes later, but that what is personal of
an account can be erased; heads are locked last in a transaction, the accounts' in the order of their keys and then the
environment's, so nobody who waits for one holds up anybody else.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from paygrade.billing.audit_chain import (
    ENVIRONMENT,
    FIRST,
    AuditChain,
    AuditEntry,
    AuditFilter,
    AuditHead,
    AuditRecord,
    chained,
)
from paygrade.postgres.columns import escaped

_FIELDS = (
    "account", "number", "version", "action", "occurred_at", "request", "targets", "changes", "actor", "address",
    "personal", "erasable", "commitments", "salts", "previous", "hash",
)  # fmt: skip
_INSTANT = """to_char({}occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
_COLUMNS = ", ".join(_INSTANT.format("") if name == "occurred_at" else name for name in _FIELDS)
RECORD = ", ".join(_INSTANT.format("p.") if name == "occurred_at" else f"p.{name}" for name in _FIELDS)
"""The columns of a record, of the table `p`: what `record` reads."""
_JSON = frozenset({"targets", "changes", "actor", "personal", "erasable", "commitments", "salts"})
_ADD = f"insert into audit ({', '.join(_FIELDS)}) values ({', '.join(f'%({name})s' for name in _FIELDS)})"

_FILTERS = """
    (%(action)s::text is null or action = %(action)s or action like %(noun)s)
    and (%(actor)s::text is null or actor ->> 'id' = %(actor)s)
    and (%(from_at)s::timestamptz is null or occurred_at >= %(from_at)s)
    and (%(until)s::timestamptz is null or occurred_at < %(until)s)
"""


class Audit:
    """Audit chains within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, entries: Iterable[AuditEntry]) -> list[AuditRecord]:
        """Add these to the ends of their chains. Nothing may be locked after this."""
        added: list[AuditRecord] = []
        ordered = sorted(entries, key=lambda entry: (entry.account == ENVIRONMENT, entry.account))
        for account, its in groupby(ordered, key=lambda entry: entry.account):
            added += await self._extend(account, list(its))
        return added

    async def _extend(self, account: str, entries: Sequence[AuditEntry]) -> list[AuditRecord]:
        cursor = await self._connection.execute(
            """
            insert into audit_heads as h (account, number, hash) values (%s, 0, %s)
            on conflict (account) do update set number = h.number returning number, hash
            """,
            (account, FIRST),
        )
        row = await cursor.fetchone()
        assert row is not None
        (number, previous), records = row, list[AuditRecord]()
        first = number + 1
        for entry in entries:
            records.append(chained(entry, number + 1, previous))
            number, previous = records[-1].number, records[-1].hash
        async with self._connection.cursor() as many:
            await many.executemany(_ADD, [_row(record) for record in records])
        await self._connection.execute(
            """
            with head as (update audit_heads set number = %(number)s, hash = %(hash)s where account = %(account)s)
            insert into audit_unsent (account, number, stream)
            select %(account)s, each, stream
            from audit_streams, generate_series(%(first)s::bigint, %(number)s::bigint) each order by each
            """,
            {"account": account, "number": number, "hash": previous, "first": first},
        )
        return records

    async def of_account(
        self, account: str, wanted: AuditFilter, *, before: int | None, limit: int
    ) -> tuple[AuditRecord, ...]:
        """Records of one chain, the latest first."""
        cursor = await self._connection.execute(
            f"""
            select {_COLUMNS} from audit where account = %(account)s
              and (%(before)s::bigint is null or number < %(before)s) and {_FILTERS}
            order by number desc limit %(limit)s
            """,
            {**_wanted(wanted), "account": account, "before": before, "limit": limit},
        )
        return tuple([record(row) async for row in cursor])

    async def page(
        self, wanted: AuditFilter, *, before: tuple[datetime, str, int] | None, limit: int
    ) -> tuple[AuditRecord, ...]:
        """Records of all chains, the latest first."""
        at, account, number = before or (None, None, None)
        cursor = await self._connection.execute(
            f"""
            select {_COLUMNS} from audit where {_FILTERS}
              and (%(at)s::timestamptz is null or (occurred_at, account, number) < (%(at)s, %(account)s, %(number)s))
            order by occurred_at desc, account desc, number desc limit %(limit)s
            """,
            {**_wanted(wanted), "at": at, "account": account, "number": number, "limit": limit},
        )
        return tuple([record(row) async for row in cursor])

    async def chains(self, account: str, number: int, *, only: bool, limit: int) -> tuple[AuditChain, ...]:
        """The records after this one, chain by chain, with the heads of their chains at the same moment; and chains
        that have a head or records alone. `only`: of this chain and no other."""
        cursor = await self._connection.execute(
            f"""
            with page as materialized (
                select * from audit
                where case when %(only)s then account = %(account)s and number > %(number)s
                           else (account, number) > (%(account)s, %(number)s) end
                order by account, number limit %(limit)s),
            span as (
                select case when count(*) = %(limit)s then max(account) end as last from page),
            heads as (
                select h.account, h.number, h.hash from audit_heads h, span
                where case when %(only)s then h.account = %(account)s
                           else h.account >= %(account)s and (span.last is null or h.account <= span.last) end)
            select coalesce(p.account, h.account), h.number, h.hash, {RECORD}
            from page p full join heads h on h.account = p.account order by 1, p.number
            """,
            {"account": account, "number": number, "only": only, "limit": limit},
        )
        found: list[AuditChain] = []
        for key, its in groupby([row async for row in cursor], key=lambda row: row[0]):
            rows = list(its)
            head = AuditHead(key, rows[0][1], rows[0][2]) if rows[0][1] is not None else None
            found.append(AuditChain(key, head, tuple(record(row[3:]) for row in rows if row[3] is not None)))
        return tuple(found)

    async def heads(self, *, after: str | None, limit: int) -> tuple[AuditHead, ...]:
        """The heads of chains with a key above `after`, by key."""
        cursor = await self._connection.execute(
            """
            select account, number, hash from audit_heads
            where %(after)s::text is null or account > %(after)s order by account limit %(limit)s
            """,
            {"after": after, "limit": limit},
        )
        return tuple([AuditHead(*row) async for row in cursor])

    async def head(self, account: str) -> AuditHead | None:
        cursor = await self._connection.execute(
            "select account, number, hash from audit_heads where account = %s", (account,)
        )
        row = await cursor.fetchone()
        return AuditHead(*row) if row else None

    async def erase(self, account: str) -> int:
        """Erase what is erasable of an account's records; returns of how many."""
        cursor = await self._connection.execute(
            """
            update audit set
                actor = case when erasable ? 'actor' then null else actor end,
                address = case when erasable ? 'address' then null else address end,
                personal = case when erasable ? 'personal' then null else personal end,
                salts = salts - array(select jsonb_array_elements_text(erasable))
            where account = %s and salts ?| array(select jsonb_array_elements_text(erasable))
            """,
            (account,),
        )
        return cursor.rowcount


# Any: whatever a column takes.
def _row(record: AuditRecord) -> dict[str, Any]:
    its = {name: getattr(record, name) for name in _FIELDS}
    return {name: Jsonb(value) if name in _JSON and value is not None else value for name, value in its.items()}


def record(row: Sequence[Any]) -> AuditRecord:
    """A record as it is stored, whatever somebody made of it: nothing of it is checked here. Any: columns."""
    its = dict(zip(_FIELDS, row, strict=True))
    return AuditRecord(**{**its, "occurred_at": its["occurred_at"] or ""})


def _wanted(wanted: AuditFilter) -> dict[str, Any]:
    noun = None if wanted.action is None else f"{escaped(wanted.action)}.%"
    return {**{name: getattr(wanted, name) for name in wanted.__struct_fields__}, "noun": noun}
