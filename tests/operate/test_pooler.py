"""Behind a transaction pooler (Debian's PgBouncer) all is as without it, as long as there is a direct way, too."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from conftest import UNSAFE_BUT_FAST
from operate.servers import Load, entered, environ_of, new_account, servers, used
from paygrade.cli import wiring
from paygrade.postgres.store import Store
from paygrade.values.errors import Refused
from stories.language.core_runner import play_on_core
from stories.language.http_runner import play_through_http
from stories.language.language import load
from support.cli_runner import Shell
from support.databases import migrated_database
from support.pgbouncer import Pooler, needs_pgbouncer, pooler
from support.postgres_nodes import Node, nodes
from support.server_process import KEY
from support.waiting import eventually

pytestmark = needs_pgbouncer

STORIES = Path(__file__).parents[1] / "stories"
PLAYED = [
    story
    for name in ("access/operators", "usage/limits", "usage/reservations", "changes/changes")
    for story in load(STORIES / f"{name}.story")[:2]
]


@pytest.fixture(scope="module")
def primary() -> Iterator[Node]:
    with nodes() as made:
        yield made.primary(UNSAFE_BUT_FAST)  # nothing here is about PostgreSQL's own end


@pytest.fixture(scope="module")
def migrated(primary: Node) -> Iterator[str]:
    with migrated_database(primary.url) as url:
        yield url


@pytest.fixture(scope="module")
def between(migrated: str) -> Iterator[Pooler]:
    with pooler(migrated) as made:
        yield made


@pytest.mark.parametrize("story", PLAYED, ids=lambda story: story.title)
def test_stories_hold_behind_a_pooler_with_the_same_answers(story, primary: Node) -> None:  # type: ignore[no-untyped-def]
    with migrated_database(primary.url) as url, pooler(url) as between:
        ways = {"database_url": between.url, "database_direct_url": url}
        answers = play_through_http(story, url, ways)
    assert [answer.said for answer in answers] == [answer.said for answer in play_on_core(story)]


def test_units_are_counted_exactly_though_servers_and_the_pooler_are_killed(
    migrated: str, between: Pooler, tmp_path: Path
) -> None:
    environ = environ_of(database_url=between.url, database_direct_url=migrated)
    with servers(tmp_path, environ | {"PAYGRADE_WORKERS": "1"}) as running:
        account = new_account(running.urls[0], "counted", 1_000_000)
        with Load(running.urls, account, again=True).running() as asking:
            asking.more(50)
            running.kill(0)
            asking.more(20)
            running.start(0)
            between.kill()
            between.start()
            asking.more(20)
        running.is_ready(1)
        # Uses that were cut off were sent again under their id, so each counts once, and each was answered.
        assert used(running.urls[1], account) == len(asking.acknowledged)
        with psycopg.connect(migrated) as connection:
            rows = connection.execute("select id from ledger where account = 'counted' and denied is null").fetchall()
        assert asking.acknowledged == entered(rows)
        limited = new_account(running.urls[0], "limited", 150)
        with Load(running.urls, limited, again=True).running() as asking:
            eventually(lambda: asking.outcomes["limit_reached"] > 10)
        assert used(running.urls[0], limited) == len(asking.acknowledged) == 150


@pytest.mark.anyio
async def test_every_kind_of_transaction_is_in_utc_and_finds_rows_by_their_key(migrated: str, between: Pooler) -> None:
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute(f"alter database {connection.info.dbname} set timezone = 'Asia/Tokyo'")
    between.kill()
    between.start()
    asked = "select current_setting('timezone'), current_setting('enable_seqscan'), count(*) over () from accounts"
    kinds = [(False, False, "on"), (True, False, "off"), (False, True, "off")]
    async with Store(between.url, direct_url=migrated) as store:
        for pipelined, single, seqscan in kinds * 8:
            async with store.transaction(pipelined=pipelined, single=single) as tx:
                cursor = await tx._connection.execute(asked.replace("from accounts", ""))
                assert await cursor.fetchone() == ("UTC", seqscan, 1)


def test_a_pooler_without_a_direct_way_is_refused_before_anything_happens(between: Pooler, tmp_path: Path) -> None:
    shell = Shell(tmp_path, PAYGRADE_ADMIN_KEY=KEY, **environ_of(database_url=between.url))
    for command in (["serve", "--port", "1"], ["migrate"]):
        assert "set PAYGRADE_DATABASE_DIRECT_URL" in shell.run(*command, code=1)
    found = {symptom["what"]: symptom for symptom in shell.json("doctor", code=1)}
    assert found["pooler"]["state"] == "wrong"
    assert "PAYGRADE_DATABASE_DIRECT_URL" in found["pooler"]["detail"]
    assert not {"catalog", "postgres"} & set(found)


def test_a_pooler_with_a_direct_way_is_fine(migrated: str, between: Pooler, tmp_path: Path) -> None:
    ways = environ_of(database_url=between.url, database_direct_url=migrated)
    found = {
        symptom["what"]: symptom for symptom in Shell(tmp_path, PAYGRADE_ADMIN_KEY=KEY, **ways).json("doctor", code=1)
    }
    assert found["pooler"]["state"] == "ok"
    assert found["schema"]["state"] == "ok"


@pytest.mark.anyio
async def test_a_direct_way_is_told_from_a_pooler(migrated: str, between: Pooler) -> None:
    await wiring.refuse_shared_sessions(migrated)
    with pytest.raises(Refused) as refused:
        await wiring.refuse_shared_sessions(between.url)
    assert refused.value.code == "pooler_in_between"
