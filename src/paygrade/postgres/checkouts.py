"""Rows of checkouts: pages of the provider on which accounts buy for the first time.

Laws: an account has at most one page that something can be bought on; what was bought, or expired, stays so.
"""

from datetime import datetime, timedelta
from typing import ClassVar

from paygrade.changes.checkout import Checkout, CheckoutOrder
from paygrade.postgres.claims import Claims


class SavedCheckout(Checkout, frozen=True, kw_only=True):
    """A checkout as saved. `ordered` None: it was erased."""

    ordered: CheckoutOrder | None
    attempts: int = 0
    fence: int = 0


class Checkouts(Claims[SavedCheckout]):
    """Checkouts within one transaction."""

    TABLE = "checkouts"
    KEY = ("account", "id")
    WAITING = (("account = %(account)s and id = %(id)s and state in ('asked', 'open')", "id"),)
    OPEN = "state in ('asked', 'open')"
    ROW = SavedCheckout
    COLUMNS = SavedCheckout.__struct_fields__
    FIXED = frozenset({"request", "plan", "trial_days", "asked_at"})
    JSON: ClassVar = {"ordered": CheckoutOrder}

    async def begin(self, made: Checkout, ordered: CheckoutOrder, *, lease_s: float) -> SavedCheckout | None:
        """Enter one, claimed; None: the account has an open one."""
        row = {**self._values(made), "ordered": self._written("ordered", ordered)}
        columns, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
        begun = await self._select(
            f"""
            insert into checkouts ({columns}, leased_by, leased_until)
            values ({values}, %(_holder)s, clock_timestamp() + %(_lease)s)
            on conflict do nothing returning {self._columns()}
            """,
            {**row, "_holder": self._holder, "_lease": timedelta(seconds=lease_s)},
        )
        return begun[0] if begun else None

    async def open_one(self, account: str) -> SavedCheckout | None:
        """The one on which the account can buy, or is about to."""
        return await self._one("account = %s and state in ('asked', 'open')", (account,))

    async def of_session(self, account: str, session: str) -> SavedCheckout | None:
        return await self._one("account = %s and session = %s", (account, session))

    async def completed(self, account: str) -> tuple[SavedCheckout, ...]:
        """Those on which the account has bought, the latest first, as many as anybody could have use for."""
        return await self._many("account = %s and state = 'complete' order by closed_at desc, id limit 100", (account,))

    async def complete(self, bought: Checkout) -> None:
        """Save what was bought, whoever has claimed it: that is not undone, and needs no fence."""
        await self._connection.execute(
            f"""
            update checkouts set state = 'complete', subscription = %(subscription)s, customer = %(customer)s,
                   url = null, closed_at = %(closed_at)s
            where {self._where()} and state <> 'complete'
            """,
            self._values(bought),
        )

    async def had_trial(self, account: str) -> bool:
        """Whether the account has bought with a trial."""
        found = await self._many("account = %s and state = 'complete' and trial_days is not null limit 1", (account,))
        return bool(found)

    async def customers(self, account: str) -> tuple[str, ...]:
        """The customers that these were made for, the latest first."""
        found = await self._many(
            "account = %s and customer is not null order by asked_at desc, id limit 100", (account,)
        )
        return tuple(dict.fromkeys(one.customer for one in found if one.customer is not None))

    async def purge(self, *, until: datetime) -> int:
        """Forget those asked for before an instant on which nothing was bought; returns how many."""
        cursor = await self._connection.execute(
            "delete from checkouts where asked_at < %s and state in ('expired', 'failed')", (until,)
        )
        return cursor.rowcount
