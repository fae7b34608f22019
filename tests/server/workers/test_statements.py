"""What a first import costs the database: how many statements for each account, with its updates and audit records."""

from collections import Counter
from typing import Any

import psycopg
import pytest

from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.workers.claims import take
from paygrade.server.workers.sync import SUBJECTS, sync_subject
from support.every_update import DOCUMENT, T0, StandingClock
from support.fake_provider import World, customer, pro

pytestmark = pytest.mark.anyio

READ_MAX, PUT_MAX = 26, 17
"""Statements of an account that is read from the provider for the first time, and of one that is put by a request."""


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many were sent, by how each begins."""
    sent: Counter[str] = Counter()

    def counting(name: str) -> None:
        its = getattr(psycopg.AsyncCursor, name)

        async def send(self: Any, query: Any, *more: Any, **others: Any) -> Any:
            sent[str(query).split(maxsplit=1)[0].lower()] += 1
            return await its(self, query, *more, **others)

        monkeypatch.setattr(psycopg.AsyncCursor, name, send)

    for name in ("execute", "executemany"):
        counting(name)
    return sent


async def read(store: Store, numbers: range) -> None:
    """What a first import does with the customers it has found."""
    world = World({f"stripe:cus_{number}": customer(pro(), account=f"acct-{number}") for number in numbers})
    async with store.transaction() as tx:
        await tx.subjects.mark(sorted(world.answers))
    claims = await take(store, SUBJECTS, limit=len(numbers), at=T0)
    assert len(claims) == len(numbers)
    for claim in claims:
        assert await sync_subject(store, world, StandingClock(T0), claim) == "saved"


async def test_an_account_that_is_imported_costs_the_same_few_statements_however_many_there_are(
    store: Store, statements: Counter[str]
) -> None:
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=T0, by="tests")
    costs = []
    for numbers in (range(2), range(2, 12), range(12, 52)):
        statements.clear()
        await read(store, numbers)
        costs.append(statements.total() / len(numbers))
    assert max(costs) <= READ_MAX, costs
    assert costs[-1] <= costs[0], costs
    statements.clear()
    for number in range(10):
        await put_account(store, account=f"put-{number}", name="", links={}, traits={}, at=T0)
    assert statements.total() / 10 <= PUT_MAX, statements
