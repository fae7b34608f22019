"""`paygrade doctor` beside servers of PostgreSQL that are set wrong, full, or replicas."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from click.testing import CliRunner

from conftest import UNSAFE_BUT_FAST
from paygrade.cli.main import paygrade
from support.postgres_nodes import Node, nodes

SETTINGS = {
    **{name: value for name, value in UNSAFE_BUT_FAST.items() if name not in ("fsync", "full_page_writes")},
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_senders": "4",
    "max_connections": "25",
    "max_notify_queue_pages": "64",
}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    with nodes() as made:
        primary = made.primary(SETTINGS)
        yield primary, made.replica(primary, SETTINGS)


def symptoms(url: str, **more: str) -> dict[tuple[str, str], str]:
    environ = {"PAYGRADE_DATABASE_URL": url, "PAYGRADE_ADMIN_KEY": "sk_0123456789012345678901234567890", **more}
    ended = CliRunner().invoke(paygrade, ["doctor", "--json"], env=environ)
    found = json.loads(ended.stdout)
    assert ended.exit_code == int(any(each["state"] == "wrong" for each in found)), ended.stdout
    return {(each["what"], each["state"]): each["detail"] for each in found}


def test_a_server_that_is_set_well_and_its_replica_are_fine(pair: tuple[Node, Node]) -> None:
    primary, replica = pair
    found = symptoms(primary.database_url, PAYGRADE_DATABASE_REPLICA_URL=replica.database_url)
    assert found["postgres", "ok"] == "what is acknowledged is on disk first"
    assert found["replica", "ok"] == "answers, and is a replica"
    assert "watch that there" in found["disk", "ok"]


def test_an_address_that_leads_to_a_replica_is_wrong(pair: tuple[Node, Node]) -> None:
    assert "target_session_attrs=read-write" in symptoms(pair[1].database_url)["postgres", "wrong"]


def test_connections_that_are_nearly_all_taken_are_told(pair: tuple[Node, Node]) -> None:
    primary, _ = pair
    with ExitStack() as taken:
        for _ in range(20):
            taken.enter_context(psycopg.connect(primary.database_url))
        assert "raise `max_connections`" in symptoms(primary.database_url)["connections", "note"]


def test_commits_that_wait_for_no_replica_although_one_is_named_are_told(pair: tuple[Node, Node]) -> None:
    primary, _ = pair
    primary.sql("alter system set synchronous_standby_names = 'replica'")
    primary.sql("select pg_reload_conf()")
    try:
        primary.sql("alter database paygrade set synchronous_commit = local")
        assert "wait for no replica" in symptoms(primary.database_url)["postgres", "note"]
        primary.sql("alter database paygrade reset synchronous_commit")
        assert (
            symptoms(primary.database_url)["postgres", "ok"] == "what is acknowledged is on disk and on a replica first"
        )
    finally:
        primary.sql("alter system reset synchronous_standby_names")
        primary.sql("select pg_reload_conf()")


def test_a_queue_of_notifications_that_fills_up_is_wrong(pair: tuple[Node, Node]) -> None:
    primary, _ = pair
    with psycopg.connect(primary.database_url, autocommit=True) as stuck:
        stuck.execute("listen anything")
        stuck.execute("begin")
        stuck.execute("select")
        primary.sql(
            "select pg_notify('anything', repeat('x', 7000) || number) from generate_series(1, 48) as number",
            database="paygrade",
        )
        assert "`pg_stat_activity`" in symptoms(primary.database_url)["queue", "wrong"]
