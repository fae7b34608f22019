"""Requests that meet at the same rows: nobody is turned away because of who came first."""

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from paygrade.postgres.store import Store
from paygrade.server.process.settings import Settings
from paygrade.usage.entries import Entry
from paygrade.values.errors import Refused
from support.databases import migrated_database
from support.server_process import Api, serving
from support.waiting import eventually, how_many_wait_for

CATALOG = {
    "version": 1,
    "features": {
        "shared": {"kind": "metered"},
        "spent": {"kind": "metered", "burns": {"coins": {"rate": 3, "per": 2}}},
    },
    "credits": {"coins": {"price": {"amount": 7, "per": 2, "currency": "usd"}}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {
                "shared": {"limit": 10, "every": "month", "per_member": 4},
                "coins": {
                    "grant": 1000,
                    "every": "month",
                    "caps": [{"budget": {"amount": 50, "currency": "usd"}, "every": "day"}],
                },
            },
        },
    },
}
WAIT_S = 60.0
NOW = datetime(2026, 11, 5, tzinfo=UTC)

Connection = psycopg.Connection[Any]  # Any: rows as they are asked for


@pytest.fixture(scope="module")
def database(postgres_url: str) -> Iterator[str]:
    with migrated_database(postgres_url) as database_url:
        yield database_url


@pytest.fixture(scope="module")
def metered(database: str) -> Iterator[Api]:
    with serving(Settings(), database, catalog=False) as api:
        api.ok("PUT", "/v1/catalog", json=CATALOG)
        yield api


def test_a_request_that_postgresql_ends_for_another_is_tried_again(metered: Api, database: str) -> None:
    metered.ok("PUT", "/v1/accounts/acme", json={})
    body = {"account": "acme", "feature": "shared", "member": "ann"}
    assert metered.ok("POST", "/v1/consume", json={**body, "id": "first"})["consumed"]
    with (
        psycopg.connect(database) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        # The other way around: first a row that is not there yet, then the one of the window.
        other.execute(
            "insert into balances (account, pool, slot) select account, pool, replace(slot, ':ann', ':bob') "
            "from balances where slot like '% member:ann'"
        )
        asked = {**body, "member": "bob", "id": "second"}
        answer = pool.submit(metered.ok, "POST", "/v1/consume", json=asked)
        eventually(lambda: how_many_wait_for(other))
        # Whose patience ends first is ended. If that is us, there was nothing to try again.
        with suppress(psycopg.errors.DeadlockDetected):
            other.execute("select 1 from balances where account = 'acme' and slot not like '%member%' for update")
        other.rollback()
        assert answer.result()["consumed"]


def test_however_many_ask_at_once_a_budget_is_spent_and_never_passed(metered: Api) -> None:
    """50 minor units pay for 14 coins, and those for 9 units: the tenth would cost 15."""
    metered.ok("PUT", "/v1/accounts/thrifty", json={})
    body = {"account": "thrifty", "feature": "spent"}
    with ThreadPoolExecutor(8) as pool:
        asked = [{**body, "id": f"u{number}"} for number in range(24)]
        answers = list(pool.map(lambda one: metered.post("/v1/consume", json=one).json(), asked))
    assert sum(answer.get("consumed", False) for answer in answers) == 9
    decision = metered.ok("POST", "/v1/check", json=body)
    assert (decision["reason"], decision["limited_by"]) == ("limit_reached", "budget 50 usd day")
    assert decision["message"] == "thrifty can't use spent: the budget of 0.50 USD each day pays for 9, 9 are in use"
    balance = metered.ok("GET", "/v1/accounts/thrifty/balances/coins")
    assert balance["used"] == 14


def test_who_takes_the_same_ids_in_another_order_does_not_wait_forever(metered: Api, database: str) -> None:
    async def write() -> None:
        async with Store(database) as store, store.transaction() as tx:
            await tx.ledger.write([entry("b"), entry("a")])

    with (
        psycopg.connect(database) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        insert(other, "a")
        writing = pool.submit(asyncio.run, write())
        eventually(lambda: how_many_wait_for(other))
        insert(other, "b")
        other.commit()
        with pytest.raises(Refused, match="used one of these ids"):
            writing.result()


def test_a_grant_given_twice_at_the_same_moment_is_given_once(metered: Api) -> None:
    metered.ok("PUT", "/v1/accounts/twice", json={})
    for _ in range(20):
        grant = {"feature": "shared", "units": 1, "id": uuid.uuid4().hex, "reason": "bought"}
        with ThreadPoolExecutor(4) as pool:
            given = list(pool.map(lambda body: metered.ok("POST", "/v1/accounts/twice/grants", json=body), [grant] * 4))
        assert {view["grant"]["id"] for view in given} == {grant["id"]}
    assert metered.check("twice", "shared")["limit"] == 10 + 20


def entry(id: str) -> Entry:
    return Entry("crossing", id, "consume", "shared", 1, NOW, NOW, 1)


def insert(connection: Connection, id: str) -> None:
    connection.execute(
        "insert into ledger (account, id, kind, feature, quantity, time, recorded_at, digest, draws) "
        "values ('crossing', %s, 'consume', 'shared', 1, now(), now(), 2, '[]')",
        (id,),
    )
