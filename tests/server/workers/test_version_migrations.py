"""Migrations on real PostgreSQL: previewed, carried out an account at a time, paused, killed, rolled back."""

import asyncio
import itertools
import json
import multiprocessing
import os
import signal
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from paygrade.billing.accounts import Account
from paygrade.billing.facts import Pin
from paygrade.catalog.grandfathering import Grandfathering
from paygrade.changes.version_migration import VersionMigration
from paygrade.entitlements.sources import versions_had
from paygrade.postgres.session_locks import HOLDERS
from paygrade.postgres.store import Store
from paygrade.server.operations.catalog.migrations import (
    Migration,
    finish_migrations,
    get_migration,
    list_migrations,
    migrate_account,
    moved_accounts,
    pause_migration,
    resume_migration,
    roll_back_migration,
    start_migration,
)
from paygrade.server.operations.catalog.versions import put_pin
from paygrade.server.operations.usage.grants import state_usage
from paygrade.server.state.snapshots import Snapshots
from paygrade.server.workers.claims import take
from paygrade.server.workers.looks import Looks
from paygrade.server.workers.loop import MOVES, migrate_accounts
from support.fake_provider import T0, SetClock
from support.selling import buyer, paygrade, publish, refused, seats, selling
from support.server_process import Api
from support.waiting import eventually, in_time, let_pass

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
AT = T0 + 2 * DAY


async def kept(store: Store, *accounts: str, seats: int = 3) -> None:
    """Accounts that bought `pro@1` and keep it, while `pro@2` has other seats."""
    await publish(store)
    for account in accounts:
        await buyer(store, account)
    dearer = selling(seats)
    dearer["plans"]["pro"]["prices"]["monthly"]["amount"] = 12900
    await publish(store, dearer, existing=Grandfathering(keep=True), at=T0 + DAY)


async def start(store: Store, *accounts: str, **known: Any) -> Migration:
    # Any: fields of VersionMigration.
    move = VersionMigration(plan="pro", **known)
    planned = await start_migration(store, move=move, accounts=accounts or None, dry_run=False, at=AT, by="ann")
    assert planned.migration is not None
    return planned.migration


async def work(store: Store, at: Any = AT, *, moves: int = 1000) -> int:
    """Do what there is to do, as the worker would, at most so many moves; says how many there were."""
    # Any: an instant.
    made = 0
    while made < moves and (claims := await take(store, MOVES, limit=1, at=at)):
        made += await migrate_account(store, claims[0], at=at) != "overtaken"
    await finish_migrations(store, at=at)
    return made


async def account(store: Store, key: str) -> Account:
    async with store.transaction() as tx:
        saved = await tx.accounts.load(key)
    assert saved is not None
    return saved.account


async def statuses(store: Store, id: int) -> dict[str, str]:
    page = await moved_accounts(store, id=id, status=None, after="", limit=500)
    return {each.account: f"{each.status} {each.reason}" if each.reason else each.status for each in page.accounts}


async def test_a_preview_says_who_loses_what_who_is_over_and_what_it_costs_and_does_nothing(store: Store) -> None:
    await kept(store, "a", "b", "c")
    await put_pin(store, account="c", pin=Pin("pro", 2), at=AT)
    await state_usage(store, Snapshots(), account="a", pool="seats", used=4, id="u1", reason="", at=AT)
    planned = await start_migration(
        store, move=VersionMigration(plan="pro", from_version=1), accounts=None, dry_run=True, at=AT, by="ann"
    )
    preview = planned.preview
    assert planned.migration is None
    assert (preview.accounts, preview.losing, preview.gaining) == (2, 2, 0)
    assert preview.skipped == {"another_version": 1}
    assert [(e.account, e.feature, e.before, e.after) for e in preview.sample] == [
        ("a", "seats", "5", "3"), ("b", "seats", "5", "3"),
    ]  # fmt: skip
    over = [(one.account, one.violation.feature, one.violation.used, one.violation.limit)
            for one in preview.exceeded_sample]  # fmt: skip
    assert (preview.exceeded, over) == (1, [("a", "seats", 4, 3)])
    (price,) = preview.prices
    assert (price.currency, price.interval, price.interval_count, price.accounts) == ("usd", "month", 1, 2)
    assert (price.before, price.after, price.unknown) == (2 * 9900, 2 * 12900, 0)
    assert await work(store) == 0
    assert await seats(store, "a", AT) == (5, "pro@1")


