"""Plan changes carried out by workers that get in each other's way, and on subscriptions that others end or move."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from paygrade.changes.order import ChangeOrder, Progress
from paygrade.changes.plan_change import PlanChange
from paygrade.changes.request import ChangeRequest
from paygrade.postgres.plan_changes import ClaimedChange
from paygrade.postgres.store import Store
from paygrade.server.operations.changes.plan_changes import carry_out, get_change, take_back
from paygrade.server.operations.changes.quotes import quote_change
from paygrade.server.workers.claims import take
from paygrade.server.workers.plan_changes import CHANGES, LATE, advance_change, note
from support.billing import Billing, billing

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk(database_url: str) -> Iterator[Billing]:
    with billing(database_url) as desk:
        yield desk


async def asked(store: Store, desk: Billing, price: str = "pro_monthly", plan: str = "business") -> PlanChange:
    """A change that `acme`, who has bought this, has asked for."""
    await desk.sell(store)
    await desk.buyer(store, "acme", price)
    made = await quote_change(store, None, account="acme", wanted=ChangeRequest(plan=plan), at=desk.at)
    return await carry_out(store, account="acme", quote_id=made.id, key="k", has_provider=True, at=desk.at)


async def claim(store: Store, desk: Billing) -> ClaimedChange:
    (claimed,) = await take(store, CHANGES, limit=9, at=desk.at)
    return claimed


async def stands(store: Store, change: PlanChange) -> PlanChange:
    return (await get_change(store, account=change.account, id=change.id)).change


def sold(desk: Billing) -> str | None:
    (item,) = desk.stripe.v1.subscriptions.retrieve(desk.shop.subscriptions["acme"])["items"].data
    return str(item.price.lookup_key)


async def move(store: Store, desk: Billing) -> None:
    """The customer is another account's from now on, and that is read."""
    desk.stripe.v1.customers.update(desk.shop.customers["acme"], {"metadata": {"paygrade_account": "beta"}})
    await desk.read(store, "acme")


async def test_what_somebody_may_be_asking_for_is_taken_back_by_nobody_else(store: Store, desk: Billing) -> None:
    change = await asked(store, desk)
    first = await claim(store, desk)
    assert (await take_back(store, account="acme", id=change.id, at=desk.at)).undo
    # As long as a request may be on its way, nobody can find that there was none.
    assert await take(store, CHANGES, limit=9, at=desk.at) == ()
    assert await advance_change(store, desk.commands, desk, first) == "undone"
    assert (await stands(store, change)).state == "canceled"
    assert sold(desk) == "pro_monthly"


async def test_what_a_killed_worker_left_is_taken_back_once_its_lease_is_over(store: Store, desk: Billing) -> None:
    change = await asked(store, desk)
    await claim(store, desk)
    await take_back(store, account="acme", id=change.id, at=desk.at)
    desk.let_pass("plan_changes")
    assert await advance_change(store, desk.commands, desk, await claim(store, desk)) == "undone"
    assert (await stands(store, change)).state == "canceled"


async def test_who_was_overtaken_saves_nothing(store: Store, desk: Billing) -> None:
    change = await asked(store, desk)
    first = await claim(store, desk)
    desk.let_pass("plan_changes")
    second = await claim(store, desk)
    assert await note(store, first, Progress("failed", detail="as I found it"), at=desk.at) == "overtaken"
    assert await advance_change(store, desk.commands, desk, first) == "overtaken"
    assert (await stands(store, change)).state == "asked"
    assert await advance_change(store, desk.commands, desk, second) == "done"


@pytest.mark.parametrize("leaves_first", [False, True])
async def test_a_change_ends_though_its_subscription_has_gone_to_another_account(
    store: Store, desk: Billing, leaves_first: bool
) -> None:
    change = await asked(store, desk)
    claimed = await claim(store, desk)
    if leaves_first:
        await move(store, desk)
    assert await advance_change(store, desk.commands, desk, claimed) == "done"
    if not leaves_first:
        await move(store, desk)
    assert (await stands(store, change)).state == "applied"
    assert sold(desk) == "business_monthly"


async def test_a_planned_change_of_what_was_ended_before_its_time_fails(store: Store, desk: Billing) -> None:
    change = await asked(store, desk, "business_monthly", "pro")
    assert await advance_change(store, desk.commands, desk, await claim(store, desk)) == "scheduled"
    desk.stripe.v1.subscriptions.cancel(desk.shop.subscriptions["acme"])
    assert change.effective_at is not None
    desk.advance(change.effective_at + LATE - desk.at)
    assert await advance_change(store, desk.commands, desk, await claim(store, desk)) == "failed"
    assert (await stands(store, change)).reason == "the subscription has ended"


class Behind:
    """A provider that is late with what is planned."""

    def advance_change(self, order: ChangeOrder) -> Progress:
        return Progress("scheduled")


async def test_a_provider_that_is_late_is_not_asked_without_a_pause(store: Store, desk: Billing) -> None:
    change = await asked(store, desk, "business_monthly", "pro")
    assert await advance_change(store, Behind(), desk, await claim(store, desk)) == "scheduled"
    assert change.effective_at is not None
    desk.at = change.effective_at + LATE + timedelta(seconds=1)
    assert await advance_change(store, Behind(), desk, await claim(store, desk)) == "scheduled"
    assert await take(store, CHANGES, limit=9, at=desk.at) == ()
    desk.let_pass("plan_changes")
    assert (await claim(store, desk)).id == change.id
