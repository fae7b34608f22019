"""A replica answers lists, histories and reports, and never with less than was committed when it was asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import Struct

from conftest import UNSAFE_BUT_FAST
from paygrade.server.process.settings import Settings
from stories.language.core_runner import play_on_core
from stories.language.http_runner import play_through_http
from stories.language.language import load
from support.databases import drop_template, migrated_database
from support.postgres_nodes import Node, nodes
from support.server_process import Api, serving
from support.waiting import eventually

READS = (
    "/v1/accounts",
    "/v1/accounts/acme/timeline",
    "/v1/accounts/acme/usage",
    "/v1/accounts/acme/ledger/api_calls",
    "/v1/accounts/acme/members",
    "/v1/accounts/acme/alerts",
    "/v1/accounts/acme/plan-changes",
    "/v1/accounts/acme/top-ups",
    "/v1/accounts/acme/usage/reports",
    "/v1/usage/reports",
    "/v1/sync/status",
    "/v1/sync/drift",
    "/v1/catalog/versions",
    "/v1/catalog/versions/1",
    "/v1/catalog/migrations",
    "/v1/catalog/plans",
    "/v1/catalog/plans/free/accounts",
)
"""What a replica is asked."""
SETTINGS = {
    **UNSAFE_BUT_FAST,
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "max_connections": "100",
}
OWN = ("pg_last_wal_replay_lsn", "set timezone", "select 1", "BEGIN", "COMMIT", "ROLLBACK", "parameters: ")


class Pair(Struct):
    """A database, its replica, and a server over both."""

    primary: Node
    replica: Node
    api: Api

    def asked(self) -> int:
        """How often the replica was asked for more than how far it is."""
        log = (self.replica.folder / f"{self.replica.name}.log").read_text()
        lines = [line for line in log.splitlines() if " LOG:  " in line and ("execute" in line or "statement:" in line)]
        return sum(not any(own in line for own in OWN) for line in lines)

    @contextmanager
    def behind(self) -> Iterator[None]:
        """Let the replica stay behind for as long as the block lasts: nobody asks it."""
        self.replica.pause(on=True)
        self.primary.sql("select pg_log_standby_snapshot()")
        before = self.asked()
        yield
        assert self.asked() == before
        self.replica.pause(on=False)

    def follows(self) -> None:
        """Wait until the replica is asked again, as it is once it has all there is."""
        before = self.asked()
        eventually(lambda: self.api.ok("GET", "/v1/accounts") and self.asked() > before)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with nodes() as made:
        primary = made.primary(SETTINGS)
        replica = made.replica(primary, {**SETTINGS, "log_statement": "all"})
        with migrated_database(primary.url) as url:
            copy = url.replace(f":{primary.port}/", f":{replica.port}/")
            if copy == url:
                copy = " ".join(part for part in url.split() if not part.startswith("port=")) + f" port={replica.port}"
            settings = Settings(database_url=url, database_replica_url=copy)
            with serving(settings, url) as api:
                api.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
                yield Pair(primary, replica, api)
        drop_template(primary.url)


def limit_stated(api: Api, limit: int) -> str:
    body = {"limit": limit, "reason": f"the word {limit}"}
    return str(api.ok("PUT", "/v1/accounts/acme/overrides/api_calls", json=body)["version"])


def is_known(api: Api, limit: int) -> bool:
    newest = api.ok("GET", "/v1/accounts/acme/timeline", params={"limit": 1})["facts"][0]
    return bool(newest["body"]["reason"] == f"the word {limit}")


def test_what_only_reads_is_asked_of_the_replica_and_here_while_that_is_behind(pair: Pair) -> None:
    pair.follows()
    told = {}
    for path in READS:
        before = pair.asked()
        told[path] = pair.api.ok("GET", path)
        assert pair.asked() > before, path
    with pair.behind():
        assert {path: {**answer, "clock": ""} if "clock" in answer else answer for path, answer in told.items()} == {
            path: {**answer, "clock": ""} if "clock" in answer else answer
            for path, answer in ((path, pair.api.ok("GET", path)) for path in READS)
        }


def test_what_was_written_is_there_for_whoever_reads_next(pair: Pair) -> None:
    pair.follows()
    before = pair.asked()
    for limit in range(1, 40):
        limit_stated(pair.api, limit)
        assert is_known(pair.api, limit)
    assert pair.asked() > before


def test_a_version_that_was_answered_is_there_though_the_replica_is_behind(pair: Pair) -> None:
    pair.follows()
    with pair.behind():
        version = limit_stated(pair.api, 77)
        assert is_known(pair.api, 77)
        (listed,) = pair.api.ok("GET", "/v1/accounts", params={"search": "acme"})["accounts"]
        assert listed["version"] >= int(version.split(".")[1])
        assert pair.api.check("acme", "api_calls", at_least=version)["limit"] == 77
    pair.follows()


def test_a_replica_that_is_gone_is_not_missed_and_comes_back(pair: Pair) -> None:
    pair.follows()
    pair.replica.kill()
    answers = [pair.api.get("/v1/accounts/acme/timeline").status_code for _ in range(20)]
    assert set(answers) == {200}
    limit_stated(pair.api, 88)
    assert is_known(pair.api, 88)
    pair.replica.start({**SETTINGS, "log_statement": "all"})
    pair.follows()
    assert is_known(pair.api, 88)


STORIES = Path(__file__).parents[1] / "stories"
PLAYED = [load(STORIES / f"{name}.story")[0] for name in ("access/accounts", "usage/usage")]


@pytest.mark.parametrize("story", PLAYED, ids=lambda story: story.title)
def test_stories_hold_beside_a_replica_with_the_same_answers(story, pair: Pair) -> None:  # type: ignore[no-untyped-def]
    with migrated_database(pair.primary.url) as url:
        copy = url.replace(str(pair.primary.port), str(pair.replica.port))
        answers = play_through_http(story, url, {"database_replica_url": copy})
    assert [answer.said for answer in answers] == [answer.said for answer in play_on_core(story)]


def test_what_was_a_replica_and_is_promoted_is_asked_no_more(pair: Pair) -> None:
    pair.follows()
    pair.replica.promote()
    # It goes its own way from now on: what happens here is not known there.
    limit_stated(pair.api, 99)
    before = pair.asked()
    assert is_known(pair.api, 99)
    assert pair.asked() == before
