"""Top-ups, as seen from outside: shown, and asked for again when one failed. Nothing is charged here."""

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from paygrade.server.operations.accounts.record import load_account
from paygrade.server.operations.audit.note import note
from paygrade.server.operations.paging import cut, read_place
from paygrade.usage.top_ups import TopUpPurchase, TopUpState
from paygrade.values.errors import Refused

if TYPE_CHECKING:
    from paygrade.postgres.store import Store


class TopUpList(Struct, frozen=True):
    """Top-ups, the latest first. `next` is the `before` of the next page; None: this is the last one."""

    top_ups: tuple[TopUpPurchase, ...]
    next: str | None = None


async def list_top_ups(
    store: "Store", *, account: str, state: TopUpState | None = None, before: str | None = None, limit: int
) -> TopUpList:
    """List an account's top-ups.

    Top-ups that were bought automatically, newest first, with the reason of each failure. Refused `unknown_account`,
    `invalid_query`.
    """
    place = read_place(before, tuple[datetime, str], name="before")
    async with store.reading() as tx:
        await load_account(tx, account, deleted=True)
        found = await tx.top_ups.of_account(account, state=state, before=place, limit=limit + 1)
    return TopUpList(*cut(found, limit, lambda top_up: (top_up.asked_at, top_up.id)))


async def retry_top_up(store: "Store", *, account: str, id: str, at: datetime) -> TopUpPurchase:
    """Retry a top-up.

    Buy a failed top-up again, with a new invoice. Once it is paid, others may follow in its window.
    Refused `unknown_top_up`, `top_up_not_failed`, or `top_up_open` when its credit is being topped up already.
    """
    async with store.transaction() as tx:
        found = await tx.top_ups.find(account, id)
        if found is None:
            raise Refused(
                "unknown_top_up", f"`{account}` has no top-up `{id}`; list its top-ups to see which there are"
            )
        if found.state != "failed":
            raise Refused("top_up_not_failed", f"`{id}` is {found.state}; only failed top-ups can be retried")
        if not await tx.top_ups.ask_again(account, id, at=at):
            raise Refused("top_up_open", f"another top-up of `{found.credit}` is being bought; wait until it finishes")
        opened = await tx.top_ups.find(account, id)
        changes = {"credit": found.credit, "units": found.units, "amount": found.amount, "currency": found.currency}
        note(tx, "top_up.retry", account, targets=[("top_up", id)], changes=changes, at=at)
    assert opened is not None
    return opened
