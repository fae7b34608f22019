"""Alerts: thresholds that usage has passed."""

from collections.abc import Sequence
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.usage.entries import Alert

_ALERT = "account, pool, slot, percent, used, units, raised_at, resolved_at"


class Alerts:
    """The rows of alerts, inside one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def raise_new(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Keep these; those of them that did not stand already."""
        ordered = sorted(alerts, key=lambda a: (a.account, a.pool, a.slot, a.percent))
        cursor = await self._connection.execute(
            f"""
            insert into alerts as a (account, pool, slot, percent, used, units, raised_at, looked_at)
            select p, o, s, c, u, l, r, r
            from unnest(%s::text[], %s::text[], %s::text[], %s::integer[], %s::bigint[], %s::bigint[],
                        %s::timestamptz[]) k (p, o, s, c, u, l, r)
            on conflict (account, pool, slot, percent) do update
            set used = excluded.used, units = excluded.units, raised_at = excluded.raised_at, resolved_at = null,
                looked_at = excluded.looked_at
            where a.resolved_at is not null
            returning {_ALERT}
            """,
            (
                [a.account for a in ordered],
                [a.pool for a in ordered],
                [a.slot for a in ordered],
                [a.percent for a in ordered],
                [a.used for a in ordered],
                [a.units for a in ordered],
                [a.raised_at for a in ordered],
            ),
        )
        return [_alert(row) async for row in cursor]

    async def resolve(self, keys: Sequence[tuple[str, str, str, int]], at: datetime) -> list[Alert]:
        """These (account, pool, slot, percent) no longer hold; those of them that stood."""
        ordered = sorted(keys)
        cursor = await self._connection.execute(
            f"""
            update alerts a set resolved_at = %s
            from unnest(%s::text[], %s::text[], %s::text[], %s::integer[]) k (p, o, s, c)
            where a.account = k.p and a.pool = k.o and a.slot = k.s and a.percent = k.c and a.resolved_at is null
            returning {_ALERT}
            """,
            (
                at,
                [key[0] for key in ordered],
                [key[1] for key in ordered],
                [key[2] for key in ordered],
                [key[3] for key in ordered],
            ),
        )
        return [_alert(row) async for row in cursor]

    async def resolve_ended(self, ended: Sequence[tuple[str, str, str, datetime]]) -> list[Alert]:
        """These windows (account, pool, slot) have ended, each at its instant; the alerts of them that stood."""
        ordered = sorted(ended)
        cursor = await self._connection.execute(
            f"""
            update alerts a set resolved_at = k.ended_at
            from unnest(%s::text[], %s::text[], %s::text[], %s::timestamptz[]) k (account, pool, slot, ended_at)
            where a.account = k.account and a.pool = k.pool and a.slot = k.slot and a.resolved_at is null
            returning {", ".join(f"a.{name}" for name in _ALERT.split(", "))}
            """,
            tuple([end[part] for end in ordered] for part in range(4)),
        )
        return [_alert(row) async for row in cursor]

    async def to_look_at(self, *, limit: int, before: datetime, at: datetime) -> list[Alert]:
        """Alerts that stand and were last looked at before an instant; they count as looked at from now on."""
        cursor = await self._connection.execute(
            f"""
            update alerts set looked_at = %s where (account, pool, slot, percent) in (
                select account, pool, slot, percent from alerts where resolved_at is null and looked_at < %s
                order by looked_at limit %s for update skip locked)
            returning {_ALERT}
            """,
            (at, before, limit),
        )
        return [_alert(row) async for row in cursor]

    async def of(
        self,
        account: str,
        *,
        pool: str | None = None,
        after: tuple[bool, datetime, str, str, int] | None = None,
        limit: int,
    ) -> list[Alert]:
        """Alerts of an account, those that stand first, then the newest; from after the one on that was resolved or
        not, raised then, and of this pool, slot and percentage."""
        over, raised_at, last_pool, slot, percent = after or (None, None, None, None, None)
        cursor = await self._connection.execute(
            f"""
            select {_ALERT} from alerts where account = %(account)s and (%(of)s::text is null or pool = %(of)s)
              and (%(over)s::boolean is null
                or (resolved_at is not null, -extract(epoch from raised_at), pool, slot, percent)
                   > (%(over)s::boolean, -extract(epoch from %(at)s::timestamptz), %(pool)s::text, %(slot)s::text,
                      %(percent)s::bigint))
            order by resolved_at is not null, raised_at desc, pool, slot, percent limit %(limit)s
            """,
            {
                "account": account,
                "over": over,
                "at": raised_at,
                "pool": last_pool,
                "of": pool,
                "slot": slot,
                "percent": percent,
                "limit": limit,
            },
        )
        return [_alert(row) async for row in cursor]

    async def standing(self, *, limit: int) -> list[Alert]:
        """Some alerts that stand, of whatever account: those that were looked at last."""
        cursor = await self._connection.execute(
            f"select {_ALERT} from alerts where resolved_at is null order by looked_at desc limit %s", (limit,)
        )
        return [_alert(row) async for row in cursor]


def _alert(row: TupleRow) -> Alert:
    return Alert(*row)
