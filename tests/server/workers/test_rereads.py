"""Customers are read again when a catalog wants to know more of them: all that pay, a few at a time."""

from copy import deepcopy
from typing import Any

import pytest

from paygrade.postgres.store import Store
from paygrade.server.operations.catalog.publish import CatalogPlan, publish_catalog
from paygrade.server.operations.sync.inbox import sync_status
from paygrade.server.workers.claims import take
from paygrade.server.workers.rereads import AT_ONCE, REREADS, mark_for_reading
from support.fake_provider import DOCUMENT, T0, SetClock
from support.waiting import let_pass

pytestmark = pytest.mark.anyio

CUSTOMERS = 2 * AT_ONCE - 10


def asking(**policies: Any) -> dict[str, Any]:
    document = deepcopy(DOCUMENT)
    return {**document, "policies": {**document.get("policies", {}), **policies}}


async def publish(store: Store, document: dict[str, Any], *, dry_run: bool = False) -> CatalogPlan:
    return await publish_catalog(store, document=document, lines={}, dry_run=dry_run, at=T0, by="ann")


async def step(store: Store) -> str:
    let_pass(store._database_url, "rereads")
    (claimed,) = await take(store, REREADS, limit=1, at=T0)
    return await mark_for_reading(store, SetClock(T0), claimed)


async def run(store: Store, statement: str) -> None:
    async with store.transaction() as tx:
        await tx._connection.execute(statement)


async def test_who_pays_is_read_again_where_policies_ask_more_a_few_at_a_time(store: Store) -> None:
    await publish(store, asking())
    await run(
        store,
        f"""insert into subjects (subject, dirty, synced, account, due_at)
            select 'stripe:cus_' || lpad(n::text, 4, '0'), 1, 1, 'a' || n, case when n <= {CUSTOMERS} then now() end
            from generate_series(1, {CUSTOMERS} + 5) n""",
    )
    assert (await publish(store, asking(removed_items="period_end"))).rereads == 0
    ending = asking(returned_payment={"refund": "end_now"})
    assert (await publish(store, ending, dry_run=True)).rereads == CUSTOMERS
    assert (await sync_status(store, "stripe", now=T0)).reread is None
    published = await publish(store, ending)
    assert published.rereads == CUSTOMERS
    assert await step(store) == "marked"
    told = await sync_status(store, "stripe", now=T0)
    assert told.reread is not None
    assert (told.dirty, told.reread.marked, told.reread.customers) == (AT_ONCE, AT_ONCE, CUSTOMERS)
    assert told.reread.finished_at is None
    # While so many wait, no more are marked.
    assert await step(store) == "waits"
    await run(store, "update subjects set synced = dirty")
    assert [await step(store), await step(store)] == ["marked", "finished"]
    told = await sync_status(store, "stripe", now=T0)
    assert told.reread is not None
    assert (told.reread.marked, told.reread.finished_at) == (CUSTOMERS, T0)
    # A policy that asks for less, or for the same, has nobody read again; one more of them takes the latest's place.
    assert (await publish(store, asking(returned_payment={"refund": "void_rest"}))).rereads == 0
    assert (await publish(store, asking())).rereads == 0
    assert (await publish(store, ending)).rereads == CUSTOMERS
    credited = asking(removed_items="period_end", returned_payment={"credit_note": "end_now"})
    last = await publish(store, credited)
    assert last.rereads == CUSTOMERS
    assert not await others(store, last.version)


async def others(store: Store, version: int) -> list[int]:
    """Rereads under way of other catalogs than this one."""
    let_pass(store._database_url, "rereads")
    return [one.catalog for one in await take(store, REREADS, limit=9, at=T0) if one.catalog != version]
