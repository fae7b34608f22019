"""Rows of plan changes and their steps, and when the accounts they are of were last settled.

Laws: an account has at most one change under way, and a subscription at most one that is scheduled; a key and a quote
stand for one change each; only the latest claim of a row may change it; a step is written once and never changed.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.changes.plan_change import PlanChange, Step
from paygrade.changes.quote import Quote
from paygrade.changes.transition import Expected, PlanTransition

_JSON = {"quoted": Quote | None, "settlement": PlanTransition | None, "expected": Expected | None}
_decoders = {name: msgspec.json.Decoder(kind) for name, kind in _JSON.items()}


_NAMES = PlanChange.__struct_fields__
_COLUMNS = ", ".join(f"{name}::text" if name in _JSON else name for name in _NAMES)


class PlanChanges:
    """Plan changes within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def add(self, change: PlanChange) -> bool:
        """Write a new one. False: one of its key or its quote is there, or another one is under way."""
        cursor = await self._connection.execute(
            f"""
            insert into plan_changes ({", ".join(_NAMES)}) values ({", ".join(f"%({name})s" for name in _NAMES)})
            on conflict do nothing
            """,
            _values(change),
        )
        return cursor.rowcount == 1

    async def save(self, change: PlanChange, *, lease_s: float | None = None, retry_s: float | None = None) -> None:
        """Save a row that this transaction has locked. With `lease_s` the claim goes on; else it is given back."""
        changing = [name for name in _NAMES if name not in ("account", "id", "key", "quote", "fence")]
        await self._connection.execute(
            f"""
            update plan_changes set {", ".join(f"{name} = %({name})s" for name in changing)},
                   leased_until = clock_timestamp() + %(lease)s::interval,
                   retry_at = clock_timestamp() + %(retry)s::interval
            where account = %(account)s and id = %(id)s
            """,
            {**_values(change), "lease": _seconds(lease_s), "retry": _seconds(retry_s)},
        )

    async def take_back(self, change: PlanChange) -> PlanChange:
        """Let a row that is held be taken back; returns it as it is then. At once, unless somebody has it: what they
        ask the provider for may still come about, so they find out first and then go back themselves."""
        undone = replace(change, undo=True, done_fence=None, attempts=0, error=None)
        await self._connection.execute(
            """
            update plan_changes set undo = true, done_fence = null, attempts = 0, error = null, retry_at = null
            where account = %s and id = %s
            """,
            (change.account, change.id),
        )
        return undone

    async def hurry(self, change: PlanChange) -> None:
        """Let whoever is free look at it, however long it was to wait."""
        await self._connection.execute(
            "update plan_changes set retry_at = null where account = %s and id = %s", (change.account, change.id)
        )

    async def find(self, account: str, id: str) -> PlanChange | None:
        return await self._one("account = %s and id = %s", (account, id))

    async def of_key(self, account: str, key: str) -> PlanChange | None:
        return await self._one("account = %s and key = %s", (account, key))

    async def of_quote(self, account: str, quote: str) -> PlanChange | None:
        return await self._one("account = %s and quote = %s", (account, quote))

    async def under_way(self, account: str, *, locked: bool = True) -> tuple[PlanChange, ...]:
        """Those of an account that are not resolved, held until the end of the transaction."""
        lock = "for update" if locked else ""
        return await self._many(
            f"account = %s and state in ('asked', 'pending', 'scheduled') order by asked_at {lock}", (account,)
        )

    async def latest_of_plan(self, account: str, subscription: str) -> PlanChange | None:
        """The change that went to another plan last, whatever else was changed or done since."""
        return await self._one(
            """
            account = %s and subscription = %s and state = 'applied'
            and split_part(settlement ->> 'plan_before', '@', 1)
                is distinct from split_part(settlement ->> 'plan_after', '@', 1)
            order by resolved_at desc, asked_at desc limit 1
            """,
            (account, subscription),
        )

    async def of_account(self, account: str, *, limit: int) -> tuple[PlanChange, ...]:
        """Those of an account, the latest first."""
        return await self._many("account = %s order by asked_at desc, id limit %s", (account, limit))

    async def claim(self, *, limit: int, lease_s: float, late: timedelta, at: datetime) -> tuple[PlanChange, ...]:
        """Take those on which there is something to do at the provider, and that nobody has: those asked for first.
        One that is scheduled is looked at `late` after its time, if no fact has told of it by then; one that is applied
        while its schedule stands, to let go of that."""
        cursor = await self._connection.execute(
            f"""
            with chosen as (
                select account, id from plan_changes
                where done_fence is null and (state in ('asked', 'pending', 'scheduled') or schedule is not null)
                  and state not in ('failed', 'canceled')
                  and (state <> 'scheduled' or undo or effective_at + %(late)s <= %(at)s)
                  and subject not like 'subscription:%%'
                  and (leased_until is null or leased_until <= clock_timestamp())
                  and (retry_at is null or retry_at <= clock_timestamp())
                order by asked_at limit %(limit)s for update skip locked)
            update plan_changes t set fence = t.fence + 1, leased_until = clock_timestamp() + %(lease)s
            from chosen c where (t.account, t.id) = (c.account, c.id)
            returning {", ".join(f"t.{name}::text" if name in _JSON else f"t.{name}" for name in _NAMES)}
            """,
            {"limit": limit, "lease": timedelta(seconds=lease_s), "late": late, "at": at},
        )
        return tuple([_saved(row) async for row in cursor])

    async def lock(self, claimed: PlanChange) -> PlanChange | None:
        """The row as it is now, held; None when it was claimed since, or nothing more is to be done at the provider."""
        return await self._one(
            "account = %s and id = %s and fence = %s and state not in ('failed', 'canceled') and done_fence is null "
            "for update",
            (claimed.account, claimed.id, claimed.fence),
        )

    async def hold(self, account: str, id: str) -> PlanChange | None:
        """The row, held until the end of the transaction."""
        return await self._one("account = %s and id = %s for update", (account, id))

    async def step(self, account: str, change: str, step: str, detail: str, at: datetime) -> None:
        """Note what happened to a change. Its row has to be locked, or new."""
        await self._connection.execute(
            """
            insert into plan_change_steps (account, change, number, at, step, detail)
            select %(account)s, %(change)s, 1 + count(*), %(at)s, %(step)s, %(detail)s
            from plan_change_steps where account = %(account)s and change = %(change)s
            """,
            {"account": account, "change": change, "at": at, "step": step, "detail": detail.replace("\0", "")},
        )

    async def note_reverted(self, account: str, id: str, *, by: str) -> None:
        """Say that a change was taken back by another one."""
        await self._connection.execute(
            "update plan_changes set reverted_by = %s where account = %s and id = %s", (by, account, id)
        )

    async def steps(self, account: str, change: str) -> tuple[Step, ...]:
        cursor = await self._connection.execute(
            "select number, at, step, detail from plan_change_steps where account = %s and change = %s order by number",
            (account, change),
        )
        return tuple([Step(*row) async for row in cursor])

    async def settled_at(self, account: str) -> datetime | None:
        """When what the account buys was last looked at for changes."""
        cursor = await self._connection.execute("select settled_at from accounts where account = %s", (account,))
        row = await cursor.fetchone()
        return row[0] if row else None

    async def settled(self, account: str, at: datetime, *, next_at: datetime | None) -> None:
        """Say that it was looked at, and when dates alone change it next."""
        await self._connection.execute(
            "update accounts set settled_at = greatest(settled_at, %s), settle_at = %s where account = %s",
            (at, next_at, account),
        )

    async def to_settle(self, *, limit: int, at: datetime) -> tuple[str, ...]:
        """Accounts of which dates have changed what is bought."""
        cursor = await self._connection.execute(
            "select account from accounts where settle_at <= %s order by settle_at limit %s", (at, limit)
        )
        return tuple([account async for (account,) in cursor])

    async def _one(self, which: str, values: tuple[object, ...]) -> PlanChange | None:
        found = await self._many(which, values)
        return found[0] if found else None

    async def _many(self, which: str, values: tuple[object, ...]) -> tuple[PlanChange, ...]:
        cursor = await self._connection.execute(f"select {_COLUMNS} from plan_changes where {which}", values)
        return tuple([_saved(row) async for row in cursor])


# Any: what goes into columns of several types.
def _values(change: PlanChange) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(change, name) for name in _NAMES}
    for name in _JSON:
        if values[name] is not None:
            values[name] = msgspec.json.encode(values[name]).decode()
    for name in ("reason", "error"):
        values[name] = values[name].replace("\0", "") if values[name] else None
    return values


def _saved(row: Iterable[Any]) -> PlanChange:
    values = dict(zip(_NAMES, row, strict=True))
    for name, decoder in _decoders.items():
        if values[name] is not None:
            values[name] = decoder.decode(values[name])
    return PlanChange(**values)


def _seconds(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