async def test_accounts_are_moved_one_by_one_and_told_why_when_they_are_not(store: Store) -> None:
    await kept(store, "a", "b", "c")
    async with store.transaction() as tx:
        await tx.accounts.create("ghost", AT)
    migration = await start(store, "a", "b", from_version=1)
    assert (migration.state, migration.waiting) == ("running", 2)
    await put_pin(store, account="b", pin=Pin("pro", 2), at=AT)
    assert await work(store) == 2
    assert await statuses(store, migration.id) == {"a": "done", "b": "skipped another_version"}
    ended = await get_migration(store, id=migration.id)
    assert (ended.state, ended.done, ended.skipped) == ("finished", 1, 1)
    assert await seats(store, "a", AT) == (3, "pro@2")
    assert await seats(store, "c", AT) == (5, "pro@1")
    assert await refused(start(store, "ghost")) == "unknown_account"


async def test_a_plan_has_one_migration_at_a_time_and_none_to_what_was_never_sold(store: Store) -> None:
    await kept(store, "a")
    first = await start(store, from_version=1)
    assert await refused(start(store, from_version=1)) == "migration_running"
    await work(store)
    again = await start(store, from_version=1)
    assert (again.id > first.id, again.waiting) == (True, 0)
    for known, code in (
        ({"from_version": 7}, "unknown_plan_version"),
        ({"to_version": 7}, "unknown_plan_version"),
        ({"at": AT}, "date_in_the_past"),
    ):
        assert await refused(start(store, **known)) == code
    assert await refused(get_migration(store, id=999)) == "unknown_migration"
    assert [each.id for each in (await list_migrations(store, limit=1)).migrations] == [again.id]


async def test_a_paused_migration_moves_nobody_until_it_is_resumed(store: Store) -> None:
    await kept(store, "a", "b")
    migration = await start(store)
    assert await work(store, moves=1) == 1
    assert (await pause_migration(store, id=migration.id, at=AT)).state == "paused"
    assert await work(store) == 0
    assert (await get_migration(store, id=migration.id)).waiting == 1
    await resume_migration(store, id=migration.id, at=AT)
    assert await work(store) == 1
    assert (await get_migration(store, id=migration.id)).state == "finished"
    assert await refused(pause_migration(store, id=migration.id, at=AT)) == "migration_over"


async def test_a_worker_that_has_not_heard_of_a_pause_moves_nobody_either(store: Store) -> None:
    await kept(store, "a", "b")
    migration = await start(store)
    first, second = await take(store, MOVES, limit=2, at=AT)
    await pause_migration(store, id=migration.id, at=AT)
    assert await migrate_account(store, first, at=AT) == "overtaken"
    await resume_migration(store, id=migration.id, at=AT)
    assert [claim.account for claim in await take(store, MOVES, limit=2, at=AT)] == [first.account], "it is given back"
    await roll_back_migration(store, id=migration.id, at=AT)
    assert await migrate_account(store, second, at=AT) == "overtaken"
    assert await statuses(store, migration.id) == dict.fromkeys(("a", "b"), "skipped rolled_back_before")


async def test_rolling_back_restores_exactly_what_each_account_was_held_to(store: Store) -> None:
    await kept(store, "free", "pinned", "withdrawn", "waiting")
    await put_pin(store, account="pinned", pin=Pin("pro", 1, until=T0 + 90 * DAY, reason="promised"), at=AT)
    before = {key: await seats(store, key, AT) for key in ("free", "pinned", "withdrawn", "waiting")}
    told = {key: versions_had(await account(store, key), await catalog(store), AT) for key in before}
    migration = await start(store, from_version=1)
    assert await work(store, moves=3) == 3
    back = await roll_back_migration(store, id=migration.id, at=AT)
    assert (back.state, back.done, back.waiting, back.skipped) == ("rolling_back", 3, 0, 1)
    assert (await roll_back_migration(store, id=migration.id, at=AT)).state == "rolling_back"
    assert await work(store) == 3
    ended = await get_migration(store, id=migration.id)
    assert (ended.state, ended.rolled_back, ended.skipped) == ("rolled_back", 3, 1)
    assert {key: await seats(store, key, AT) for key in before} == before
    after = {key: versions_had(await account(store, key), await catalog(store), AT) for key in before}
    assert {key: [(v.ref, v.why, v.until, v.reason) for v in had] for key, had in after.items()} == {
        key: [(v.ref, v.why, v.until, v.reason) for v in had] for key, had in told.items()
    }
    assert (await account(store, "pinned")).pins["pro"] == Pin("pro", 1, until=T0 + 90 * DAY, reason="promised")


async def catalog(store: Store) -> Any:
    # Any: the catalog in force.
    async with store.transaction() as tx:
        saved = await tx.catalogs.load()
    assert saved is not None
    return saved.catalog


