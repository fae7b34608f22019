"""Ledger entries, balances, grants and reservations.

Laws: whoever changes balances locks them first, in the order of their keys, then grants, then reservations; an entry
is written once and never changed; a version grows with every change of its row.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from psycopg.rows import TupleRow

from paygrade.balances import Grant, Row, SlotDetail
from paygrade.entries import Answered, Change, Draw, Entry, Held, Kept, Key, Reservation
from paygrade.errors import Refused
from paygrade.history import Drawn


class Ledger:
    """The rows of the ledger, inside one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def answered(self, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Answered]:
        """What these ids (account, id) were answered with."""
        cursor = await self._connection.execute(
            """
            select k.n, l.digest, l.kind, l.denied, l.answer::text
            from unnest(%s::text[], %s::text[]) with ordinality k (account, id, n)
            join ledger l on l.account = k.account and l.id = k.id
            """,
            _columns(ids, 2),
        )
        return {
            ids[n - 1]: Answered(digest, kind, denied, None if answer is None else answer.encode())
            async for n, digest, kind, denied, answer in cursor
        }

    async def lock(
        self, keys: Sequence[Key], windows: Mapping[Key, tuple[datetime | None, datetime | None]]
    ) -> dict[Key, Kept]:
        """Lock these slots in the order of their keys, making those that are new. `windows`: when a slot of a window
        begins and ends."""
        ordered = sorted(keys)
        found = await self._lock(ordered)
        if len(found) < len(ordered):
            await self._make([key for key in ordered if key not in found], windows)
            found = await self._lock(ordered)
        return found

    async def _lock(self, ordered: Sequence[Key]) -> dict[Key, Kept]:
        cursor = await self._connection.execute(
            """
            select k.n, b.used, b.reserved, b.version, b.expires_at, b.detail::text
            from unnest(%s::text[], %s::text[], %s::text[]) with ordinality k (account, pool, slot, n)
            join balances b on b.account = k.account and b.pool = k.pool and b.slot = k.slot
            order by k.n for update of b
            """,
            _columns(ordered, 3),
        )
        return {
            ordered[n - 1]: Kept(Row(used, reserved, _detail(detail)), version, expires_at)
            async for n, used, reserved, version, expires_at, detail in cursor
        }

    async def _make(self, keys: Sequence[Key], windows: Mapping[Key, tuple[datetime | None, datetime | None]]) -> None:
        spans = [windows.get(key, (None, None)) for key in keys]
        await self._connection.execute(
            """
            insert into balances (account, pool, slot, from_at, until)
            select * from unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
            on conflict do nothing
            """,
            (*_columns(keys, 3), [from_at for from_at, _ in spans], [until for _, until in spans]),
        )

    async def load(self, keys: Sequence[Key]) -> dict[Key, Kept]:
        """The same rows without locking them; those that are not there are left out."""
        cursor = await self._connection.execute(
            """
            select k.n, b.used, b.reserved, b.version, b.expires_at, b.detail::text
            from unnest(%s::text[], %s::text[], %s::text[]) with ordinality k (account, pool, slot, n)
            join balances b on b.account = k.account and b.pool = k.pool and b.slot = k.slot
            """,
            _columns(keys, 3),
        )
        return {
            keys[n - 1]: Kept(Row(used, reserved, _detail(detail)), version, expires_at)
            async for n, used, reserved, version, expires_at, detail in cursor
        }

    async def member_slots(self, account: str, prefixes: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """By pool and slot: what each member used, of the pools and windows (pool, slot) given."""
        cursor = await self._connection.execute(
            """
            select b.pool, b.slot, b.used, b.reserved from balances b
            join unnest(%s::text[], %s::text[]) k (pool, slot)
              on b.pool = k.pool and b.slot >= k.slot || ' member:' and b.slot < k.slot || ' member;'
            where b.account = %s
            """,
            (*_columns(prefixes, 2), account),
        )
        return {(pool, slot): Row(used, reserved) async for pool, slot, used, reserved in cursor}

    async def drawn(self, account: str, until: datetime) -> list[Drawn]:
        """Every draw of the account that was known at `until`, in no order."""
        cursor = await self._connection.execute(
            """
            select time, draws::text from ledger
            where account = %s and (recorded_at <= %s or (kind = 'expire' and time <= %s)) and draws::text <> '[]'
            """,
            (account, until, until),
        )
        return [Drawn(time.astimezone(UTC), _draws.decode(draws)) async for time, draws in cursor]

    async def grants_known(self, account: str, until: datetime) -> dict[str, list[Grant]]:
        """By pool: the grants that were known at `until`, as they were granted, less what was voided by then."""
        cursor = await self._connection.execute(
            """
            select g.pool, g.id, g.kind, g.units, g.priority, g.from_at, g.until,
                   (select coalesce(sum(quantity), 0) from ledger l
                    where l.account = g.account and l.kind = 'void' and l.feature = g.pool
                      and regexp_replace(l.id, ':[0-9]+$', '') = 'void:' || g.id and l.recorded_at <= %s)
            from grants g where g.account = %s and g.recorded_at <= %s order by g.pool, g.id
            """,
            (until, account, until),
        )
        found: dict[str, list[Grant]] = {}
        async for pool, id, kind, units, priority, from_at, ends_at, voided in cursor:
            ends_at = ends_at and ends_at.astimezone(UTC)
            grant = Grant(id, kind, units, from_at.astimezone(UTC), ends_at, priority, voided=int(voided))
            found.setdefault(pool, []).append(grant)
        return found

    async def save(self, changes: Sequence[Change]) -> None:
        """Write what has become of slots that are locked."""
        await self._connection.execute(
            """
            update balances b set used = k.used, reserved = k.reserved, version = k.version,
                   expires_at = k.expires_at, detail = k.detail::json
            from unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
                        %s::timestamptz[], %s::text[])
                 k (account, pool, slot, used, reserved, version, expires_at, detail)
            where b.account = k.account and b.pool = k.pool and b.slot = k.slot
            """,
            (
                *_columns([change.key for change in changes], 3),
                [change.used for change in changes],
                [change.reserved for change in changes],
                [change.version for change in changes],
                [change.expires_at for change in changes],
                [None if change.detail is None else msgspec.json.encode(change.detail).decode() for change in changes],
            ),
        )

    async def write(self, entries: Sequence[Entry]) -> None:
        """Add entries. Refused `id_taken` when another transaction took one of the ids meanwhile."""
        try:
            await self._write(entries)
        except UniqueViolation:
            raise Refused("id_taken", "another request took one of these ids at the same moment; ask again") from None

    async def _write(self, entries: Sequence[Entry]) -> None:
        await self._connection.execute(
            """
            insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws, denied, member,
                                properties, answer)
            select a, i, k, f, q, t, r, d, w::json, n, m, p::json, s::json
            from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[],
                        %s::timestamptz[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
                 e (a, i, k, f, q, t, r, d, w, n, m, p, s)
            """,
            (
                [e.account for e in entries],
                [e.id for e in entries],
                [e.kind for e in entries],
                [e.feature for e in entries],
                [e.quantity for e in entries],
                [e.time for e in entries],
                [e.recorded_at for e in entries],
                [e.digest for e in entries],
                [draws_text(e.draws) for e in entries],
                [e.denied for e in entries],
                [e.member for e in entries],
                [None if e.properties is None else msgspec.json.encode(e.properties).decode() for e in entries],
                [None if e.answer is None else e.answer.decode() for e in entries],
            ),
        )

    async def grants(
        self, pools: Sequence[tuple[str, str]], at: datetime, *, lock: bool
    ) -> dict[tuple[str, str], list[Grant]]:
        """By account and pool: grants that can still be spent or hold something; with `lock`, in key order."""
        found: dict[tuple[str, str], list[Grant]] = {}
        query = """
            select g.account, g.pool, g.id, g.kind, g.units, g.priority, g.from_at, g.until, g.used, g.reserved,
                   g.voided
            from unnest(%s::text[], %s::text[]) k (account, pool)
            join grants g on g.account = k.account and g.pool = k.pool
            where g.until is null or g.until > %s or g.reserved > 0
            order by g.account, g.pool, g.id
        """
        cursor = await self._connection.execute(
            f"{query} for update of g" if lock else query, (*_columns(sorted(set(pools)), 2), at)
        )
        async for account, pool, id, kind, units, priority, from_at, until, used, reserved, voided in cursor:
            until = until and until.astimezone(UTC)
            grant = Grant(id, kind, units, from_at.astimezone(UTC), until, priority, used, reserved, voided)
            found.setdefault((account, pool), []).append(grant)
        return found

    async def grant(self, account: str, pool: str, grant: Grant, *, reason: str, at: datetime) -> None:
        """Add a grant; its id must be new to the pool."""
        await self._connection.execute(
            """
            insert into grants (account, pool, id, kind, units, priority, from_at, until, reason, recorded_at)
            values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            (
                account,
                pool,
                grant.id,
                grant.kind,
                grant.units,
                grant.priority,
                grant.from_at,
                grant.until,
                reason,
                at,
            ),
        )

    async def save_grants(self, changed: Sequence[tuple[str, str, Grant]]) -> None:
        """Write what has become of grants (account, pool, grant) that are locked."""
        await self._connection.execute(
            """
            update grants g set used = k.used, reserved = k.reserved, voided = k.voided
            from unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
                 k (account, pool, id, used, reserved, voided)
            where g.account = k.account and g.pool = k.pool and g.id = k.id
            """,
            (
                [account for account, _, _ in changed],
                [pool for _, pool, _ in changed],
                [grant.id for _, _, grant in changed],
                [grant.used for _, _, grant in changed],
                [grant.reserved for _, _, grant in changed],
                [grant.voided for _, _, grant in changed],
            ),
        )

    async def reservations(self, ids: Sequence[tuple[str, str]], *, lock: bool) -> dict[tuple[str, str], Reservation]:
        """Reservations by account and id; with `lock`, in key order."""
        query = f"""
            select {_RESERVATION} from unnest(%s::text[], %s::text[]) k (account, id)
            join reservations r on r.account = k.account and r.id = k.id order by r.account, r.id
        """
        cursor = await self._connection.execute(
            f"{query} for update of r" if lock else query, _columns(sorted(set(ids)), 2)
        )
        return {(row[0], row[1]): _reservation(row) async for row in cursor}

    async def expired(self, accounts: Iterable[str], at: datetime, *, limit: int = 500) -> list[tuple[str, str]]:
        """Open reservations (account, id) of these accounts whose time is up."""
        cursor = await self._connection.execute(
            """
            select account, id from reservations
            where state = 'open' and account = any(%s) and expires_at <= %s order by 1, 2 limit %s
            """,
            (sorted(set(accounts)), at, limit),
        )
        return [(account, id) async for account, id in cursor]

    async def open_reservations(self, account: str) -> list[Reservation]:
        """Reservations that nobody has resolved, by when they end; those that have ended are still in the counts."""
        cursor = await self._connection.execute(
            f"""
            select {_RESERVATION} from reservations r
            where state = 'open' and account = %s order by expires_at, id
            """,
            (account,),
        )
        return [_reservation(row) async for row in cursor]

    async def save_reservations(self, reservations: Sequence[Reservation]) -> None:
        """Write reservations, new or changed."""
        await self._connection.execute(
            """
            insert into reservations (account, id, feature, member, units, committed, state, held, made_at, expires_at)
            select a, i, f, m, u, c, s, h::json, t, e
            from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[],
                        %s::text[], %s::timestamptz[], %s::timestamptz[]) r (a, i, f, m, u, c, s, h, t, e)
            on conflict (account, id) do update set committed = excluded.committed, state = excluded.state,
                held = excluded.held, expires_at = excluded.expires_at
            """,
            (
                [r.account for r in reservations],
                [r.id for r in reservations],
                [r.feature for r in reservations],
                [r.member for r in reservations],
                [r.units for r in reservations],
                [r.committed for r in reservations],
                [r.state for r in reservations],
                [msgspec.json.encode(r.held).decode() for r in reservations],
                [r.made_at for r in reservations],
                [r.expires_at for r in reservations],
            ),
        )


def draws_text(draws: Iterable[Draw]) -> str:
    """Draws as they are kept: `[[pool, slot, used, reserved], …]`, with the exact price behind where there is one."""
    return msgspec.json.encode(
        [
            (d.pool, d.slot, d.used, d.reserved) if d.exact is None else (d.pool, d.slot, d.used, d.reserved, d.exact)
            for d in draws
        ]
    ).decode()


_RESERVATION = """r.account, r.id, r.feature, r.member, r.units, r.committed, r.state, r.held::text, r.made_at,
                  r.expires_at"""
_details = msgspec.json.Decoder(SlotDetail)
_helds = msgspec.json.Decoder(Held)
_draws = msgspec.json.Decoder(tuple[Draw, ...])


def _detail(text: str | None) -> SlotDetail | None:
    return None if text is None else _details.decode(text)


def _reservation(row: TupleRow) -> Reservation:
    account, id, feature, member, units, committed, state, held, made_at, expires_at = row
    return Reservation(
        account,
        id,
        feature,
        member,
        units,
        committed,
        state,
        _helds.decode(held),
        made_at.astimezone(UTC),
        expires_at.astimezone(UTC),
    )


def _columns(rows: Sequence[tuple[str, ...]], width: int) -> tuple[list[str], ...]:
    return tuple([row[n] for row in rows] for n in range(width))
