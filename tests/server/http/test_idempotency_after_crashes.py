"""A server that is killed at its worst moments: whoever sends a request again under its key sees one effect.

The moments are exact: a lock of ours keeps the server where it is, and it is killed there.
"""

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx2
import psycopg
import pytest

from support.cluster import Cluster, folder_of_its_own
from support.waiting import eventually, how_many_wait_for

CATALOG = "version: 1\nfeatures: { exports: { kind: boolean } }\nplans: { free: { default: true } }\n"
ROTATE, BODY = "/v1/tokens/rotate", {"revoke": True}
PAUSE = 471199
"""The advisory lock that a commit waits for, in the third case."""
WAITS_TO_COMMIT = f"""
    create function wait_to_commit() returns trigger language plpgsql as
    $$ begin perform pg_advisory_xact_lock({PAUSE}); return null; end $$;
    create constraint trigger wait_to_commit after update on idempotency_keys
    deferrable initially deferred for each row when (new.status is not null) execute function wait_to_commit()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with folder_of_its_own("idempotency") as folder:
        made = Cluster(folder, servers=1, seed=1, admin_key="sk_test_of_crashes")
        with made.running(CATALOG):
            yield made


class Killed:
    """A request that its server does not live to answer."""

    def __init__(self, cluster: Cluster, key: str) -> None:
        self.cluster, self.key, self.before = cluster, key, rotations(cluster)
        self._asking = threading.Thread(target=self._ask)
        self._asking.start()

    def _ask(self) -> None:
        with suppress(httpx2.HTTPError):
            self.cluster.ask("POST", ROTATE, json=BODY, headers={"Idempotency-Key": self.key})
            raise AssertionError("it was answered")

    def kill(self) -> None:
        self.cluster.kill_server(0)
        self._asking.join()

    def is_done_once(self) -> Any:
        """Send it again, and again, to a server that began anew."""
        self.cluster.start_dead_servers()
        self.cluster.wait_until_ready()
        headers = {"Idempotency-Key": self.key}
        first, second = (self.cluster.ask("POST", ROTATE, json=BODY, headers=headers) for _ in range(2))
        assert first == second
        assert rotations(self.cluster) == self.before + 1
        return first


def rotations(cluster: Cluster) -> int:
    with psycopg.connect(cluster.database_url) as connection:
        found = connection.execute("select coalesce(max(number), 0) from signing_keys").fetchone()
    assert found is not None
    return int(found[0])


def test_killed_before_it_did_anything_it_is_done_once(cluster: Cluster) -> None:
    with psycopg.connect(cluster.database_url) as ours:
        ours.execute("lock table signing_keys in access exclusive mode")
        ours.execute("savepoint held")
        # `rotations` would wait, too.
        killed = Killed.__new__(Killed)
        killed.cluster, killed.key = cluster, "before"
        killed.before = int(ours.execute("select coalesce(max(number), 0) from signing_keys").fetchone()[0])  # type: ignore[index]
        killed._asking = threading.Thread(target=killed._ask)
        killed._asking.start()
        eventually(lambda: how_many_wait_for(ours))
        killed.kill()
    killed.is_done_once()


def test_killed_between_its_effect_and_its_answer_it_is_done_once(cluster: Cluster) -> None:
    with psycopg.connect(cluster.database_url) as effect, psycopg.connect(cluster.database_url) as answer:
        effect.execute("lock table signing_keys in exclusive mode")
        killed = Killed(cluster, "between")
        eventually(lambda: how_many_wait_for(effect))
        answer.execute("select 1 from idempotency_keys where key = 'between' for update")
        effect.rollback()
        eventually(lambda: how_many_wait_for(answer))
        killed.kill()
    assert rotations(cluster) == killed.before
    killed.is_done_once()


def test_killed_while_it_commits_what_was_saved_is_answered(cluster: Cluster) -> None:
    with psycopg.connect(cluster.database_url) as ours:
        ours.execute(WAITS_TO_COMMIT)
        ours.commit()
        ours.execute("select pg_advisory_lock(%s)", (PAUSE,))
        ours.commit()
        killed = Killed(cluster, "after")
        eventually(lambda: how_many_wait_for(ours))
        killed.kill()
        # PostgreSQL goes on with what it was told last, and finds nobody to tell of it.
        ours.execute("select pg_advisory_unlock(%s)", (PAUSE,))
        ours.commit()
        eventually(lambda: rotations(cluster) == killed.before + 1)
        ours.execute("drop function wait_to_commit cascade")
    killed.is_done_once()