async def test_what_was_said_after_a_move_is_not_rolled_back(store: Store) -> None:
    await kept(store, "a", "b")
    migration = await start(store)
    await work(store)
    await put_pin(store, account="a", pin=Pin("pro", 1, reason="a promise"), at=AT)
    await roll_back_migration(store, id=migration.id, at=AT)
    await work(store)
    assert await statuses(store, migration.id) == {"a": "skipped changed_since", "b": "rolled_back"}
    assert (await account(store, "a")).pins["pro"].reason == "a promise"
    assert await seats(store, "b", AT) == (5, "pro@1")


async def test_a_dated_migration_takes_effect_on_its_date_for_everybody(store: Store) -> None:
    await kept(store, "a", "b")
    date = AT + 10 * DAY
    await start(store, at=date, to_version=2)
    assert await work(store, moves=1) == 1
    assert await seats(store, "a", date - timedelta(seconds=1)) == (5, "pro@1")
    assert await seats(store, "a", date) == (3, "pro@2")
    # Who was reached too late is moved at once.
    assert await work(store, at=date + DAY) == 1
    assert await seats(store, "b", date + DAY) == (3, "pro@2")


async def test_any_number_of_workers_move_each_account_once(store: Store) -> None:
    await kept(store, *(f"a{number:02}" for number in range(24)))
    migration = await start(store)
    await asyncio.gather(*(work(store) for _ in range(4)))
    ended = await get_migration(store, id=migration.id)
    assert (ended.state, ended.done) == ("finished", 24)
    assert [(await account(store, f"a{number:02}")).version for number in range(24)] == [3] * 24


async def test_a_move_that_is_stopped_at_any_step_is_whole_or_has_not_happened(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"a{number:02}" for number in range(40)]
    await kept(store, *names)
    migration = await start(store)
    assert await stop_at_every_step(store, monkeypatch, migration.id, names) >= 8
    let_pass(database_url, "plan_migration_accounts")
    await work(store)
    assert (await get_migration(store, id=migration.id)).done == 40
    await roll_back_migration(store, id=migration.id, at=AT)
    assert await stop_at_every_step(store, monkeypatch, migration.id, names) >= 8
    let_pass(database_url, "plan_migration_accounts")
    await work(store)
    assert (await get_migration(store, id=migration.id)).rolled_back == 40


async def stop_at_every_step(store: Store, monkeypatch: pytest.MonkeyPatch, id: int, names: list[str]) -> int:
    """Begin moves and stop each at a later statement, until one gets through; says how many statements that takes."""
    for stopped_at in itertools.count():
        (claimed,) = await take(store, MOVES, limit=1, at=AT)
        with monkeypatch.context() as patched:
            patched.setattr(psycopg.AsyncConnection, "wait", _stopping(stopped_at))
            # As when the loop has been busy: who waits for what is there already can be cancelled, too.
            patched.setattr(psycopg.waiting, "MAX_BUSY_TIME", -1.0)
            task = asyncio.create_task(migrate_account(store, claimed, at=AT))
            await asyncio.gather(task, return_exceptions=True)
        await whole(store, id, names)
        if not task.cancelled():
            assert task.result() in ("done", "rolled_back")
            return stopped_at
    raise AssertionError


def _stopping(stopped_at: int) -> Any:
    """The `wait` of a connection, during which whoever waits is cancelled at the statement of this number; the
    beginning and the end of a transaction are statements, too."""
    wait, numbers = psycopg.AsyncConnection.wait, itertools.count()

    async def stopping(connection: Any, *args: Any, **named: Any) -> Any:  # Any: whatever psycopg takes
        task = asyncio.current_task()
        if next(numbers) == stopped_at and task is not None:
            task.cancel()
        return await wait(connection, *args, **named)

    return stopping


async def whole(store: Store, id: int, names: list[str]) -> None:
    """Each account has the pin that its status says."""
    found = await statuses(store, id)
    async with store.transaction() as tx:
        accounts = await tx.accounts.find(names)
    assert {name: "pro" in accounts[name].pins for name in names} == {name: found[name] == "done" for name in names}


async def moved(store: Store, id: int, enough: int) -> bool:
    return (await get_migration(store, id=id)).done >= enough


def _work_until_killed(database_url: str) -> None:
    async def run() -> None:
        async with Store(database_url) as store:
            # As a server does: its leases end with the session that listens.
            ready = asyncio.Event()
            listening = asyncio.create_task(store.listen(ready=ready.set, hear=lambda channel, payload: None))
            await ready.wait()
            looks = Looks(store, SetClock(AT))
            await asyncio.gather(migrate_accounts(store, SetClock(AT), looks), looks.go_on(), listening)

    asyncio.run(run())


