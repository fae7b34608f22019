"""Rows of top-ups: units that are bought by themselves, and how each purchase stands.

Laws: a credit of an account has at most one open top-up; only the latest claim of a row may change it; a row leaves
`asked` in the transaction that grants its units, or that says why there are none.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from paygrade.catalog.model import TopUp
from paygrade.usage.top_ups import TopUpState

_COLUMNS = """account, id, credit, units, amount, currency, state, round, balance, customer, invoice, reason, error,
    attempts, fence, window_at, asked_at, round_at, resolved_at"""


class SavedTopUp(Struct, frozen=True):
    """A top-up as saved."""

    account: str
    id: str
    credit: str
    units: int
    amount: int
    currency: str
    state: TopUpState
    round: int
    balance: int
    customer: str | None
    invoice: str | None
    reason: str | None
    error: str | None
    attempts: int
    fence: int
    window_at: datetime
    asked_at: datetime
    round_at: datetime
    resolved_at: datetime | None


class TopUps:
    """Top-ups within one transaction."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    async def states(self, account: str, credit: str, *, window_at: datetime) -> tuple[TopUpState, ...]:
        """How those of one credit stand that count in the window that began then, or are still open."""
        cursor = await self._connection.execute(
            """
            select state from top_ups
            where account = %s and credit = %s and (window_at = %s or state = 'asked') order by asked_at
            """,
            (account, credit, window_at),
        )
        return tuple([state async for (state,) in cursor])

    async def add(
        self, policy: TopUp, *, account: str, id: str, window_at: datetime, balance: int, at: datetime
    ) -> bool:
        """Ask for one; False when there is one of this id, or an open one of the credit, already."""
        cursor = await self._connection.execute(
            """
            insert into top_ups (account, id, credit, units, amount, currency, state, window_at, asked_at, round_at,
                                 balance)
            values (%s, %s, %s, %s, %s, %s, 'asked', %s, %s, %s, %s) on conflict do nothing
            """,
            (
                account,
                id,
                policy.credit,
                policy.add,
                policy.amount,
                policy.currency,
                window_at,
                at,
                at,
                balance,
            ),
        )
        return cursor.rowcount == 1

    async def ask_again(self, account: str, id: str, *, at: datetime) -> bool:
        """Open a failed one again, with nothing known of how it went; False when its credit has an open one."""
        cursor = await self._connection.execute(
            """
            update top_ups t set state = 'asked', round = round + 1, round_at = %(at)s, resolved_at = null,
                   customer = null, invoice = null, reason = null, error = null, attempts = 0, retry_at = null,
                   leased_until = null
            where account = %(account)s and id = %(id)s and state = 'failed' and not exists (
                  select from top_ups o where o.account = t.account and o.credit = t.credit and o.state = 'asked')
            """,
            {"at": at, "account": account, "id": id},
        )
        return cursor.rowcount == 1

    async def claim(self, *, limit: int, lease_s: float) -> tuple[SavedTopUp, ...]:
        """Take open ones that nobody has and that do not pause, those asked for first."""
        cursor = await self._connection.execute(
            f"""
            with chosen as (
                select account, id from top_ups
                where state = 'asked' and (leased_until is null or leased_until <= clock_timestamp())
                  and (retry_at is null or retry_at <= clock_timestamp())
                order by asked_at limit %s for update skip locked)
            update top_ups t set fence = t.fence + 1, leased_until = clock_timestamp() + %s
            from chosen c where (t.account, t.id) = (c.account, c.id)
            returning {_COLUMNS.replace("account, id,", "t.account, t.id,")}
            """,
            (limit, timedelta(seconds=lease_s)),
        )
        return tuple([_saved(row) async for row in cursor])

    async def lock(self, claimed: SavedTopUp) -> SavedTopUp | None:
        """The row as it is now, held; None when it was claimed since, or is open no more."""
        cursor = await self._connection.execute(
            f"""
            select {_COLUMNS} from top_ups
            where account = %s and id = %s and fence = %s and state = 'asked' for update
            """,
            (claimed.account, claimed.id, claimed.fence),
        )
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def save(self, top_up: SavedTopUp, *, lease_s: float | None = None, retry_s: float | None = None) -> None:
        """Save a row that this transaction has locked. With `lease_s` the claim goes on; else it is given back."""
        await self._connection.execute(
            """
            update top_ups set state = %(state)s, customer = %(customer)s, invoice = %(invoice)s, reason = %(reason)s,
                   error = %(error)s, attempts = %(attempts)s, resolved_at = %(resolved_at)s,
                   leased_until = clock_timestamp() + %(lease)s::interval,
                   retry_at = clock_timestamp() + %(retry)s::interval
            where account = %(account)s and id = %(id)s
            """,
            {
                **{name: getattr(top_up, name) for name in SavedTopUp.__struct_fields__},
                "reason": top_up.reason.replace("\0", "") if top_up.reason else None,
                "error": top_up.error.replace("\0", "") if top_up.error else None,
                "lease": None if lease_s is None else timedelta(seconds=lease_s),
                "retry": None if retry_s is None else timedelta(seconds=retry_s),
            },
        )

    async def find(self, account: str, id: str) -> SavedTopUp | None:
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from top_ups where account = %s and id = %s", (account, id)
        )
        row = await cursor.fetchone()
        return _saved(row) if row else None

    async def of_account(self, account: str, *, limit: int) -> tuple[SavedTopUp, ...]:
        """Those of an account, the latest first."""
        cursor = await self._connection.execute(
            f"select {_COLUMNS} from top_ups where account = %s order by asked_at desc, id limit %s", (account, limit)
        )
        return tuple([_saved(row) async for row in cursor])


def _saved(row: TupleRow) -> SavedTopUp:
    return SavedTopUp(*row)
