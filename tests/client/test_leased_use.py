"""Uses decided in the caller's own process, exact over any number of them: real processes, some of them killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paygrade import Paygrade
from support.server_process import KEY, Api

USER = """
import os, sys
from paygrade import Paygrade
account, path = sys.argv[1:]
sdk, told = Paygrade(timeout_s=20), os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sdk.check(account, "api_calls")
denied = 0
while denied < 3:
    # What is allowed is written down as soon as it is known: a kill in between loses one, at most.
    if sdk.consume(account, "api_calls"):
        os.write(told, b".")
        denied = 0
    else:
        denied += 1
sdk.close()
"""


def asked(api: Api, route: str) -> float:
    """How many requests this route has answered."""
    pattern = rf'^paygrade_http_requests_total{{method="POST",route="{route}",status="200"}} ([\d.]+)'
    found = re.search(pattern, api.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_what_is_used_often_is_used_here_and_counted_there(api: Api, acme: str) -> None:
    with Paygrade(api.url, KEY, timeout_s=10) as sdk:
        sdk.check(acme, "api_calls")
        before = asked(api, "/v1/consume")
        allowed = [bool(sdk.consume(acme, "api_calls")) for _ in range(600)]
        assert all(allowed)
        assert asked(api, "/v1/consume") - before < 100
    # What was leased and not used has gone back with the end of it.
    assert api.check(acme, "api_calls")["used"] == 600
    assert api.check(acme, "api_calls")["reserved"] == 0


def test_the_last_units_go_to_whoever_asks_for_them(api: Api, acme: str) -> None:
    with Paygrade(api.url, KEY, timeout_s=10) as one, Paygrade(api.url, KEY, timeout_s=10) as other:
        for sdk in (one, other):
            sdk.check(acme, "api_calls")
        used = 0
        while took := sum(bool(sdk.consume(acme, "api_calls")) for sdk in (one, other)):
            used += took
        denied = one.consume(acme, "api_calls")
        assert (denied.allowed, denied.reason) == (False, "limit_reached")
        assert used <= 1000
    left = 1000 - used
    with Paygrade(api.url, KEY, timeout_s=10) as last:
        assert sum(bool(last.consume(acme, "api_calls")) for _ in range(left + 1)) == left


def test_a_block_is_heeded_whatever_is_leased(api: Api, acme: str) -> None:
    with Paygrade(api.url, KEY, timeout_s=10) as sdk:
        sdk.check(acme, "api_calls")
        assert all(sdk.consume(acme, "api_calls") for _ in range(50))
        api.ok("PUT", f"/v1/accounts/{acme}/blocks/fraud", json={"reason": "a test"})
        give_up_at = time.monotonic() + 20
        while sdk.consume(acme, "api_calls"):
            assert time.monotonic() < give_up_at


@pytest.mark.parametrize("kills", [False, True])
def test_processes_that_share_a_limit_never_use_more_together(api: Api, acme: str, tmp_path: Path, kills: bool) -> None:
    told = tmp_path / "told"
    environ = {**os.environ, "PAYGRADE_URL": api.url, "PAYGRADE_API_KEY": KEY}
    users = [subprocess.Popen([sys.executable, "-c", USER, acme, str(told)], env=environ) for _ in range(4)]
    chosen = random.Random(7)
    if kills:
        while not told.exists() or told.stat().st_size < 100:
            time.sleep(0.005)
        for user in users[:3]:
            time.sleep(chosen.random() / 20)
            user.send_signal(signal.SIGKILL)
    for user in users:
        user.wait(timeout=60)
    allowed, counted = told.stat().st_size, api.check(acme, "api_calls")
    assert allowed <= 1000
    # Nothing that was allowed is missing from what is counted.
    assert counted["used"] >= allowed
    if not kills:
        with Paygrade(api.url, KEY, timeout_s=10) as last:
            assert sum(bool(last.consume(acme, "api_calls")) for _ in range(1001 - allowed)) == 1000 - allowed
