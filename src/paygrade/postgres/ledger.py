"""Ledger entries, balances, grants and reservations.

Laws: whoever changes balances locks them first, in the order of their keys, then grants, then reservations; an entry
is written once and never changed; a version grows with every change of its row.

`lateral` with its own `limit`, `offset` or `for update` keeps the planner from turning a join around: the keys lead, in
their order, and each row is found by its primary key, however small the table was when the plan was made.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import TupleRow

from paygrade.postgres import columns
from paygrade.usage.balances import Grant, Row, SlotDetail
from paygrade.usage.entries import Answered, Change, Entry, Held, Kept, Key, Posting, Reservation, Taken
from paygrade.usage.history import Drawn

Cursor = AsyncCursor[TupleRow]
Span = tuple[datetime | None, datetime | None]


class Ledger:
    """The rows of the ledger, inside one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def take(
        self,
        keys: Sequence[Key],
        pools: Sequence[tuple[str, str]],
        ids: Sequence[tuple[str, str]],
        reservations: Sequence[tuple[str, str]],
        at: datetime,
    ) -> Taken:
        """Lock these slots, the grants of these pools (account, pool) and these reservations, and read what these ids
        (account, id) were answered with. Slots that are not there yet are left out. In a pipeline, one round trip."""
        # All is asked before any of it is read: whoever reads in a pipeline waits for what was asked so far.
        slots = await self._ask_slots(sorted(keys), lock=True) if keys else None
        grants = await self._ask_grants(pools, at, lock=True) if pools else None
        held = await self._ask_reservations(reservations, lock=True) if reservations else None
        known = await self._ask_answered(ids) if ids else None
        return Taken(
            await _slots(slots, sorted(keys)) if slots is not None else {},
            await _grants(grants) if grants is not None else {},
            await _reservations(held) if held is not None else {},
            await _answered(known, ids) if known is not None else {},
        )

    async def answered(self, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Answered]:
        """What these ids (account, id) were answered with."""
        return await _answered(await self._ask_answered(ids), ids)

    async def _ask_answered(self, ids: Sequence[tuple[str, str]]) -> Cursor:
        return await self._connection.execute(
            """
            select k.n, l.digest, l.kind, l.denied, l.answer
            from unnest(%s::text[], %s::text[]) with ordinality k (account, id, n),
                 lateral (select digest, kind, denied, answer::text from ledger
                          where account = k.account and id = k.id limit 1) l
            """,
            columns.keys(ids, 2),
        )

    async def load(self, keys: Sequence[Key]) -> dict[Key, Kept]:
        """The same rows without locking them; those that are not there are left out."""
        return await _slots(await self._ask_slots(keys, lock=False), keys)

    async def _ask_slots(self, ordered: Sequence[Key], *, lock: bool) -> Cursor:
        query = """
            select k.n, b.used, b.reserved, b.version, b.expires_at, b.detail
            from unnest(%s::text[], %s::text[], %s::text[]) with ordinality k (account, pool, slot, n),
                 lateral (select used, reserved, version, expires_at, detail::text from balances
                          where account = k.account and pool = k.pool and slot = k.slot limit 1) b
        """
        locking = query.replace("limit 1", "for update")
        return await self._connection.execute(locking if lock else query, columns.keys(ordered, 3))

    async def make(self, keys: Sequence[Key], spans: Mapping[Key, Span], *, lock: bool = False) -> None:
        """Make the rows of slots that are new: their version is 1, since 0 is remembered of those that are not there.
        `spans`: when a slot of a window begins and ends.

        With `lock`, hold those that are there as well, in one pass in the order of `keys`: nobody who waits for a row
        holds one that comes after it.
        """
        from_until = [spans.get(key, (None, None)) for key in keys]
        await self._connection.execute(
            f"""
            insert into balances as b (account, pool, slot, version, from_at, until)
            select a, p, s, 1, f, u
            from unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[]) k (a, p, s, f, u)
            on conflict {"(account, pool, slot) do update set version = b.version" if lock else "do nothing"}
            """,
            (
                *columns.keys(keys, 3),
                columns.instants([from_at for from_at, _ in from_until]),
                columns.instants([until for _, until in from_until]),
            ),
        )

    async def active_at(self, account: str, members: Sequence[str]) -> dict[str, datetime]:
        """When each of these members last used or asked for something; those who never did are left out."""
        if not members:
            return {}
        cursor = await self._connection.execute(
            """
            select m.member, l.time
            from unnest(%s::text[]) as m (member), lateral (
                select time from ledger where account = %s and member = m.member order by time desc limit 1
            ) l
            """,
            (list(members), account),
        )
        return dict(await cursor.fetchall())

    async def member_slots(self, account: str, prefixes: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """By pool and slot: what each member used, of the pools and windows (pool, slot) given."""
        cursor = await self._connection.execute(
            """
            select b.pool, b.slot, b.used, b.reserved from balances b
            join unnest(%s::text[], %s::text[]) k (pool, slot)
              on b.pool = k.pool and starts_with(b.slot, k.slot || ' member:')
            where b.account = %s
            """,
            (*columns.keys(prefixes, 2), account),
        )
        return {(pool, slot): Row(used, reserved) async for pool, slot, used, reserved in cursor}

    async def slots_of(self, account: str) -> list[tuple[str, str]]:
        """Pool and slot of every balance of an account, those of grants among them."""
        cursor = await self._connection.execute(
            """
            select pool, slot from balances where account = %(account)s
            union all select pool, 'grant:' || id from grants where account = %(account)s
            """,
            {"account": account},
        )
        return [(pool, slot) async for pool, slot in cursor]

    async def drawn(self, account: str, until: datetime, *, believed: bool = True) -> list[Drawn]:
        """Every draw of the account that was known at `until`, or had happened by then; in no order."""
        cursor = await self._connection.execute(
            """
            select time, draws::text from ledger
            where account = %s and (time <= %s and (not %s or kind = 'expire') or (%s and recorded_at <= %s))
              and draws::text <> '[]'
            """,
            (account, until, believed, believed, until),
        )
        return [Drawn(time, _draws.decode(draws)) async for time, draws in cursor]

    async def entries(self, account: str, pool: str, *, before: tuple[datetime, str] | None, limit: int) -> list[Entry]:
        """Entries that drew from this pool or were asked of it, the newest first; those recorded before that (instant,
        id)."""
        cursor = await self._connection.execute(
            """
            select id, kind, feature, quantity, time, recorded_at, digest, draws::text, denied, member from ledger
            where account = %(account)s
              and (feature = %(pool)s or exists (select from json_array_elements(draws) d where d ->> 0 = %(pool)s))
              and (%(at)s::timestamptz is null or (recorded_at, id) < (%(at)s, %(id)s))
            order by recorded_at desc, id desc limit %(limit)s
            """,
            {
                "account": account,
                "pool": pool,
                "at": before and before[0],
                "id": before and before[1],
                "limit": limit,
            },
        )
        return [_entry(account, row) async for row in cursor]

    async def statements(
        self,
        account: str,
        *,
        until: tuple[datetime, str | None] | None,
        recorded_until: datetime | None = None,
        happened_until: datetime | None = None,
        limit: int,
    ) -> list[Entry]:
        """What was granted, taken back and stated of units, the newest first: recorded at that instant at the latest,
        or where an id is named, before that entry."""
        cursor = await self._connection.execute(
            """
            select id, kind, feature, quantity, time, recorded_at, digest, draws::text, denied, member from ledger
            where account = %(account)s and kind in ('grant', 'void', 'set') and denied is null
              and (%(at)s::timestamptz is null or recorded_at < %(at)s
                   or recorded_at = %(at)s and (%(id)s::text is null or id < %(id)s))
              and recorded_at <= coalesce(%(recorded)s::timestamptz, 'infinity')
              and time <= coalesce(%(happened)s::timestamptz, 'infinity')
            order by recorded_at desc, id desc limit %(limit)s
            """,
            {
                "account": account,
                "at": until and until[0],
                "id": until and until[1],
                "recorded": recorded_until,
                "happened": happened_until,
                "limit": limit,
            },
        )
        return [_entry(account, row) async for row in cursor]

    async def grant_reasons(self, account: str, grants: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Why each of these (pool, id) was granted."""
        cursor = await self._connection.execute(
            """
            select g.pool, g.id, g.reason from grants g
            join unnest(%s::text[], %s::text[]) k (pool, id) on g.pool = k.pool and g.id = k.id
            where g.account = %s
            """,
            (*columns.keys(grants, 2), account),
        )
        return {(pool, id): reason async for pool, id, reason in cursor}

    async def grants_known(self, account: str, until: datetime, *, believed: bool = True) -> dict[str, list[Grant]]:
        """By pool: the grants that were known at `until`, or all there are, less what was voided by then."""
        cursor = await self._connection.execute(
            """
            select g.pool, g.id, g.kind, g.units, g.priority, g.from_at, g.until,
                   (select coalesce(sum(quantity), 0) from ledger l
                    where l.account = g.account and l.kind = 'void' and l.feature = g.pool
                      and split_part(l.id, chr(9), 2) = g.id and l.recorded_at <= %s)
            from grants g where g.account = %s and (g.recorded_at <= %s or not %s) order by g.pool, g.id
            """,
            (until, account, until, believed),
        )
        found: dict[str, list[Grant]] = {}
        async for pool, id, kind, units, priority, from_at, ends_at, voided in cursor:
            grant = Grant(id, kind, units, from_at, ends_at, priority, voided=int(voided))
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
                 k (account, pool, slot, used, reserved, version, expires_at, detail),
                 lateral (select ctid from balances
                          where account = k.account and pool = k.pool and slot = k.slot limit 1) its
            where b.ctid = its.ctid
            """,
            (
                *columns.keys([change.key for change in changes], 3),
                columns.numbers([change.used for change in changes]),
                columns.numbers([change.reserved for change in changes]),
                columns.numbers([change.version for change in changes]),
                columns.instants([change.expires_at for change in changes]),
                columns.texts([_json(change.detail) for change in changes]),
            ),
        )

    async def touch(self, account: str, pool: str) -> None:
        """Let every slot of a pool have a new version, so that nobody counts on what they remember of it."""
        await self._connection.execute(
            """
            with its as (select ctid from balances where account = %s and pool = %s
                         order by slot collate "C" for update)
            update balances b set version = version + 1 from its where b.ctid = its.ctid
            """,
            (account, pool),
        )

    async def write(self, entries: Sequence[Entry]) -> None:
        """Add entries. The transaction is refused `id_taken` when another one took one of the ids meanwhile."""
        await self._connection.execute(
            """
            insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws, denied, member,
                                properties, answer)
            select a, i, k, f, q, t, r, d, w::json, n, m, p::json, s::json
            from unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[],
                        %s::timestamptz[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
                 e (a, i, k, f, q, t, r, d, w, n, m, p, s)
            order by a, i -- so that no two who take each other's ids wait for each other
            """,
            (
                columns.texts([e.account for e in entries]),
                columns.texts([e.id for e in entries]),
                columns.texts([e.kind for e in entries]),
                columns.texts([e.feature for e in entries]),
                columns.numbers([e.quantity for e in entries]),
                columns.instants([e.time for e in entries]),
                columns.instants([e.recorded_at for e in entries]),
                columns.numbers([e.digest for e in entries]),
                columns.texts([draws_text(e.draws) for e in entries]),
                columns.texts([e.denied for e in entries]),
                columns.texts([e.member for e in entries]),
                columns.texts([_json(e.properties) for e in entries]),
                columns.texts([None if e.answer is None else e.answer.decode() for e in entries]),
            ),
        )

    async def grants(self, pools: Sequence[tuple[str, str]], at: datetime) -> dict[tuple[str, str], list[Grant]]:
        """By account and pool: grants that can still be spent or hold something."""
        return await _grants(await self._ask_grants(sorted(set(pools)), at, lock=False))

    async def _ask_grants(self, pools: Sequence[tuple[str, str]], at: datetime, *, lock: bool) -> Cursor:
        query = """
            select k.account, k.pool, g.*
            from unnest(%s::text[], %s::text[]) k (account, pool),
                 lateral (select id, kind, units, priority, from_at, until, used, reserved, voided from grants
                          where account = k.account and pool = k.pool and (until is null or until > %s or reserved > 0)
                          order by id offset 0) g
        """
        locking = query.replace("offset 0", "for update")
        return await self._connection.execute(locking if lock else query, (*columns.keys(pools, 2), at))

    async def grant(self, account: str, pool: str, grant: Grant, *, reason: str, at: datetime) -> None:
        """Add a grant whose entry is written: nobody else has its id."""
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
                *columns.keys([(account, pool, grant.id) for account, pool, grant in changed], 3),
                columns.numbers([grant.used for _, _, grant in changed]),
                columns.numbers([grant.reserved for _, _, grant in changed]),
                columns.numbers([grant.voided for _, _, grant in changed]),
            ),
        )

    async def reservations(self, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Reservation]:
        """Reservations by account and id."""
        return await _reservations(await self._ask_reservations(ids, lock=False))

    async def _ask_reservations(self, ids: Sequence[tuple[str, str]], *, lock: bool) -> Cursor:
        query = f"""
            select {_RESERVATION} from unnest(%s::text[], %s::text[]) k (account, id)
            join reservations r on r.account = k.account and r.id = k.id order by r.account, r.id
        """
        return await self._connection.execute(
            f"{query} for update of r" if lock else query, columns.keys(sorted(set(ids)), 2)
        )

    async def next_ends(self, accounts: Iterable[str]) -> dict[str, datetime]:
        """When the first open reservation of each of these accounts ends; accounts without one are left out."""
        cursor = await self._connection.execute(
            "select account, min(expires_at) from reservations where state = 'open' and account = any(%s) group by 1",
            (sorted(set(accounts)),),
        )
        return dict(await cursor.fetchall())

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

    async def open_reservations(self, accounts: Sequence[str]) -> list[Reservation]:
        """Reservations of these accounts that nobody has resolved, by when they end; those that have ended are still
        in the counts."""
        cursor = await self._connection.execute(
            f"""
            select {_RESERVATION} from reservations r
            where state = 'open' and account = any(%s::text[]) order by expires_at, id
            """,
            (columns.texts(accounts),),
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
                columns.texts([r.account for r in reservations]),
                columns.texts([r.id for r in reservations]),
                columns.texts([r.feature for r in reservations]),
                columns.texts([r.member for r in reservations]),
                columns.numbers([r.units for r in reservations]),
                columns.numbers([r.committed for r in reservations]),
                columns.texts([r.state for r in reservations]),
                columns.texts([_json(r.held) for r in reservations]),
                columns.instants([r.made_at for r in reservations]),
                columns.instants([r.expires_at for r in reservations]),
            ),
        )


