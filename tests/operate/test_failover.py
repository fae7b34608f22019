"""A primary lost under load: servers follow to the replica that takes its place, and lose nothing they acknowledged
as long as commits wait for it."""

import socket
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operate.servers import Load, entered, environ_of, new_account, servers, used
from paygrade.postgres.connections import Connections
from support.postgres_nodes import Node, Nodes, nodes
from support.waiting import eventually

WAITED_FOR = {"synchronous_standby_names": "replica", "synchronous_commit": "on"}


@pytest.mark.anyio
async def test_a_host_that_is_silent_hides_no_other(database_url: str) -> None:
    parts = conninfo_to_dict(database_url)
    with socket.socket() as silent:
        # As a machine that is gone without a word: whoever connects is not answered.
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        hosts = f"127.0.0.1,{parts['host']}"
        url = make_conninfo(database_url, host=hosts, port=f"{silent.getsockname()[1]},{parts.get('port', 5432)}")
        assert await Connections(url, connections_max=1)._unanswered() is None


def either(one: Node, other: Node) -> str:
    """The address of whichever of them takes writes."""
    hosts = f"127.0.0.1:{one.port},127.0.0.1:{other.port}"
    return f"postgresql://paygrade@{hosts}/paygrade?target_session_attrs=read-write&connect_timeout=3"


def begun(made: Nodes, settings: dict[str, str]) -> tuple[Node, Node]:
    primary = made.primary()
    replica = made.replica(primary)
    for name, value in settings.items():
        primary.sql(f"alter system set {name} = '{value}'")
    primary.sql("select pg_reload_conf()")
    return primary, replica


def uses(node: Node, account: str) -> set[str]:
    """The ids of uses that this node has."""
    asked = f"select id from ledger where account = '{account}' and denied is null"
    return entered(node.sql(asked, database="paygrade"))


def test_a_promoted_replica_is_followed_and_has_everything_acknowledged(tmp_path: Path) -> None:
    with nodes() as made:
        primary, replica = begun(made, WAITED_FOR)
        with servers(tmp_path, environ_of(database_url=either(primary, replica))) as running:
            account = new_account(running.urls[0], "acme", 1_000_000)
            with Load(running.urls, account, again=True).running() as asking:
                asking.more(60)
                primary.kill()
                before = set(asking.acknowledged)
                replica.promote()
                asking.more(60)
            for number in range(2):
                running.is_ready(number)
                assert "database_back" in running.log(number)
            assert before <= asking.acknowledged == uses(replica, account)
            assert used(running.urls[0], account) == used(running.urls[1], account) == len(asking.acknowledged)


def test_what_no_replica_has_is_lost_with_the_primary_and_servers_do_not_remember_it(tmp_path: Path) -> None:
    with nodes() as made:
        primary, replica = begun(made, {"synchronous_commit": "on"})
        with servers(tmp_path, environ_of(database_url=either(primary, replica))) as running:
            account = new_account(running.urls[0], "acme", 1_000_000)
            with Load(running.urls, account, again=True).running() as asking:
                asking.more(20)
            (told,) = primary.sql("select pg_current_wal_insert_lsn()::text")[0]
            eventually(lambda: replica.sql(f"select pg_last_wal_replay_lsn() >= '{told}'") == [(True,)])
            kept = set(asking.acknowledged)
            # From here on the replica hears nothing any more, as when the network between them fails.
            replica.sql("alter system set primary_conninfo = ''")
            replica.sql("select pg_reload_conf()")
            eventually(lambda: replica.sql("select count(*) from pg_stat_wal_receiver") == [(0,)])
            with Load(running.urls, account, again=True, name="lost").running(clients=2) as lost:
                lost.more(5)
            primary.kill()
            replica.promote()
            for number in range(2):
                eventually(lambda number=number: "database_back" in running.log(number))  # type: ignore[misc]
                running.is_ready(number)
            assert uses(replica, account) == kept
            assert [used(url, account) for url in running.urls] == [len(kept)] * 2
