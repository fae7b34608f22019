"""Requests decided together: on what is remembered while that is so, on what is locked otherwise; exact either way."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from paygrade.decisions.decide import bound
from paygrade.postgres.store import Store
from paygrade.server.operations.accounts.accounts import put_account
from paygrade.server.operations.catalog.publish import publish_catalog
from paygrade.server.operations.usage.answers import Answer
from paygrade.server.operations.usage.grants import give
from paygrade.server.operations.usage.group_commit import SECOND_MIN, GroupCommit
from paygrade.server.operations.usage.optimistic import decide_optimistically, save_optimistically
from paygrade.server.operations.usage.requests import Consume
from paygrade.server.operations.usage.use import use_together
from paygrade.server.process.clock import Clock
from paygrade.server.state.snapshots import Snapshots
from paygrade.usage.balances import Grant
from paygrade.values.errors import Refused
from support.waiting import GIVE_UP_S, somebody_waits

pytestmark = pytest.mark.anyio

LIMIT = 400
DOCUMENT = {
    "version": 1,
    "features": {"calls": {"kind": "metered"}, "seats": {"kind": "level"}, "free": {"kind": "metered"}},
    "plans": {
        "free": {
            "default": True,
            "entitlements": {"calls": {"limit": LIMIT, "every": "month"}, "seats": 5, "free": "unlimited"},
        }
    },
}
NOW = Clock().now()


@pytest.fixture
async def acme(store: Store) -> Store:
    """Give a store with a catalog and one account."""
    await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=NOW, by="ann")
    await put_account(store, account="acme", name="Acme", links={}, traits={}, at=NOW)
    return store


@asynccontextmanager
async def remembering(store: Store, *first: Consume) -> AsyncIterator[Snapshots]:
    """Snapshots that follow a store, and remember what was used first."""
    snapshots = Snapshots()
    following = asyncio.create_task(snapshots.follow(store))
    try:
        while any(snapshots.counted(one.account, one.feature, NOW) is None for one in first):
            await use_together(store, snapshots, first, NOW)
            for one in first:
                await snapshots.load(store, one.account, NOW)
            await asyncio.sleep(0.01)
        yield snapshots
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def use(id: str, quantity: int = 1) -> Consume:
    return Consume("acme", "calls", id, quantity)


def used(database_url: str, account: str = "acme") -> tuple[int, int]:
    """What the balance says, and the sum of the entries that took effect."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select (select used from balances where account = %(account)s and pool = 'calls'), (select sum(quantity) "
            "from ledger where account = %(account)s and feature = 'calls' and denied is null and kind = 'consume')",
            {"account": account},
        ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


asked_of_two = st.lists(
    st.builds(
        Consume,
        st.sampled_from(["a", "b"]),
        st.sampled_from(["calls", "seats", "free"]),
        st.integers(0, 9).map(lambda number: f'"{number}\\'),
        st.integers(0, 3),
        member=st.sampled_from([None, "ann"]),
        properties=st.sampled_from([None, {"model": 'a"b'}]),
    ),
    max_size=12,
)


@given(asked=asked_of_two)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_plain_uses_are_saved_and_answered_as_locked_ones_are(database_url: str, asked: list[Consume]) -> None:
    async def both() -> None:
        run = uuid.uuid4().hex
        async with Store(database_url) as store:
            await publish_catalog(store, document=DOCUMENT, lines={}, dry_run=False, at=NOW, by="ann")
            named = {way: [replace(one, account=f"{run} {way} {one.account}") for one in asked] for way in "pl"}
            firsts = [Consume(f"{run} {way} {account}", feature, f"first {feature}")
                      for way in "pl" for account in "ab" for feature in ("calls", "seats", "free")]  # fmt: skip
            for account in {first.account for first in firsts}:
                await put_account(store, account=account, name="", links={}, traits={}, at=NOW)
            async with remembering(store, *firsts) as snapshots:
                decided = decide_optimistically(snapshots, named["p"], NOW)
                plain = [place for each in decided.counts for place, _ in each.answers]
                answers: dict[int, Answer | Refused] = {}
                for each in decided.counts:
                    answers |= dict(each.answers)
                assert sorted([*plain, *decided.left]) == list(range(len(asked)))
                if plain:
                    assert await save_optimistically(store, decided.counts) == set()
                for way, places in (("p", decided.left), ("l", plain), ("l", decided.left)):
                    if places:
                        told = await use_together(store, snapshots, [named[way][place] for place in places], NOW)
                        compared = dict(zip(places, told, strict=True))
                        if way == "p":
                            answers |= compared
                        else:
                            for place, answer in compared.items():
                                assert anonymous(answer) == anonymous(answers[place])
            plainly, locked = kept(database_url, f"{run} p"), kept(database_url, f"{run} l")
            assert plainly == locked

    asyncio.run(both())


