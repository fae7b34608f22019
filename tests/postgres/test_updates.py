"""The rows of state updates: written without a place, given one, read in order, forgotten from the beginning."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import pytest

from paygrade.billing.facts import Fact, Profile
from paygrade.postgres.store import Store
from paygrade.server.operations.update_log import give_places
from paygrade.updates.log import News, Update
from support.fake_provider import T0

pytestmark = pytest.mark.anyio


def news(account: str | None, name: str, type: str = "account.updated") -> News:
    return News(account, type, Profile(created_at=T0, name=name), T0)


def names(updates: tuple[Update, ...]) -> list[str]:
    return [update.data["name"] for update in updates]


async def write(store: Store, *written: News) -> None:
    async with store.transaction() as tx:
        await tx.announce(written, T0)


async def read(store: Store, after: int = 0, **filters: Any) -> tuple[Update, ...]:
    async with store.transaction() as tx:
        return await tx.updates.after(after, limit=1000, **filters)


async def test_an_update_is_read_once_it_has_its_place(store: Store) -> None:
    await write(store, news("acme", "a"), news("acme", "b"), news(None, "c"), news("beta", "d", "trial.ended"))
    assert await read(store) == ()
    await give_places(store)
    found = await read(store)
    assert names(found) == ["a", "b", "c", "d"]
    assert [(u.position, u.account, u.sequence) for u in found] == [
        (1, "acme", 1),
        (2, "acme", 2),
        (3, None, 1),
        (4, "beta", 1),
    ]
    assert names(await read(store, 2)) == ["c", "d"]
    assert names(await read(store, types=["trial.ended"])) == names(await read(store, accounts=["beta"])) == ["d"]
    async with store.transaction() as tx:
        assert names(await tx.updates.of("acme", after=1, limit=10)) == ["b"]


async def test_an_update_carries_the_version_its_own_transaction_has_saved(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.accounts.create("acme", T0)
        account = (await tx.accounts.lock(["acme"]))["acme"]
        await tx.accounts.save(account, Fact(1, "profile", 1, T0, Profile(created_at=T0)), T0)
        await tx.announce([news("acme", "a"), news(None, "b")], T0)
    await give_places(store)
    assert [update.state_version for update in await read(store)] == [1, None]


async def test_what_is_saved_late_is_read_behind_what_was_read_before(store: Store) -> None:
    async with store.transaction() as slow:
        await slow.announce([news("acme", "slow")], T0)
        await write(store, news("beta", "quick"))
        await give_places(store)
        first = await read(store)
        assert names(first) == ["quick"]
    await give_places(store)
    assert names(await read(store, first[-1].position)) == ["slow"]


async def test_a_position_cannot_be_read_before_whoever_gave_it_has_committed(store: Store) -> None:
    await write(store, news("acme", "a"))
    async with store.transaction() as tx:
        # It has its place now; that others can see all that was given with it only the next one knows.
        assert await tx.updates.give_places(limit=10) is None
    assert await read(store) == ()
    async with store.transaction() as tx:
        assert await tx.updates.give_places(limit=10) == 1
    assert names(await read(store)) == ["a"]


async def test_who_follows_misses_nothing_and_hears_nothing_twice_however_many_write_and_give_places(
    store: Store, database_url: str
) -> None:
    chance = random.Random(16)
    accounts = ["acme", "beta", "gamma"]
    writers_done = asyncio.Event()

    async def writer(number: int) -> None:
        for each in range(12):
            async with store.transaction() as tx:
                await tx.announce([news(accounts[(number + each) % 3], f"{number}.{each}")], T0)
                await asyncio.sleep(chance.random() / 200)

    async def giver() -> None:
        async with Store(database_url, connections_max=2) as its:
            while not writers_done.is_set():
                await give_places(its)
            await give_places(its)

    async def follower() -> list[Update]:
        found: list[Update] = []
        while True:
            done = writers_done.is_set() and givers.done()
            page = await read(store, found[-1].position if found else 0)
            found += page
            if done and not page:
                return found

    givers = asyncio.gather(giver(), giver())
    following = asyncio.create_task(follower())
    await asyncio.gather(*(writer(number) for number in range(6)))
    writers_done.set()
    await givers
    found = await following
    assert sorted(names(tuple(found))) == sorted(f"{n}.{e}" for n in range(6) for e in range(12))
    assert [update.position for update in found] == list(range(1, 73))
    for account in accounts:
        of = [update.sequence for update in found if update.account == account]
        assert of == list(range(1, len(of) + 1))


async def test_what_is_old_is_forgotten_without_a_gap_and_numbers_go_on(store: Store) -> None:
    for days, name in enumerate("abc"):
        async with store.transaction() as tx:
            await tx.announce([news("acme", name)], T0 + timedelta(days=days))
    await give_places(store)
    async with store.transaction() as tx:
        assert await tx.updates.purge(kept=timedelta(days=1), at=T0 + timedelta(days=2)) == 1
        assert (await tx.updates.state()).purged == 1
    assert names(await read(store)) == ["b", "c"]
    async with store.transaction() as tx:
        assert await tx.updates.purge(kept=timedelta(0), at=T0 + timedelta(days=9)) == 2
    await write(store, news("acme", "d"))
    await give_places(store)
    assert [(u.position, u.sequence) for u in await read(store)] == [(4, 4)]