async def _slots(cursor: Cursor, keys: Sequence[Key]) -> dict[Key, Kept]:
    return {
        keys[n - 1]: Kept(Row(used, reserved, _detail(detail)), version, expires_at)
        for n, used, reserved, version, expires_at, detail in await cursor.fetchall()
    }


async def _answered(cursor: Cursor, ids: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Answered]:
    return {
        ids[n - 1]: Answered(digest, kind, denied, None if answer is None else answer.encode())
        for n, digest, kind, denied, answer in await cursor.fetchall()
    }


async def _grants(cursor: Cursor) -> dict[tuple[str, str], list[Grant]]:
    found: dict[tuple[str, str], list[Grant]] = {}
    for account, pool, id, kind, units, priority, from_at, until, used, reserved, voided in await cursor.fetchall():
        grant = Grant(id, kind, units, from_at, until, priority, used, reserved, voided)
        found.setdefault((account, pool), []).append(grant)
    return found


async def _reservations(cursor: Cursor) -> dict[tuple[str, str], Reservation]:
    return {(row[0], row[1]): _reservation(row) for row in await cursor.fetchall()}


def draws_text(draws: Iterable[Posting]) -> str:
    """Draws as they are kept: `[[pool, slot, used, reserved], …]`, with the exact price behind where there is one."""
    return f"[{','.join([_draw_text(draw) for draw in draws])}]"


