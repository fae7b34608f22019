"""The store on real PostgreSQL."""

import asyncio
import uuid
from datetime import UTC, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from psycopg.pq import PipelineStatus

from paygrade.billing.accounts import Account, replay
from paygrade.billing.facts import Customer, Fact, Profile
from paygrade.postgres.store import Store, Transaction
from paygrade.server.workers.claims import take
from paygrade.server.workers.sync import SUBJECTS
from paygrade.values.errors import Unavailable
from support.fake_provider import T0, customer, pro
from support.samples import CATALOG, fact_lists

pytestmark = pytest.mark.anyio


async def save(tx: Transaction, account: str, *facts: Fact) -> Account:
    await tx.accounts.create(account, T0)
    folded = (await tx.accounts.lock([account]))[account]
    for fact in facts:
        folded = await tx.accounts.save(folded, fact, T0)
    return folded


async def named(tx: Transaction, account: str, name: str) -> Account:
    return await save(tx, account, Fact(1, "profile", 1, T0, Profile(created_at=T0, name=name)))


async def test_a_transaction_that_fails_saves_nothing_and_tells_nobody(store: Store) -> None:
    told: list[str] = []
    store.hear_own(lambda channel, payload: told.append(payload))

    async def fail() -> None:
        async with store.transaction() as tx:
            await named(tx, "acme", "Acme")
            await tx.tell("paygrade_account", "acme")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.transaction() as tx:
        assert await tx.accounts.load("acme") is None
    assert told == []


async def test_what_is_told_is_heard_once_it_is_committed(store: Store) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    ready = asyncio.Event()
    listening = asyncio.create_task(
        store.listen(ready=ready.set, hear=lambda channel, payload: heard.put_nowait((channel, payload)))
    )
    await asyncio.wait_for(ready.wait(), 10)
    async with store.transaction() as tx:
        await tx.tell("paygrade_account", "acme")
        assert heard.empty()
    assert await asyncio.wait_for(heard.get(), 10) == ("paygrade_account", "acme")
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_database_that_is_away_is_unavailable(database_url: str) -> None:
    async with Store(database_url) as store:
        await store.close()
        with pytest.raises(Unavailable):
            async with store.transaction():
                pass


async def test_facts_are_read_back_as_they_were_written(store: Store) -> None:
    odd = Customer("cus_1", T0, (pro(None),), name="NUL \0, quote ' and \u2028")
    fact = Fact(1, "stripe:cus_1", 7, T0 - timedelta(microseconds=1), odd, ("evt_1", "evt_2"))
    async with store.transaction() as tx:
        folded = await save(tx, "acme", fact)
    async with store.transaction() as tx:
        saved = await tx.accounts.facts("acme")
        loaded = await tx.accounts.load("acme")
    assert [s.fact for s in saved] == [fact]
    assert loaded is not None
    assert loaded.account == folded == replay("acme", [fact])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=fact_lists())
def test_law_2_what_is_folded_can_be_dropped_and_rebuilt(database_url: str, facts: list[Fact]) -> None:
    async def story() -> None:
        async with Store(database_url) as store, store.transaction() as tx:
            account = uuid.uuid4().hex
            folded = await save(tx, account, *facts)
            rebuilt = replay(account, (saved.fact for saved in await tx.accounts.facts(account)))
            loaded = await tx.accounts.load(account)
            assert loaded is not None
            assert loaded.account == folded == rebuilt
            await tx.accounts.restore(rebuilt)
            again = await tx.accounts.load(account)
            assert again is not None
            assert again.account == folded

    asyncio.run(story())


