"""Rows of plan changes and their steps, and when the accounts they are of were last settled.

Laws: an account has at most one change under way, and a subscription at most one that is scheduled; a key and a quote
stand for one change each; a step is written once and never changed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal

from msgspec.structs import replace

from paygrade.changes.plan_change import ChangeState, PlanChange, Step
from paygrade.changes.quote import Quote
from paygrade.changes.transition import Expected, PlanTransition
from paygrade.postgres.claims import Claims

_STANDINGS = {"under_way": "state in ('asked', 'pending')", "to_come": "state = 'scheduled'"}


class ClaimedChange(PlanChange, frozen=True, kw_only=True):
    """A plan change with what its claims need."""

    attempts: int = 0
    fence: int = 0


class PlanChanges(Claims[ClaimedChange]):
    """Plan changes within one transaction.

    One waits while there is something to do at the provider: one that is scheduled once it is `late` after its time, as
    no fact has told of it by then, and as soon as there is a doubt about it (`error`); one that is applied while its
    schedule stands, to let go of that.
    """

    TABLE = "plan_changes"
    KEY = ("account", "id")
    WAITING = (
        (
            """done_fence is null and (state in ('asked', 'pending', 'scheduled') or schedule is not null)
               and state not in ('failed', 'canceled')
               and (state <> 'scheduled' or undo or error is not null or effective_at + %(late)s <= %(at)s)
               and subject not like 'subscription:%%'""",
            "asked_at",
        ),
    )
    OPEN = "state not in ('failed', 'canceled') and done_fence is null"
    ROW = ClaimedChange
    COLUMNS = ClaimedChange.__struct_fields__
    FIXED = frozenset({"key", "quote"})
    JSON: ClassVar = {"quoted": Quote, "settlement": PlanTransition, "expected": Expected}

    async def add(self, change: PlanChange) -> bool:
        """Write a new one. False: one of its key or its quote is there, or another one is under way."""
        row = self._values(change)
        columns, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
        cursor = await self._connection.execute(
            f"insert into plan_changes ({columns}) values ({values}) on conflict do nothing", row
        )
        return cursor.rowcount == 1

    async def take_back(self, change: PlanChange) -> PlanChange:
        """Let a row that is held be taken back; returns it as it is then. At once, unless somebody has it: what they
        ask the provider for may still come about, so they find out first and then go back themselves."""
        undone = replace(change, undo=True, done_fence=None, error=None)
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
        return await self._known("account = %s and id = %s", (account, id))

    async def of_key(self, account: str, key: str) -> PlanChange | None:
        return await self._known("account = %s and key = %s", (account, key))

    async def of_quote(self, account: str, quote: str) -> PlanChange | None:
        return await self._known("account = %s and quote = %s", (account, quote))

    async def under_way(self, account: str, *, locked: bool = True) -> tuple[PlanChange, ...]:
        """Those of an account that are not resolved, held until the end of the transaction."""
        lock = "for update" if locked else ""
        return await self._seen(
            PlanChange,
            f"account = %s and state in ('asked', 'pending', 'scheduled') order by asked_at {lock}",
            (account,),
        )

    async def of_plans(self, account: str) -> tuple[PlanChange, ...]:
        """Those that went to another plan, the latest first, whatever else was changed or done since; as many as can
        still hold something back."""
        return await self._many(
            """
            account = %s and state = 'applied'
            and split_part(settlement ->> 'plan_before', '@', 1)
                is distinct from split_part(settlement ->> 'plan_after', '@', 1)
            order by resolved_at desc, asked_at desc limit 50
            """,
            (account,),
        )

    async def of_account(
        self,
        account: str,
        *,
        state: ChangeState | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int,
    ) -> tuple[PlanChange, ...]:
        """Those of an account, the latest first; from after one on that was asked for then, and has this id."""
        return await self._seen(
            PlanChange,
            """
            account = %(account)s and (%(state)s::text is null or state = %(state)s)
            and (%(at)s::timestamptz is null or (asked_at, id) < (%(at)s::timestamptz, %(id)s::text))
            order by asked_at desc, id desc limit %(limit)s
            """,
            {
                "account": account,
                "state": state,
                "at": before and before[0],
                "id": before and before[1],
                "limit": limit,
            },
        )

    async def search(
        self,
        standing: Literal["under_way", "to_come", "applied", "failed", "canceled"],
        *,
        account: str | None,
        from_at: datetime | None,
        until: datetime | None,
        after: tuple[datetime, str, str] | None,
        limit: int,
    ) -> tuple[PlanChange, ...]:
        """Those of all accounts that stand like this: those to come by date, all others the latest first; from after
        the one of this date, account and id on. What is not asked for is not said, so that each question has the index
        it needs."""
        came, beyond, order = "coalesce(resolved_at, asked_at)", "<", "desc"
        if standing == "to_come":
            came, beyond, order = "effective_at", ">", "asc"
        asked = [
            _STANDINGS.get(standing, f"state = '{standing}'"),
            *(["account = %(account)s"] if account is not None else ()),
            *([f"{came} >= %(from)s"] if from_at is not None else ()),
            *([f"{came} < %(until)s"] if until is not None else ()),
            *([f"({came}, account, id) {beyond} (%(at)s, %(of)s, %(last)s)"] if after is not None else ()),
        ]
        at, of, last = after or (None, None, None)
        return await self._seen(
            PlanChange,
            f"{' and '.join(asked)} order by {came} {order}, account {order}, id {order} limit %(limit)s",
            {"account": account, "from": from_at, "until": until, "at": at, "of": of, "last": last, "limit": limit},
        )

    async def hold(self, account: str, id: str) -> PlanChange | None:
        """The row, held until the end of the transaction."""
        return await self._known("account = %s and id = %s for update", (account, id))

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

    def settling_waits(self) -> str:
        """Whether there are accounts `to_settle`, as SQL."""
        return "exists (select from accounts where settle_at <= %(at)s)"

    async def to_settle(self, *, limit: int, at: datetime) -> tuple[str, ...]:
        """Accounts of which dates have changed what is bought."""
        cursor = await self._connection.execute(
            "select account from accounts where settle_at <= %s order by settle_at limit %s", (at, limit)
        )
        return tuple([account async for (account,) in cursor])

    async def _known(self, which: str, values: Sequence[object]) -> PlanChange | None:
        found = await self._seen(PlanChange, which, values)
        return found[0] if found else None