def _draw_text(draw: Posting) -> str:
    exact = "" if draw.exact is None else f",{_json(draw.exact)}"
    return f"{_head(draw.pool, draw.slot)},{draw.used},{draw.reserved}{exact}]"


@lru_cache(maxsize=4096)
def _head(pool: str, slot: str) -> str:
    """How a draw begins, up to its slot: most of a batch draws from the same few."""
    return msgspec.json.encode((pool, slot)).decode()[:-1]


_RESERVATION = """r.account, r.id, r.feature, r.member, r.units, r.committed, r.state, r.held::text, r.made_at,
                  r.expires_at"""
_details = msgspec.json.Decoder(SlotDetail)
_helds = msgspec.json.Decoder(Held)
_draws = msgspec.json.Decoder(tuple[Posting, ...])


def _json(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _entry(account: str, row: TupleRow) -> Entry:
    id, kind, feature, quantity, time, recorded_at, mark, draws, denied, member = row
    return Entry(account, id, kind, feature, quantity, time, recorded_at, mark, _draws.decode(draws), denied, member)


def _detail(text: str | None) -> SlotDetail | None:
    return None if text is None else _details.decode(text)


def _reservation(row: TupleRow) -> Reservation:
    *head, held, made_at, expires_at = row
    return Reservation(*(*head, _helds.decode(held), made_at, expires_at))
