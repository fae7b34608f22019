"""Foreign clients of Stripe, unmodified, take the simulator for Stripe: `make judges` installs them.

dj-stripe (with the official library for Python) takes every webhook and syncs every model; the official library for
Node goes through a shop's life, which @supabase/stripe-sync-engine follows into PostgreSQL and back-fills; billing-e2e
plays its own scenarios by test clocks; better-auth sells by @better-auth/stripe.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import conninfo

from paygrade.simulator.http.serve import running

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "stripe_clients"
BETTER_AUTH = FOLDER.with_name("better_auth")
NODE = shutil.which("node")
DJSTRIPE = ROOT / ".venv-djstripe" / "bin" / "python"
SCENARIOS = ROOT / ".venv-judges" / "bin" / "billing-e2e"
KEY = "sk_test_simulatorsimulatorsimulator"  # dj-stripe takes no shorter ones
WAIT_S = 600

# What the account has none of, or that asks another server: no word about the simulator.
ELSEWHERE = (
    "AccountV2",  # its client is told of no address but Stripe's own
    "ActiveEntitlement",  # listed without a customer, which Stripe demands
    "TaxId",  # listed with a parameter `id`, which Stripe doesn't document
    "model/key sync(s) failed",
)


def judged(*command: str) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.skipif(not DJSTRIPE.exists(), reason="`make judges` installs dj-stripe first")
def test_djstripe_takes_every_webhook_and_syncs_every_model(tmp_path: Path) -> None:
    with running(key=KEY) as simulator:
        told = judged(str(DJSTRIPE), str(FOLDER / "django_shop.py"), simulator.url, KEY, str(tmp_path))
    said = [one for one in told["failed"] if not any(word in str(one) for word in ELSEWHERE)]
    assert said == []
    assert told["webhooks"] > 100
    assert told["subscriptions"] == ["active", "canceled", "canceled"]
    assert told["counts"]["Invoice"] > 5


@pytest.mark.skipif(not SCENARIOS.exists(), reason="`make judges` installs billing-e2e first")
def test_the_scenarios_of_billing_e2e_pass(tmp_path: Path) -> None:
    with running(key=KEY) as simulator:
        played = [str(SCENARIOS.with_name("python")), str(FOLDER / "scenarios.py"), simulator.url, KEY, str(tmp_path)]
        done = subprocess.run(played, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = (tmp_path / "report.xml").read_text()
    assert len(re.findall("<testcase ", report)) == 5
    assert "<failure" not in report


@pytest.mark.skipif(NODE is None, reason="Node is not installed: what is for JavaScript is left out")
@pytest.mark.skipif(not (FOLDER / "node_modules").is_dir(), reason="`make judges` installs the clients first")
def test_the_library_for_node_sells_and_the_sync_engine_follows(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        found = connection.execute("select 1 from pg_roles where rolname = 'postgres'").fetchone()
        if not found:  # the engine's migrations grant things to Supabase's own role
            connection.execute("create role postgres")
    with running(key=KEY) as simulator:
        told = judged(str(NODE), str(FOLDER / "shop.mjs"), simulator.url, KEY, _as_url(empty_database_url))
    assert told["failed"] == []
    assert told["taken"] > 50
    assert told["counts"]["invoices"] >= 4
    assert told["backfill"]["subscriptions"]["synced"] == 2
    assert told["version"].startswith("23.")


@pytest.mark.skipif(NODE is None, reason="Node is not installed: what is for JavaScript is left out")
@pytest.mark.skipif(not (BETTER_AUTH / "node_modules").is_dir(), reason="`make judges` installs better-auth first")
def test_better_auth_signs_up_sells_upgrades_and_cancels() -> None:
    with running(key=KEY) as simulator:
        told = judged(str(NODE), str(BETTER_AUTH / "shop.mjs"), simulator.url, KEY)
    assert (told["failed"], told["refused"]) == ([], [])
    assert told["taken"] > 50
    # What better-auth's own table holds after each step: plan, status, whether it is about to end.
    assert told["told"] == [
        ["bought", ["starter", "trialing", False]],
        ["came back", ["starter", "trialing", False]],
        ["trial over", ["starter", "active", False]],
        ["upgraded", ["pro", "active", False]],
        ["canceling", ["pro", "active", True]],
        ["restored", ["pro", "active", False]],
        ["smaller later", ["pro", "active", False]],
        ["smaller", ["starter", "active", False]],
        ["released", ["starter", "active", False]],
        ["ended", ["starter", "canceled", True]],
    ]
    assert told["listed"] == 0


def _as_url(database: str) -> str:
    """Write what connects psycopg as Node's driver reads it."""
    parts = conninfo.conninfo_to_dict(database)
    login = quote(str(parts.get("user", "postgres")), safe="")
    if parts.get("password"):
        login += f":{quote(str(parts['password']), safe='')}"
    host, port = str(parts.get("host", "127.0.0.1")), parts.get("port", 5432)
    if host.startswith("/"):
        return f"postgresql://{login}@localhost:{port}/{parts['dbname']}?host={quote(host, safe='')}"
    return f"postgresql://{login}@{host}:{port}/{parts['dbname']}"
