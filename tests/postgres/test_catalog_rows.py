"""Published catalogs outlive the words they were published in."""

import json

import psycopg
import pytest

from paygrade.catalog.model import Allowance, Catalog, Plan, Policies, Step
from paygrade.catalog.offers import MeteredFeature
from paygrade.postgres.migrate import migrate, migrations
from paygrade.postgres.store import Store
from paygrade.values.periods import Recurrence

pytestmark = pytest.mark.anyio

QUOTING = 'The text "every":"month" is not a term.'
NOTHING = (Step(None, "none"),)


async def test_a_catalog_published_before_recurrences_reads_the_same(empty_database_url: str) -> None:
    before = tuple(migration for migration in migrations() if migration.number < 6)
    await migrate(empty_database_url, before)
    step = [{"until": None, "access": "none", "plan": None}]
    terms = {
        "calls": {"term": "allowance", "feature": "calls", "units": 5, "every": "month"},
        "seats": {"term": "allowance", "feature": "seats", "units": 2, "every": None},
    }
    resolved = {
        "version": 1,
        "features": {"calls": {"kind": "metered", "key": "calls", "event": "call", "description": QUOTING}},
        "credits": {},
        "plans": {"pro": {"key": "pro", "version": 1, "rank": 0, "terms": terms}},
        "add_ons": {},
        "policies": {"past_due": step, "unpaid": step, "paused": step, "plan_change": []},
        "stripe": {},
    }
    async with await psycopg.AsyncConnection.connect(empty_database_url) as connection:
        await connection.execute(
            "insert into catalogs values (1, '{}', %s, 'digest', now(), 'ann')",
            (json.dumps(resolved, separators=(",", ":")),),
        )
    await migrate(empty_database_url)
    async with Store(empty_database_url) as store, store.transaction() as tx:
        saved = await tx.catalogs.load()
    assert saved is not None
    assert saved.catalog == Catalog(
        1,
        {"calls": MeteredFeature("calls", "call", description=QUOTING)},
        {},
        {
            "pro": Plan(
                "pro",
                1,
                0,
                {"calls": Allowance("calls", 5, recurrence=Recurrence("month")), "seats": Allowance("seats", 2)},
            )
        },
        {},
        Policies(NOTHING, NOTHING, NOTHING, ()),
        {},
    )
