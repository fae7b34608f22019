"""Accounts as one looks for them: a page of them, each with what was announced of it last."""

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.server.operations.accounts.accounts import AccountView, list_accounts
from paygrade.updates.coming import Coming, coming
from paygrade.updates.overview import NOTHING, Overview
from paygrade.values.states import State

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


class Surveyed(Struct, frozen=True):
    """An account, what its state updates say of it, and what comes next, the soonest first."""

    account: AccountView
    overview: Overview
    coming: tuple[Coming, ...]


class Survey(Struct, frozen=True):
    """A page of accounts by key. `next` is the `after` of the next page; None: this is the last one."""

    accounts: tuple[Surveyed, ...]
    next: str | None


async def survey(
    store: "Store",
    *,
    after: str = "",
    limit: int,
    search: str = "",
    plan: str | None = None,
    state: State | None = None,
    finding: str | None = None,
    at: datetime,
) -> Survey:
    """Accounts by key, a page at a time; what leaves others out is as for `list_accounts`."""
    found = await list_accounts(
        store, after=after, limit=limit, search=search, plan=plan, state=state, finding=finding, at=at
    )
    async with store.reading() as tx:
        announced = await tx.announcements.find([each.account for each in found.accounts])
    shown = []
    for each in found.accounts:
        known = announced.get(each.account)
        overview = (known.overview if known is not None else None) or NOTHING
        shown.append(Surveyed(each, overview, coming(overview, at)))
    return Survey(tuple(shown), found.next)
