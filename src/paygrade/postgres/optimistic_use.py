"""Plain counts and the entries made on them, written together.

Laws: a count is written only if it still has the version before, and an entry only with the count it was decided on;
counts are locked in the order of their keys; one statement does it all, so it is a transaction by itself.
"""

from collections.abc import Sequence

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.postgres import columns
from paygrade.postgres.ledger import draws_text
from paygrade.usage.entries import Entry, Key

Count = tuple[str, str, str, int, int, int]
"""What a count is to be: account, pool, slot, used, reserved (as it was) and version."""


class OptimisticUse:
    """Plain counts, at most one slot of each pool of an account at a time."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def enter(self, counts: Sequence[Count], entries: Sequence[Entry]) -> set[Key]:
        """Write these counts and their entries, all of one instant; both in the order of their keys. Returns those that
        have another version by now: nothing of theirs is written."""
        cursor = await self._connection.execute(
            _ENTER,
            (
                columns.texts([count[0] for count in counts]),
                columns.few([count[1] for count in counts]),
                columns.few([count[2] for count in counts]),
                columns.numbers([count[3] for count in counts]),
                columns.numbers([count[5] for count in counts]),
                len(counts),
                columns.texts([e.account for e in entries]),
                columns.texts([e.id for e in entries]),
                columns.few([e.feature for e in entries]),
                columns.numbers([e.quantity for e in entries]),
                columns.numbers([e.digest for e in entries]),
                columns.few([draws_text(e.draws) for e in entries]),
                columns.few([e.member for e in entries]),
                columns.few([None if e.properties is None else _json(e.properties) for e in entries]),
                columns.texts([None if e.answer is None else e.answer.decode() for e in entries]),
                entries[0].time,
            ),
        )
        rows = await cursor.fetchall()
        if rows[0][0]:
            return set()
        return {count[:3] for count in counts} - {(account, pool, slot) for _, account, pool, slot in rows}


_ENTER = """
    with counted as (
        update balances b set used = k.used, version = k.version
        from unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[])
             k (account, pool, slot, used, version)
        where b.account = k.account and b.pool = k.pool and b.slot = k.slot and b.version = k.version - 1
        returning b.account, b.pool, b.slot),
    saved as (select count(*) = %s as whole from counted),
    entered as (
        insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws, member, properties,
                            answer)
        select a, i, 'consume', f, q, t, t, d, w::json, m, p::json, s::json
        from unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[],
                    %s::text[]) e (a, i, f, q, d, w, m, p, s), (select %s::timestamptz) now (t)
        where (select whole from saved) or (a, f) in (select account, pool from counted))
    select whole, account, pool, slot from saved left join counted on not whole
"""


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
