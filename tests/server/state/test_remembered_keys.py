"""Keys as a process remembers them, between what it reads and what it hears."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from paygrade.postgres.store import Store, Transaction
from paygrade.server.operations.api_keys import CreatedKey, KeyRequest, create, revoke
from paygrade.server.process.scopes import ALL
from paygrade.server.state.api_keys import ApiKeys

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
pytestmark = pytest.mark.anyio


class Interrupted(Store):
    """A store with which something happens right after the next transaction has ended, before its reader goes on."""

    then: Callable[[], Awaitable[None]] | None = None

    @asynccontextmanager
    async def transaction(
        self, *, pipelined: bool = False, single: bool = False, looking: bool = False
    ) -> AsyncIterator[Transaction]:
        async with super().transaction(pipelined=pipelined, single=single, looking=looking) as tx:
            yield tx
        then, self.then = self.then, None
        if then is not None:
            await then()


async def made(store: Store) -> CreatedKey:
    return await create(store, KeyRequest("a test's", role="viewer"), mode=None, granted=ALL, at=AT)


async def test_what_was_read_before_a_key_was_revoked_does_not_bring_it_back(database_url: str) -> None:
    store = Interrupted(database_url)
    async with store:
        keys, key = ApiKeys(), await made(store)
        store.hear_own(keys.hear)

        async def take_away() -> None:
            await revoke(store, id=key.id, at=AT)

        store.then = take_away
        assert await keys.find(store, key.key, lambda: AT) is None
        assert not keys.opens(f"Bearer {key.key}".encode(), "decisions:read", lambda: AT)


async def test_a_key_is_known_to_whoever_asks_right_after_it_was_made(store: Store) -> None:
    keys = ApiKeys()
    for _ in range(3):
        key = await made(store)
        assert not keys.opens(f"Bearer {key.key}".encode(), "decisions:read", lambda: AT)
        found = await keys.find(store, key.key, lambda: AT)
        assert found is not None
        assert found.id == key.id
        assert keys.opens(f"Bearer {key.key}".encode(), "decisions:read", lambda: AT)
        assert not keys.opens(f"Bearer {key.key}".encode(), "usage:write", lambda: AT)


async def test_what_is_no_key_is_looked_for_once(database_url: str) -> None:
    store = Interrupted(database_url)
    async with store:
        keys, key = ApiKeys(), await made(store)
        await revoke(store, id=key.id, at=AT)
        assert await keys.find(store, key.key, lambda: AT) is None
        reads = []

        async def count() -> None:
            reads.append(1)

        store.then = count
        assert await keys.find(store, key.key, lambda: AT) is None
        assert await keys.find(store, "sk_test_nothing", lambda: AT) is None
        assert reads == []
