"""Rows of what was last announced of each account, and when a date changes it.

Laws: a row is written by whoever has its account locked; whoever locks several rows does so in the order of accounts.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import ClassVar

import msgspec

from paygrade.postgres.claims import Claims
from paygrade.updates.overview import Announced, Overview

_FREE = """due_at <= %(at)s and (leased_until is null or leased_until <= clock_timestamp())
           and (retry_at is null or retry_at <= clock_timestamp())"""


class ClaimedAnnouncement(Announced, frozen=True):
    """What was last announced of an account, claimed by whoever follows its dates."""

    attempts: int
    fence: int


class Announcements(Claims[ClaimedAnnouncement]):
    """What was announced of accounts, within one transaction. What is claimed are those whose date has come."""

    TABLE = "announced"
    KEY = ("account",)
    WAITING = (("due_at <= %(at)s", "due_at"),)
    ROW = ClaimedAnnouncement
    COLUMNS = ClaimedAnnouncement.__struct_fields__
    JSON: ClassVar = {"overview": Overview}

    async def load(self, account: str) -> Announced | None:
        """Of an account that this transaction has locked, and its row with it; None: it is a new one."""
        return await self._one("account = %(account)s for update", {"account": account})

    async def find(self, accounts: Collection[str]) -> dict[str, Announced]:
        """What was announced of these accounts; those of which nothing was are left out."""
        found = await self._seen(Announced, "account = any(%(accounts)s)", {"accounts": list(accounts)})
        return {each.account: each for each in found}

    async def soon(self, *, until: datetime, limit: int) -> tuple[Announced, ...]:
        """Accounts that a date may change until then, the soonest first."""
        return await self._seen(
            Announced, "due_at <= %(until)s order by due_at limit %(limit)s", {"until": until, "limit": limit}
        )

    async def due(self, *, limit: int, at: datetime) -> tuple[str, ...]:
        """Accounts whose date has come and that nobody has claimed; none is locked."""
        cursor = await self._connection.execute(
            f"select account from announced where {_FREE} order by due_at limit %(limit)s", {"at": at, "limit": limit}
        )
        return tuple([account async for (account,) in cursor])

    async def lock_due(
        self, claimed: ClaimedAnnouncement, others: Collection[str], *, at: datetime
    ) -> tuple[ClaimedAnnouncement, ...]:
        """The claimed one, unless it was claimed since, and those of the others whose date has come and that nobody has
        claimed; this transaction has locked all their accounts."""
        return await self._many(
            f"""
            (account = %(account)s and fence = %(fence)s or account = any(%(others)s) and {_FREE})
            order by account for update
            """,
            {"account": claimed.account, "fence": claimed.fence, "others": list(others), "at": at},
        )

    async def note(self, rows: Sequence[Announced]) -> None:
        """Write what is announced by now, and when to look again; a claim of it is given back."""
        await self._connection.execute(
            """
            insert into announced (account, overview, announced_at, due_at)
            select account, overview::json, announced_at, due_at
            from unnest(%s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[])
                 k (account, overview, announced_at, due_at)
            on conflict (account) do update set overview = excluded.overview, announced_at = excluded.announced_at,
                due_at = excluded.due_at, attempts = 0, error = null, leased_until = null, retry_at = null
            """,
            (
                [row.account for row in rows],
                [msgspec.json.encode(row.overview).decode() for row in rows],
                [row.announced_at for row in rows],
                [row.due_at for row in rows],
            ),
        )

    async def hurry(self, at: datetime, *, account: str | None = None) -> None:
        """Have this account looked at, or all of them: something else than a date or a fact has changed them. Those
        whose date has come as well: somebody may be at them who does not know of it."""
        await self._connection.execute(
            """
            update announced set due_at = least(due_at, %(at)s)
            where account in (
                select account from announced where %(account)s::text is null or account = %(account)s
                order by account for update)
            """,
            {"at": at, "account": account},
        )
