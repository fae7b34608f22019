"""Rows of top-ups: units that are bought by themselves or on a page, and how each purchase stands.

Laws: a credit of an account has at most one top-up that is asked for; a row leaves `asked` or `open` in the transaction
that grants its units, or that says why there are none, or with the page on which nothing was bought; what went back of
its money is saved in the one that takes units back for it.
"""

from datetime import datetime, timedelta
from typing import Literal

from paygrade.catalog.model import TopUp
from paygrade.changes.checkout import CheckoutPage
from paygrade.postgres.claims import Claims
from paygrade.usage.balances import Grant
from paygrade.usage.top_ups import PackOrder, TopUpPurchase, TopUpState


class SavedTopUp(TopUpPurchase, frozen=True):
    """A top-up as saved: `window_at` began the window of the policy it counts in, `round_at` its present round.
    `to_check`: its money may have gone back."""

    window_at: datetime
    round_at: datetime
    attempts: int = 0
    fence: int = 0
    to_check: bool = False


class TopUps(Claims[SavedTopUp]):
    """Top-ups within one transaction."""

    TABLE = "top_ups"
    KEY = ("account", "id")
    WAITING = (
        ("state = 'asked'", "asked_at"),
        ("state = 'open'", "asked_at"),
        ("to_check and state = 'paid'", "asked_at"),
    )
    OPEN = "(state in ('asked', 'open') or to_check)"
    ROW = SavedTopUp
    COLUMNS = SavedTopUp.__struct_fields__

    async def check(self, customer: str) -> bool:
        """Have those that a customer has paid looked at: their money may have gone back. False: there are none."""
        cursor = await self._connection.execute(
            "update top_ups set to_check = true, retry_at = null where customer = %s and state = 'paid'", (customer,)
        )
        return cursor.rowcount > 0

    async def states(
        self, account: str, credit: str, *, window_at: datetime
    ) -> tuple[TopUpState | Literal["reversed"], ...]:
        """How those of one credit stand that count in the window that began then, or are still open."""
        cursor = await self._connection.execute(
            """
            select case when reversed > 0 then 'reversed' else state end from top_ups
            where account = %s and credit = %s and session is null and (window_at = %s or state = 'asked')
            order by asked_at
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

    async def add_page(self, order: PackOrder, page: CheckoutPage, *, look_s: float, at: datetime) -> None:
        """Enter a purchase on a page, to be looked at after so long, unless something happens to it."""
        await self._connection.execute(
            """
            insert into top_ups (account, id, credit, units, amount, currency, state, window_at, asked_at, round_at,
                                 balance, customer, session, retry_at)
            values (%(account)s, %(id)s, %(credit)s, %(units)s, %(amount)s, %(currency)s, 'open', %(at)s, %(at)s,
                    %(at)s, 0, %(customer)s, %(session)s, clock_timestamp() + %(look)s)
            """,
            {
                "account": order.account,
                "id": order.id,
                "credit": order.credit,
                "units": order.units * order.packs,
                "amount": order.amount * order.packs,
                "currency": order.currency,
                "customer": page.customer,
                "session": page.session,
                "look": timedelta(seconds=look_s),
                "at": at,
            },
        )

    async def of_session(self, account: str, session: str) -> SavedTopUp | None:
        """The one that is bought on this page; None, too, once the page is over and nothing was bought."""
        return await self._one("account = %s and session = %s", (account, session))

    async def pages_open(self, account: str) -> int:
        cursor = await self._connection.execute(
            "select count(*) from top_ups where account = %s and state = 'open'", (account,)
        )
        found = await cursor.fetchone()
        return int(found[0]) if found else 0

    async def customers(self, account: str) -> tuple[str, ...]:
        """The customers who were given pages, the latest first."""
        found = await self._many(
            "account = %s and session is not null and customer is not null order by asked_at desc, id limit 100",
            (account,),
        )
        return tuple(dict.fromkeys(one.customer for one in found if one.customer is not None))

    async def look_now(self, customer: str) -> None:
        """Have the pages of a customer looked at: something was bought on one, or nothing can be any more."""
        await self._connection.execute(
            "update top_ups set retry_at = null where customer = %s and state = 'open'", (customer,)
        )

    async def abandon(self, row: SavedTopUp) -> None:
        """Forget a page on which nothing was bought."""
        await self._connection.execute(
            "delete from top_ups where account = %s and id = %s and fence = %s and state = 'open'",
            (row.account, row.id, row.fence),
        )

    async def ask_again(self, account: str, id: str, *, at: datetime) -> bool:
        """Open a failed one again, with nothing known of how it went; False when its credit has an open one."""
        cursor = await self._connection.execute(
            """
            update top_ups t set state = 'asked', round = round + 1, round_at = %(at)s, resolved_at = null,
                   session = null, customer = null, invoice = null, reason = null, error = null, attempts = 0,
                   retry_at = null, leased_until = null
            where account = %(account)s and id = %(id)s and state = 'failed' and not exists (
                  select from top_ups o where o.account = t.account and o.credit = t.credit and o.state = 'asked')
            """,
            {"at": at, "account": account, "id": id},
        )
        return cursor.rowcount == 1

    async def find(self, account: str, id: str) -> TopUpPurchase | None:
        found = await self._seen(TopUpPurchase, "account = %s and id = %s", (account, id))
        return found[0] if found else None

    async def failed(self, *, since: datetime, limit: int) -> tuple[TopUpPurchase, ...]:
        """Those of all accounts that failed since then, the latest first."""
        return await self._seen(
            TopUpPurchase, "state = 'failed' and resolved_at >= %s order by resolved_at desc limit %s", (since, limit)
        )

    async def of_account(
        self,
        account: str,
        *,
        state: TopUpState | None = None,
        before: tuple[datetime, str] | None = None,
        limit: int,
    ) -> tuple[TopUpPurchase, ...]:
        """Those of an account, the latest first; from after one on that was asked for then, and has this id."""
        return await self._seen(
            TopUpPurchase,
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

    async def granted(
        self, after: tuple[str, str, str] | None, *, limit: int
    ) -> list[tuple[str, str, Grant, int | None, str | None]]:
        """Grants of all accounts after this one, by account, pool and id, each with what was paid for it, if it was
        topped up: the amount, and its currency."""
        cursor = await self._connection.execute(
            """
            select g.account, g.pool, t.amount, t.currency, g.id, g.kind, g.units, g.from_at, g.until, g.priority,
                   g.used, g.reserved, g.voided
            from grants g left join top_ups t on t.account = g.account and t.id = g.id and t.credit = g.pool
            where %(first)s or (g.account, g.pool, g.id) > (%(account)s, %(pool)s, %(id)s)
            order by g.account, g.pool, g.id limit %(limit)s
            """,
            {
                "first": after is None,
                "limit": limit,
                **dict(zip(("account", "pool", "id"), after or ("",) * 3, strict=True)),
            },
        )
        return [
            (account, pool, Grant(*grant), amount, currency) async for account, pool, amount, currency, *grant in cursor
        ]
