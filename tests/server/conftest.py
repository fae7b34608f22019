"""What tests of the server share: a migrated database with a store over it."""

from collections.abc import AsyncIterator

import pytest

from paygrade.postgres.migrate import migrate
from paygrade.postgres.store import Store


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """Give a store over a database of the test's own."""
    await migrate(database_url)
    async with Store(database_url) as opened:
        yield opened
