"""Rows of the ledger under transactions that meet."""

import asyncio

import pytest

from paygrade.postgres.store import Store
from paygrade.usage.entries import Entry, Posting
from paygrade.values.errors import Refused
from support.fake_provider import T0
from support.waiting import somebody_waits

pytestmark = pytest.mark.anyio


def entry(id: str, feature: str = "calls") -> Entry:
    return Entry("acme", id, "consume", feature, 1, T0, T0, 7, (Posting(feature, "lifetime", 1),), answer=b"{}")


@pytest.mark.parametrize("pipelined", [False, True])
async def test_an_id_that_another_transaction_took_is_refused(store: Store, pipelined: bool) -> None:
    looked = asyncio.Event()

    async def enter_again() -> None:
        async with store.transaction(pipelined=pipelined) as tx:
            assert (await tx.ledger.take([], [], [("acme", "one")], [], T0)).answered == {}
            looked.set()
            await tx.ledger.write([entry("two"), entry("one")])
            await tx.tell_balances([("acme",)])

    async with store.transaction() as tx:
        await tx.ledger.write([entry("one")])
        again = asyncio.create_task(enter_again())
        await looked.wait()
    with pytest.raises(Refused) as refused:
        await again
    assert refused.value.code == "id_taken"
    async with store.transaction() as tx:
        assert set(await tx.ledger.answered([("acme", "one"), ("acme", "two")])) == {("acme", "one")}


async def test_nothing_of_a_refused_transaction_is_told(store: Store) -> None:
    heard: list[str] = []
    store.hear_own(lambda channel, payload: heard.append(f"{channel} {payload}"))

    async def enter_and_tell(account: str) -> None:
        async with store.transaction(pipelined=True) as tx:
            await tx.ledger.write([entry("one")])
            await tx.tell_balances([(account,)])

    await enter_and_tell("acme")
    with pytest.raises(Refused):
        await enter_and_tell("other")
    assert heard == ['paygrade_balance [["acme"]]']


async def test_what_another_transaction_entered_is_known_once_its_slots_are_locked(
    store: Store, database_url: str
) -> None:
    key = ("acme", "calls", "lifetime")
    async with store.transaction() as tx:
        await tx.ledger.make([key], {})

    async def take() -> bool:
        async with store.transaction(pipelined=True) as tx:
            return ("acme", "one") in (await tx.ledger.take([key], [key[:2]], [("acme", "one")], [], T0)).answered

    async with store.transaction() as tx:
        await tx.ledger.take([key], [key[:2]], [], [], T0)
        waiting = asyncio.create_task(take())
        await somebody_waits(database_url)
        await tx.ledger.write([entry("one")])
    assert await waiting