def anonymous(answer: object) -> object:
    if not isinstance(answer, Answer):
        return str(answer)
    return replace(answer, decision=replace(bound(answer.decision), account=""))


def kept(database_url: str, prefix: str) -> list[object]:
    """All that is stored of these accounts."""
    with psycopg.connect(database_url) as connection:
        return [
            connection.execute(query.encode(), (len(prefix) + 1, prefix)).fetchall()
            for query in (
                "select substr(account, %s), pool, slot, used, reserved, version, from_at, until, expires_at, "
                "detail::text from balances where starts_with(account, %s) order by 1, 2, 3",
                "select substr(account, %s), id, kind, feature, quantity, time, recorded_at, digest, denied, "
                "draws::text, member, properties::text, answer::text from ledger where starts_with(account, %s) "
                "order by 1, 2",
            )
        ]


@pytest.mark.parametrize("change", ["version = version + 1", "version = version - 1"])
async def test_nothing_is_saved_on_a_count_that_has_changed(acme: Store, database_url: str, change: str) -> None:
    await put_account(acme, account="beta", name="", links={}, traits={}, at=NOW)
    async with remembering(acme, use("first"), replace(use("first"), account="beta")) as snapshots:
        with psycopg.connect(database_url) as connection:
            connection.execute(f"update balances set {change} where account = 'acme'".encode())
        asked = [use("a"), replace(use("a"), account="beta"), use("b")]
        decided = decide_optimistically(snapshots, asked, NOW)
        assert await save_optimistically(acme, decided.counts) == {decided.counts[0].key}
        assert used(database_url) == (1, 1)
        assert used(database_url, "beta") == (2, 2), "what has not changed is saved all the same"
        found = [snapshots.counted(account, "calls", NOW) for account in ("acme", "beta")]
        assert [known and known[2].used for known in found] == [1, 2]


async def test_a_count_that_another_holds_is_waited_for_and_then_compared(acme: Store, database_url: str) -> None:
    async with remembering(acme, use("first")) as snapshots:
        decided = decide_optimistically(snapshots, [use("a")], NOW)
        with psycopg.connect(database_url) as connection:
            connection.execute("update balances set used = used + 1, version = version + 1")
            saving = asyncio.create_task(save_optimistically(acme, decided.counts))
            await somebody_waits(database_url)
        assert await saving == {decided.counts[0].key}
        assert used(database_url) == (2, 1)


async def test_neither_a_denial_nor_an_id_of_before_rests_on_what_is_remembered(acme: Store, database_url: str) -> None:
    async with remembering(acme, use("first")) as snapshots:
        decided = decide_optimistically(snapshots, [use("a"), use("big", LIMIT), use("behind it")], NOW)
        assert decided.left == [1, 2]
        again = decide_optimistically(snapshots, [use("with it"), use("first")], NOW)
        with pytest.raises(Refused) as refused:
            await save_optimistically(acme, again.counts)
        assert refused.value.code == "id_taken"
        assert used(database_url) == (1, 1)


async def test_a_threshold_is_not_passed_on_what_is_remembered(acme: Store) -> None:
    async with remembering(acme, use("first")) as snapshots:
        assert decide_optimistically(snapshots, [use("all but one", LIMIT - 2)], NOW).left == []
        assert decide_optimistically(snapshots, [use("all", LIMIT - 1)], NOW).left == [0], "an alert goes with it"


async def test_a_grant_that_was_not_heard_of_yet_is_counted_on(acme: Store, database_url: str) -> None:
    grant = Grant("g1", "promotion", 5, NOW, NOW + timedelta(days=1), priority=1)
    async with remembering(acme, use("first")) as snapshots, Store(database_url) as other:
        decided = decide_optimistically(snapshots, [use("a")], NOW)
        await give(other, Snapshots(), account="acme", pool="calls", grant=grant, reason="", at=NOW)
        assert await save_optimistically(acme, decided.counts) == {decided.counts[0].key}
        answers = await use_together(acme, snapshots, [use("a")], NOW)
        assert [a.decision.limit for a in answers if isinstance(a, Answer)] == [LIMIT + 5]
        assert used(database_url)[0] == 1, "the grant burns first"