async def test_when_facts_were_learned_never_goes_back(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.accounts.create("acme", T0)
        account = (await tx.accounts.lock(["acme"]))["acme"]
        first = Fact(1, "profile", 1, T0, Profile(created_at=T0, name="a"))
        account = await tx.accounts.save(account, first, T0 + timedelta(hours=1))
        second = Fact(2, "profile", 2, T0, Profile(created_at=T0, name="b"))
        await tx.accounts.save(account, second, T0)
        learned = [s.recorded_at for s in await tx.accounts.facts("acme")]
    assert learned == [T0 + timedelta(hours=1)] * 2


async def test_instants_come_out_in_utc_wherever_the_server_is(store: Store, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("do $$ begin execute format('alter database %I set timezone = %L', current_database(),"
                                 " 'Asia/Kathmandu'); end $$")  # fmt: skip
    async with Store(database_url) as other, other.transaction() as tx:
        await named(tx, "acme", "Acme")
        (fact,) = await tx.accounts.facts("acme")
        assert fact.recorded_at.tzinfo is UTC
        assert fact.recorded_at == T0


async def test_a_page_finds_what_keys_and_names_begin_with_and_takes_wildcards_as_themselves(store: Store) -> None:
    names = {
        "a": "100% Acme",
        "b": "1000 Acme",
        "c": "other",
        "d": "under_score",
        "Under": "x" * 3000,
        "\U0010fffd": "e",
    }
    async with store.transaction() as tx:
        for key, name in names.items():
            await named(tx, key, name)

        async def found(search: str) -> set[str]:
            return {saved.account.key for saved in await tx.accounts.page(after="", limit=10, search=search)}

        assert await found("") == set(names)
        assert await found("100%") == {"a"}
        assert await found("100") == {"a", "b"}
        assert await found("UNDER") == {"d", "Under"}
        assert await found("under_") == {"d"}
        assert await found("acme") == await found("%") == await found("_") == await found("\\") == set()
        assert await found("X" * 3000) == await found("x" * 100) == {"Under"}
        assert await found("x" * 3001) == set()
        assert await found("\U0010fffd") == {"\U0010fffd"}
        beyond = await tx.accounts.page(after="b", limit=1)
    assert [saved.account.key for saved in beyond] == ["c"]


async def test_a_customer_finds_its_account(store: Store) -> None:
    async with store.transaction() as tx:
        await save(tx, "acme", Fact(1, "stripe:cus_1", 1, T0, customer(pro())))
        await tx.subjects.mark(["stripe:cus_1"])
    (claim,) = await take(store, SUBJECTS, limit=1, at=T0)
    async with store.transaction() as tx:
        await tx.subjects.settle(claim, account="acme")
        found = await tx.accounts.page(after="", limit=10, search="cus_1")
        also = await tx.accounts.page(after="", limit=10, search=pro().id)
    assert [saved.account.key for saved in found] == ["acme"]
    assert also == found


async def test_a_catalog_is_read_back_as_it_was_parsed(store: Store) -> None:
    async with store.transaction() as tx:
        await tx.catalogs.save(CATALOG, document={"b": 1, "a": [2]}, digest="d", by="ann", at=T0)
        saved = await tx.catalogs.load()
        assert await tx.catalogs.load(published_until=T0 - timedelta(seconds=1)) is None
    assert saved is not None
    assert saved.catalog == CATALOG
    assert list(saved.catalog.plans) == list(CATALOG.plans)
    assert list(saved.document) == ["b", "a"]


async def test_a_connection_that_ended_while_nobody_used_it_is_replaced(store: Store, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    async with store.transaction() as tx:
        assert await tx.accounts.load("acme") is None


async def test_who_is_cancelled_as_a_pipeline_begins_leaves_no_connection_in_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = psycopg.AsyncConnection.wait

    async def cancelled(connection: Any, entering: Any, *args: Any) -> Any:  # Any: whatever psycopg takes
        task = asyncio.current_task()
        if task is not None and entering.__qualname__ == "BasePipeline._enter_gen":
            task.cancel()
        return await wait(connection, entering, *args)

    async def send_many() -> None:
        async with store.transaction() as tx:
            await tx._connection.cursor().executemany("select %s", [(1,), (2,)])

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.AsyncConnection, "wait", cancelled)
        patched.setattr(psycopg.waiting, "MAX_BUSY_TIME", -1.0)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(send_many())
    for _ in range(2):
        async with store.transaction() as tx:
            assert tx._connection.pgconn.pipeline_status == PipelineStatus.OFF


async def test_the_inbox_forgets_handled_events_only(store: Store) -> None:
    async with store.transaction() as tx:
        for event, handled in (("evt_old", True), ("evt_waiting", False)):
            await tx.inbox.add(
                subject="stripe:cus_1", event_id=event, type="t", object_id=None, created_at=None, body=b"\0",
                handled=handled, at=T0,
            )  # fmt: skip
        assert await tx.inbox.purge(kept=timedelta(days=45), at=T0 + timedelta(days=45)) == 0
        assert await tx.inbox.purge(kept=timedelta(days=45), at=T0 + timedelta(days=46)) == 1
        assert await tx.inbox.count() == (1, 1, T0)
