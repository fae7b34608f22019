"""Never over a hard limit by decisions of its clients either: processes that lease units and are killed at random."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from proof.fold import Folded, read_ledger
from proof.leasing import CLAIM_MAX, LeaseSpec
from support.cluster import Cluster, eventually, killed

pytestmark = pytest.mark.xdist_group("proof")

AT_ONCE, KILLS = 4, 12
LIMIT = 12_000


def test_processes_that_decide_by_themselves_and_are_killed_never_use_more_than_the_limit(
    cluster: Cluster, tmp_path: Path
) -> None:
    account = f"leased-{uuid.uuid4().hex[:12]}"
    cluster.ask("PUT", f"/v1/accounts/{account}", json={})
    cluster.ask("PUT", f"/v1/accounts/{account}/overrides/calls", json={"limit": LIMIT, "reason": "as agreed"})
    running = [started(cluster, tmp_path, account) for _ in range(AT_ONCE)]
    for number in range(KILLS):
        time.sleep(cluster.rng.uniform(0.02, 0.4))
        which = cluster.rng.randrange(AT_ONCE)
        killed(running[which])
        running[which] = started(cluster, tmp_path, account)
        if number == KILLS // 2:
            cluster.kill_server(1)
            cluster.start_server(1)
    for process in running:
        process.communicate()  # ends its standard input
        assert process.returncode == 0, cluster.log_tail()
    cluster.wait_until_ready()
    allowed = sum(file.stat().st_size for file in tmp_path.iterdir())
    eventually("what dead processes held to come back", lambda: consumed(cluster, account, 0)["reserved"])
    decision = consumed(cluster, account, 0)
    used = decision["used"]
    assert 0 < allowed <= used <= LIMIT
    assert used - allowed <= KILLS * CLAIM_MAX, "no more is lost than what the dead had claimed"
    assert consumed(cluster, account, LIMIT - used)["allowed"]
    assert not consumed(cluster, account, 1)["allowed"]
    with psycopg.connect(cluster.database_url) as connection:
        (counted,) = Folded(read_ledger(connection, [account])).counts.values()
    assert counted == [LIMIT, 0]
    assert cluster.ask("POST", f"/v1/accounts/{account}/rebuild")["differences"] == []


def started(cluster: Cluster, folder: Path, account: str) -> "subprocess.Popen[bytes]":
    spec = LeaseSpec(cluster.server_urls, cluster.admin_key, account, "calls", str(folder / uuid.uuid4().hex))
    command = [sys.executable, "-m", "proof.leasing", msgspec.json.encode(spec).decode()]
    return subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, env=os.environ)


def consumed(cluster: Cluster, account: str, quantity: int) -> Any:
    """The decision on a use of so much."""
    body = {"account": account, "feature": "calls", "quantity": quantity, "id": uuid.uuid4().hex}
    return cluster.ask("POST", "/v1/consume", json=body)["decision"]
