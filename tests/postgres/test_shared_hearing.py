"""One connection for all who listen in a process."""

import asyncio
from collections.abc import Callable

import pytest

from paygrade.postgres.session_locks import HOLDERS, held
from paygrade.postgres.shared_hearing import SharedHearing
from paygrade.postgres.store import Store
from paygrade.values.errors import Unavailable
from support.waiting import GIVE_UP_S

pytestmark = pytest.mark.anyio


class Line:
    """What listens: it hears once it is connected, until it is lost."""

    def __init__(self) -> None:
        self.begun, self.ended = 0, 0
        self.connected, self.lost = asyncio.Event(), asyncio.Event()

    async def listen(self, ready: Callable[[], None]) -> None:
        self.begun += 1
        try:
            await self.connected.wait()
            ready()
            await self.lost.wait()
            raise Unavailable("database_unavailable", "it is gone")
        finally:
            self.ended += 1


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_listens_shares_one_connection_which_ends_with_the_last_of_them() -> None:
    line, told = Line(), list[str]()
    hearing: SharedHearing[str] = SharedHearing(line.listen)

    def join(name: str) -> "asyncio.Task[None]":
        return asyncio.create_task(hearing.join(ready=lambda: told.append(name), hear=name))

    first, second = join("first"), join("second")
    await turns()
    assert (hearing.hearers, told) == (["first", "second"], [])
    line.connected.set()
    await turns()
    third = join("third")
    await turns()
    assert told == ["first", "second", "third"]
    for task in (first, second):
        task.cancel()
    await turns()
    assert (hearing.hearers, line.begun, line.ended) == (["third"], 1, 0)
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    assert (line.begun, line.ended) == (1, 1)

    again, too = join("again"), join("too")
    await turns()
    line.lost.set()
    for task in (again, too):
        with pytest.raises(Unavailable, match="it is gone"):
            await task
    assert (hearing.hearers, line.begun, line.ended, told[3:]) == ([], 2, 2, ["again", "too"])

    line.lost.clear()
    last = join("last")
    await turns()
    assert line.begun == 3, "after one that was lost there is a new one"
    last.cancel()


async def test_a_connection_that_does_not_heed_the_first_cancellation_ends_all_the_same() -> None:
    begun = 0

    async def listen(ready: Callable[[], None]) -> None:
        nonlocal begun
        begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    hearing: SharedHearing[str] = SharedHearing(listen)
    task = asyncio.create_task(hearing.join(ready=lambda: None, hear="it"))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 30)
    assert begun == 1


async def test_a_store_that_is_listened_to_by_many_takes_up_one_connection(store: Store) -> None:
    ready = [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(store.listen(ready=each.set, hear=lambda channel, payload: None)) for each in ready]
    async with asyncio.timeout(GIVE_UP_S):
        for each in ready:
            await each.wait()
    async with store.transaction() as tx:
        assert len(await held(tx._connection, HOLDERS)) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
