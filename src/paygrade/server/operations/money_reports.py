"""Reports of money over all accounts: what was earned, and who pays for what they have.

Laws: a page holds so many accounts, by their keys, and everything of each; what is still to be read at the provider is
said with every page, so nobody takes a part for the whole.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Fact
from paygrade.billing.invoices import Invoice
from paygrade.catalog.model import Catalog
from paygrade.reports.credits import CreditRow, Price, credit_row
from paygrade.reports.leakage import Leak, leaks
from paygrade.reports.movements import MonthOfMovements, movements
from paygrade.reports.revenue import MonthOfRevenue, recognize
from paygrade.reports.usage import UsageRow, usage_rows
from paygrade.server.operations.paging import cut, read_place
from paygrade.usage.balances import Grant
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store, Transaction

ACCOUNTS_MAX = 100
"""Accounts of a page: each brings all of its invoices."""
MONTHS_MAX = 120


class Unread(Struct, frozen=True):
    """How many customers' invoices wait to be read at the provider, and how many of those could not be read last
    time. Nought: the report is whole."""

    waiting: int
    failing: int


class RevenueRow(MonthOfRevenue, frozen=True, kw_only=True):
    """A month of one account."""

    account: str


class LeakageRow(Leak, frozen=True, kw_only=True):
    """A difference between access and payment of one account."""

    account: str


class UsageRevenueRow(UsageRow, frozen=True, kw_only=True):
    """A line for usage of one account, in a month."""

    account: str


class GrantRow(CreditRow, frozen=True, kw_only=True):
    """A grant of one account."""

    account: str


class MovementRow(MonthOfMovements, frozen=True, kw_only=True):
    """A month of one account."""

    account: str


class RevenueReport(Struct, frozen=True):
    """Revenue by account, month and currency. `next` is the `after` of the next page; None: this is the last."""

    from_month: str
    until_month: str
    rows: tuple[RevenueRow, ...]
    unread: Unread
    next: str | None


class LeakageReport(Struct, frozen=True):
    """Access beside money at `as_of`, by account. `next` is the `after` of the next page; None: this is the last. A
    page may have no rows."""

    as_of: datetime
    rows: tuple[LeakageRow, ...]
    unread: Unread
    next: str | None


class UsageRevenueReport(Struct, frozen=True):
    """Revenue of usage by account, month and line. `next` is the `after` of the next page; None: this is the last."""

    from_month: str
    until_month: str
    rows: tuple[UsageRevenueRow, ...]
    unread: Unread
    next: str | None


class MovementReport(Struct, frozen=True):
    """Movements of recurring revenue by account, month and currency. `next` is the `after` of the next page; None: this
    is the last. A page may have no rows."""

    from_month: str
    until_month: str
    rows: tuple[MovementRow, ...]
    next: str | None


class CreditReport(Struct, frozen=True):
    """Grants as they stand at `as_of`, by account, pool and id. `next` is the `after` of the next page; None: this is
    the last."""

    as_of: datetime
    rows: tuple[GrantRow, ...]
    next: str | None


class Months(Struct, frozen=True):
    """The months of a report: `[from_at, until)`, both the first day of one."""

    from_at: date
    until: date

    @property
    def names(self) -> tuple[str, str]:
        return f"{self.from_at:%Y-%m}", f"{self.until:%Y-%m}"


def read_months(from_month: str | None, until_month: str | None, at: datetime) -> Months:
    """Months as they are asked for, `2026-01`; without an end the one under way is the last, and without a beginning it
    is the January of that year. Refused `invalid_query`."""
    this = at.astimezone(UTC).date().replace(day=1)
    until = _month(until_month, name="until") or _following(this)
    last = until.replace(year=until.year - (until.month == 1), month=(until.month - 2) % 12 + 1)
    from_at = _month(from_month, name="from") or last.replace(month=1)
    count = (until.year - from_at.year) * 12 + until.month - from_at.month
    if not 0 < count <= MONTHS_MAX:
        raise Refused("invalid_query", f"`until` must be 1 to {MONTHS_MAX} months after `from`; it is the first month "
                      "that is not shown")  # fmt: skip
    return Months(from_at, until)


async def report_revenue(store: "Store", *, months: Months, after: str, limit: int) -> RevenueReport:
    """Report revenue.

    What each account paid, what went back, what of it is recognized and what is deferred, by month and currency, in
    minor units without tax. Months are those of UTC. Refused `invalid_query`.
    """
    invoices, unread, next = await _billed(store, after=after, limit=limit)
    # Years of invoices of many accounts: the loop goes on meanwhile.
    rows = await asyncio.to_thread(_revenue, invoices, months)
    return RevenueReport(*months.names, rows, unread, next)


async def report_usage(store: "Store", *, months: Months, after: str, limit: int) -> UsageRevenueReport:
    """Report revenue of usage.

    The lines of paid invoices that bill usage, by account and the month in which it was used, in minor units without
    tax. Refused `invalid_query`.
    """
    invoices, unread, next = await _billed(store, after=after, limit=limit)
    rows = await asyncio.to_thread(_usage, invoices, months)
    return UsageRevenueReport(*months.names, rows, unread, next)


async def report_movements(store: "Store", *, months: Months, after: str, limit: int) -> MovementReport:
    """Report movements of monthly recurring revenue.

    What is new, what grew and shrank, what was lost and what came back, by account, month and currency, in minor units
    a month: by the catalog's prices, before discounts and tax. Refused `invalid_query`.
    """
    async with store.reading() as tx:
        found = [saved.account.key for saved in await tx.accounts.page(after=after, limit=limit + 1)]
        shown = found[:limit]
        facts = {account: [saved.fact for saved in await tx.accounts.facts(account)] for account in shown}
        catalog = await tx.catalogs.in_force()
    rows = await asyncio.to_thread(_movements, facts, catalog, months)
    return MovementReport(*months.names, rows, shown[-1] if len(found) > limit else None)


async def report_credits(store: "Store", *, after: str | None, limit: int, at: datetime) -> CreditReport:
    """Report credits by grant.

    Each grant with what has become of its units and of what was paid for it: earned, deferred, and breakage when it
    expired unused. Refused `invalid_query`.
    """
    place = read_place(after or None, tuple[str, str, str], name="after")
    async with store.reading() as tx:
        found = await tx.top_ups.granted(place, limit=limit + 1)
    rows = [_grant(*each, at) for each in found]
    shown, next = cut(rows, limit, lambda row: (row.account, row.pool, row.grant))
    return CreditReport(at, shown, next)


async def report_leakage(store: "Store", *, after: str, limit: int, at: datetime) -> LeakageReport:
    """Report access without payment, and payment without access.

    What each account may do that nobody pays for, and what was paid for that can't be used, with amounts, since when,
    and the cause. Refused `invalid_query`.
    """
    async with store.reading() as tx:
        found = [saved.account for saved in await tx.accounts.page(after=after, limit=limit + 1)]
        shown = found[:limit]
        invoices = await tx.invoices.of_accounts([account.key for account in shown])
        catalog, unread = await tx.catalogs.in_force(), await _unread(tx)
    rows = await asyncio.to_thread(_leakage, shown, catalog, invoices, at)
    return LeakageReport(at, rows, unread, shown[-1].key if len(found) > limit else None)


async def _billed(
    store: "Store", *, after: str, limit: int
) -> tuple[dict[str, tuple[Invoice, ...]], Unread, str | None]:
    """The invoices of the next accounts that were ever billed, and where to go on."""
    async with store.reading() as tx:
        found = await tx.invoices.accounts(after=after, limit=limit + 1)
        shown = found[:limit]
        return await tx.invoices.of_accounts(shown), await _unread(tx), shown[-1] if len(found) > limit else None


def _revenue(invoices: dict[str, tuple[Invoice, ...]], months: Months) -> tuple[RevenueRow, ...]:
    return tuple(
        RevenueRow(*_fields(row), account=account)
        for account, its in invoices.items()
        for row in recognize(its, from_at=months.from_at, until=months.until)
    )


def _usage(invoices: dict[str, tuple[Invoice, ...]], months: Months) -> tuple[UsageRevenueRow, ...]:
    return tuple(
        UsageRevenueRow(*_fields(row), account=account)
        for account, its in invoices.items()
        for row in usage_rows(its, from_at=months.from_at, until=months.until)
    )


def _movements(facts: dict[str, list[Fact]], catalog: Catalog, months: Months) -> tuple[MovementRow, ...]:
    return tuple(
        MovementRow(*_fields(row), account=account)
        for account, its in facts.items()
        for row in movements(account, its, catalog, from_at=months.from_at, until=months.until)
    )


def _grant(account: str, pool: str, grant: Grant, amount: int | None, currency: str | None, at: datetime) -> GrantRow:
    price = None if amount is None or currency is None else Price(amount, currency)
    return GrantRow(*_fields(credit_row(pool, grant, price, at)), account=account)


def _leakage(
    accounts: Sequence[Account], catalog: Catalog, invoices: dict[str, tuple[Invoice, ...]], at: datetime
) -> tuple[LeakageRow, ...]:
    return tuple(
        LeakageRow(*_fields(row), account=account.key)
        for account in accounts
        for row in leaks(account, catalog, invoices[account.key], account.time(at))
    )


def _fields(row: Struct) -> list[Any]:  # Any: what its fields are
    return [getattr(row, name) for name in row.__struct_fields__]


async def _unread(tx: "Transaction") -> Unread:
    return Unread(*await tx.invoices.unread())


def _month(text: str | None, *, name: str) -> date | None:
    if text is None:
        return None
    year, dash, month = text.partition("-")
    digits = year.isascii() and year.isdecimal() and month.isascii() and month.isdecimal()
    if not (digits and (len(year), dash, len(month)) == (4, "-", 2)):
        raise _no_month(name)
    if not (1970 <= int(year) < 3000 and 1 <= int(month) <= 12):
        raise _no_month(name)
    return date(int(year), int(month), 1)


def _no_month(name: str) -> Refused:
    return Refused("invalid_query", f"`{name}` must be a month such as `2026-01`")


def _following(first: date) -> date:
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
