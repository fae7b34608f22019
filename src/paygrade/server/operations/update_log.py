"""The log of state updates: places for what was written, and what is read.

Law: any number of processes may give places at the same moment; one of them does, and the others find it done.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.server.operations.accounts.record import load_account
from paygrade.updates.log import Update
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store

REACH_MAX = 10_000
PLACES_MAX = 1000
"""How many updates get their place in one transaction."""


class UpdateList(Struct, frozen=True):
    """State updates in their order. `next` is the `after` to go on with, now or later; `end` the last one of all."""

    updates: tuple[Update, ...]
    next: int
    end: int


async def give_places(store: "Store") -> None:
    """Give a place to every state update that is saved and has none, and tell up to where they can be read."""
    async with store.transaction() as tx:
        waits = await tx.updates.are_waiting()
    while waits:
        async with store.transaction() as tx:
            readable = await tx.updates.give_places(limit=PLACES_MAX)
            if readable is not None:
                await tx.tell("paygrade_update", str(readable))
            waits = await tx.updates.are_waiting()


async def list_updates(
    store: "Store",
    *,
    after: int | None,
    limit: int,
    types: Collection[str] | None = None,
    account: str | None = None,
    occurred_from: datetime | None = None,
    occurred_until: datetime | None = None,
) -> UpdateList:
    """List state updates.

    What has changed, in an order that never changes: read on with `next` as `after`, and you miss nothing and see
    nothing twice. Without `after` you begin with the oldest update that is kept; updates are kept for 30 days, or as
    long as the server's setting says. `types`, `account`, `from` and `until` leave all others out; the latter two go by
    `occurred_at`. Refused `updates_deleted`.
    """
    async with store.transaction() as tx:
        state = await tx.updates.state()
        if after is not None and after < state.purged:
            raise Refused(
                "updates_deleted",
                f"updates up to position {state.purged} are no longer kept; go on with `after={state.purged}`, and "
                "read the accounts you keep a copy of once more",
            )
        begin = state.purged if after is None else after
        accounts = None if account is None else [account]
        found = await tx.updates.after(
            begin,
            limit=limit,
            types=types,
            accounts=accounts,
            occurred_from=occurred_from,
            occurred_until=occurred_until,
        )
    reached = found[-1].position if found else begin
    # Where fewer fit than were asked for, everything up to what was readable before has been gone through.
    end = max(reached, state.readable)
    return UpdateList(found, reached if len(found) == limit else end, end)


async def latest_updates(
    store: "Store",
    *,
    before: int | None,
    limit: int,
    types: Collection[str] | None = None,
    account: str | None = None,
) -> UpdateList:
    """The latest first, as people look at the log: of the positions below `before` as many as `REACH_MAX` are looked
    through, so that a page is as quick however long the log is. `next`: the `before` to go on with, 0 where there is
    nothing earlier."""
    async with store.transaction() as tx:
        state = await tx.updates.state()
        found = await tx.updates.latest(before=before, reach=REACH_MAX, limit=limit, types=types, account=account)
    begin = state.readable + 1 if before is None else min(before, state.readable + 1)
    reached = found[-1].position if len(found) == limit else begin - REACH_MAX
    return UpdateList(found, reached if reached > state.purged + 1 else 0, state.readable)


async def account_updates(store: "Store", *, account: str, after: int | None, limit: int) -> UpdateList:
    """List an account's state updates.

    What has changed of the account, by `sequence`, which grows by one from each update to the next. `after` and `next`
    are sequences. Refused `unknown_account`, `updates_deleted`.
    """
    async with store.transaction() as tx:
        await load_account(tx, account, deleted=True)
        end = await tx.updates.last_of(account)
        found = await tx.updates.of(account, after=after or 0, limit=limit)
    if after is not None and found and found[0].sequence > after + 1:
        first = found[0].sequence - 1
        raise Refused(
            "updates_deleted",
            f"updates of `{account}` up to sequence {first} are no longer kept; go on with `after={first}`, and read "
            "the account once more",
        )
    reached = found[-1].sequence if found else after or 0
    return UpdateList(found, reached, max(end, reached))


async def purge_updates(store: "Store", *, kept: timedelta, at: datetime) -> None:
    """Forget updates that were written longer ago than that."""
    async with store.transaction() as tx:
        await tx.updates.purge(kept=kept, at=at)
