"""Never over a hard limit by decisions of its clients either: processes that lease units and are killed at random."""

import os
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from proof.fold import Folded, read_ledger
from proof.leasing import CLAIM_MAX, LeaseSpec
from proof.test_proof import RUNS
from support.cluster import Cluster, eventually, killed

pytestmark = pytest.mark.xdist_group("proof")

AT_ONCE, KILLS = 4, 6 if RUNS else 4
LIMIT = 1_600


def test_processes_that_decide_by_themselves_and_are_killed_never_use_more_than_the_limit(
    cluster: Cluster, tmp_path: Path
) -> None:
    account = f"leased-{uuid.uuid4().hex[:12]}"
    cluster.ask("PUT", f"/v1/accounts/{account}", json={})
    cluster.ask("PUT", f"/v1/accounts/{account}/overrides/calls", json={"limit": LIMIT, "reason": "as agreed"})
    running = [started(cluster, tmp_path, account) for _ in range(AT_ONCE)]
    for number in range(1, KILLS + 1):
        eventually("units to be used", partial(fewer_allowed, tmp_path, number * LIMIT // (KILLS * 2)))
        which = cluster.rng.randrange(AT_ONCE)
        killed(running[which])
        running[which] = started(cluster, tmp_path, account)
        if number == KILLS // 2:
            cluster.cut_connections()
    # They end when nothing is left, and nobody holds anything that could come back.
    assert [process.wait() for process in running] == [0] * AT_ONCE, cluster.log_tail()
    used = consumed(cluster, account, 0)
    assert (used["used"], used["reserved"]) == (LIMIT, 0)
    assert LIMIT - KILLS * CLAIM_MAX <= allowed(tmp_path) <= LIMIT, "only what the dead had claimed is lost"
    assert not consumed(cluster, account, 1)["allowed"]
    with psycopg.connect(cluster.database_url) as connection:
        (counted,) = Folded(read_ledger(connection, [account])).counts.values()
    assert counted == [LIMIT, 0]
    assert cluster.ask("POST", f"/v1/accounts/{account}/rebuild")["differences"] == []


def allowed(folder: Path) -> int:
    """How many units all processes together have allowed, the dead ones too."""
    return sum(file.stat().st_size for file in folder.iterdir())


def fewer_allowed(folder: Path, units: int) -> bool:
    return allowed(folder) < units


def started(cluster: Cluster, folder: Path, account: str) -> "subprocess.Popen[bytes]":
    spec = LeaseSpec(cluster.server_urls, cluster.admin_key, account, "calls", str(folder / uuid.uuid4().hex))
    command = [sys.executable, "-m", "proof.leasing", msgspec.json.encode(spec).decode()]
    return subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, env=os.environ)


def consumed(cluster: Cluster, account: str, quantity: int) -> Any:
    """The decision on a use of so much."""
    body = {"account": account, "feature": "calls", "quantity": quantity, "id": uuid.uuid4().hex}
    return cluster.ask("POST", "/v1/consume", json=body)["decision"]