async def test_what_a_slot_has_beyond_its_count_stays(acme: Store, database_url: str) -> None:
    async with remembering(acme, use("first")) as snapshots:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("""update balances set detail = '{"latest":["2026-01-01T00:00:00Z","e1"]}'""")
            assert await save_optimistically(acme, decide_optimistically(snapshots, [use("a")], NOW).counts) == set()
            row = connection.execute("select detail::text, used from balances").fetchone()
        assert row == ('{"latest":["2026-01-01T00:00:00Z","e1"]}', 2)


@asynccontextmanager
async def committing(store: Store, snapshots: Snapshots) -> AsyncIterator[GroupCommit]:
    commits = GroupCommit(store, snapshots, Clock())
    running = asyncio.create_task(commits.run())
    await asyncio.sleep(0)
    try:
        yield commits
    finally:
        await ended(running)


async def test_what_is_denied_or_held_up_keeps_no_other_account_waiting(acme: Store, database_url: str) -> None:
    await put_account(acme, account="beta", name="", links={}, traits={}, at=NOW)
    beta = [replace(use(f"b{number}"), account="beta") for number in range(SECOND_MIN)]
    first = [use("first"), replace(use("first"), account="beta")]
    async with remembering(acme, *first) as snapshots, committing(acme, snapshots) as commits:
        with psycopg.connect(database_url) as connection:
            connection.execute("select from balances where account = 'acme' for update")
            held_up = [asyncio.create_task(commits.ask(asked)) for asked in (use("big", LIMIT), use("behind it"))]
            async with asyncio.timeout(GIVE_UP_S):
                answers = await asyncio.gather(*map(commits.ask, beta))
            assert [answer.decision.used for answer in answers] == [*range(2, SECOND_MIN + 2)]
            assert not any(task.done() for task in held_up)
        assert [answer.took_effect for answer in await asyncio.gather(*held_up)] == [False, True]


async def test_requests_of_one_account_are_decided_in_the_order_they_came(acme: Store) -> None:
    first = [use("first"), Consume("acme", "seats", "first seat")]
    async with remembering(acme, *first) as snapshots, committing(acme, snapshots) as commits:
        asked: list[Consume] = []
        for number in range(3 * SECOND_MIN):
            asked += [use(f"{number}"), Consume("acme", "seats", f"seat {number}"), use(f"too much {number}", LIMIT)]
        answers = await asyncio.gather(*map(commits.ask, asked))
    assert [answer.decision.used for answer in answers[::3]] == [*range(2, 3 * SECOND_MIN + 2)]
    assert [answer.took_effect for answer in answers[1::3]] == [True] * 4 + [False] * (3 * SECOND_MIN - 4)
    assert not any(answer.took_effect for answer in answers[2::3])


async def test_one_broken_request_is_not_the_ruin_of_the_others(acme: Store) -> None:
    async with remembering(acme, use("first")) as snapshots, committing(acme, snapshots) as commits:
        broken = Consume("acme", "calls", "nul \0", 1)
        told = await asyncio.gather(*map(commits.ask, (use("a"), broken, use("b"))), return_exceptions=True)
    assert [isinstance(answer, Answer) and answer.took_effect for answer in told] == [True, False, True]


@pytest.mark.parametrize("quantity", [1, 3])
async def test_several_processes_use_exactly_what_there_is(acme: Store, database_url: str, quantity: int) -> None:
    async with AsyncExitStack() as stack:
        commits = []
        for _ in range(3):
            store = await stack.enter_async_context(Store(database_url))
            snapshots = Snapshots()
            commits.append(GroupCommit(store, snapshots, Clock()))
            for work in (snapshots.follow(store), commits[-1].run()):
                stack.push_async_callback(ended, asyncio.create_task(work))
        await asyncio.sleep(0)

        async def caller(number: int) -> list[Answer]:
            return [await commits[number % 3].ask(use(f"{number}-{turn}", quantity)) for turn in range(20)]

        answers = [answer for told in await asyncio.gather(*map(caller, range(30))) for answer in told]
    taken = [answer for answer in answers if answer.took_effect]
    assert len(taken) == LIMIT // quantity
    assert used(database_url) == (len(taken) * quantity,) * 2
    assert sorted(a.decision.used or 0 for a in taken) == [n * quantity for n in range(1, len(taken) + 1)]