async def test_a_migration_goes_on_where_a_killed_process_left_it(store: Store, database_url: str) -> None:
    names = [f"a{number:03}" for number in range(80)]
    await kept(store, *names)
    migration = await start(store)
    context = multiprocessing.get_context("spawn")
    for enough in (10, 40):
        worker = context.Process(target=_work_until_killed, args=(database_url,))
        worker.start()
        await in_time(partial(moved, store, migration.id, enough))
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        await gone(database_url)
        await whole(store, migration.id, names)
    await work(store)
    ended = await get_migration(store, id=migration.id)
    assert (ended.state, ended.done, ended.waiting) == ("finished", 80, 0)
    assert {(await account(store, name)).version for name in names} == {3}


async def gone(database_url: str) -> None:
    """Wait until PostgreSQL has noticed that a killed process is gone: none of its transactions is open, and the
    session that held its leases has ended."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def is_gone() -> bool:
            cursor = await connection.execute(
                "select from pg_stat_activity where datname = current_database() and xact_start is not null "
                "and pid <> pg_backend_pid() and state <> 'idle' "
                "union all select from pg_locks where locktype = 'advisory' and classid = %s "
                "and database = (select oid from pg_database where datname = current_database())",
                (HOLDERS,),
            )
            return await cursor.fetchone() is None

        await in_time(is_gone)


def ended(api: Api, id: int) -> Any:
    def found() -> Any:
        shown = api.ok("GET", f"/v1/catalog/migrations/{id}")
        return None if shown["finished_at"] is None else shown

    return eventually(found)


def test_a_migration_is_previewed_run_read_and_rolled_back_over_http(api: Api, acme: str) -> None:
    document = json.loads(json.dumps(api.ok("GET", "/v1/catalog")["document"]))
    document["plans"]["free"]["entitlements"]["seats"] = 23
    api.ok("PUT", "/v1/catalog?existing=keep", json=document)
    wanted = {"plan": "free", "accounts": [acme]}
    told = api.ok("POST", "/v1/catalog/migrations?dry_run", json=wanted)
    assert (told["migration"], told["preview"]["gaining"]) == (None, 1)
    id = api.ok("POST", "/v1/catalog/migrations", json=wanted)["migration"]["id"]
    assert ended(api, id)["state"] == "finished"
    assert api.check(acme, "seats")["limit"] == 23
    listed = api.ok("GET", f"/v1/catalog/migrations/{id}/accounts?status=done")
    assert listed == {"accounts": [{"account": acme, "status": "done", "reason": None}], "next": None}
    api.ok("POST", f"/v1/catalog/migrations/{id}/roll-back")
    assert ended(api, id)["state"] == "rolled_back"
    assert api.check(acme, "seats")["limit"] != 23
    for status, method, where, body in (
        (404, "GET", "/v1/catalog/migrations/none", None),
        (404, "POST", "/v1/catalog/migrations/99999/pause", None),
        (409, "POST", f"/v1/catalog/migrations/{id}/resume", None),
        (400, "GET", f"/v1/catalog/migrations/{id}/accounts?status=odd", None),
        (400, "POST", "/v1/catalog/migrations", {"plan": "free", "accounts": []}),
        (400, "POST", "/v1/catalog/migrations", {"plan": "free", "from_version": 0}),
    ):
        api.problem(status, method, where, json=body)


def test_the_command_line_migrates_and_rolls_back(api: Api, acme: str) -> None:
    document = json.loads(json.dumps(api.ok("GET", "/v1/catalog")["document"]))
    document["plans"]["free"]["entitlements"]["seats"] = 29
    api.ok("PUT", "/v1/catalog?existing=keep", json=document)
    shown = paygrade(api, "catalog", "migrate", "free", "--account", acme, "--dry-run")
    assert f"{acme}\tseats\tgains" in shown
    assert "migration" not in shown
    moved = paygrade(api, "catalog", "migrate", "free", "--account", acme, "--reason", "spring cleaning")
    (line,) = [line for line in moved.splitlines() if line.startswith("migration ")]
    assert "finished; 0 waiting, 1 done" in line
    id = line.split()[1]
    assert "finished" in paygrade(api, "catalog", "migrations")
    assert f"{acme}\tdone" in paygrade(api, "catalog", "migration", id, "--status", "done")
    assert "rolled back; 0 waiting, 0 done, 0 skipped, 1 rolled back" in paygrade(
        api, "catalog", "migration", id, "--roll-back"
    )
    assert "migration_over" in paygrade(api, "catalog", "migration", id, "--pause", code=1)
    dated = json.loads(paygrade(api, "catalog", "migrate", "free", "--account", acme, "--at", "2199-01-01", "--json"))
    assert dated["migration"]["at"] == "2199-01-01T00:00:00Z"
    assert "until 2199-01-01" in paygrade(api, "explain", acme, "seats")
