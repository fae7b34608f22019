"""Every screen of the console in Debian's Chromium: each role, light and dark, phone and desk, empty and full.
`make browser` installs what looks; where there is no Chromium, this says so and passes over.

Laws: axe finds nothing; the browser has nothing to say, of policies neither; nothing stands beside the screen; who has
no mouse comes from the log-in to an override.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from paygrade.server.http.console.routes import screens
from paygrade.server.operations import people
from paygrade.server.process.settings import Settings
from support.console_stock import ACCOUNT, FEATURE, fill, names
from support.databases import migrated_database
from support.server_process import Api, serving
from support.stack import house

FOLDER = Path(__file__).parent
PYTHON = Path(".venv-browser/bin/python")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
SHORT = bool(os.environ.get("SHORT"))
SHOTS = os.environ.get("SHOTS")
"""A folder for what the pages look like."""
ONLY = os.environ.get("ONLY", "")
"""Addresses with one of these in them alone, with commas between."""
LASTS_S = 3600

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(not PYTHON.exists(), reason="`make browser` installs Playwright first"),
]


def paths(named: dict[str, str]) -> list[str]:
    """Every address that shows a page, and views of some that stand behind a `?`."""
    found = []
    for handler in screens():
        if "GET" not in handler.http_methods:
            continue
        for path in handler.paths:
            needed = re.findall(r"{(\w+)(?::\w+)?}", path)
            if all(name in named for name in needed) and "." not in path and not path.endswith("/tail"):
                found.append(re.sub(r"{(\w+)(?::\w+)?}", lambda m: named[m[1]], path))
    found += [
        "/console/plans?kind=add-ons", "/console/plans?version=2&against=1", "/console/plans/versions?old=1&new=2",
        f"/console/accounts/{ACCOUNT}/credits/ai_credits", f"/console/accounts/{ACCOUNT}/compare?every=yes",
        "/console/features/ai_credits", "/console/sync/events?id=evt_nothing", "/console/approvals?state=all",
        f"/console/sync/reports?account={ACCOUNT}",
        "/console/plan-changes?view=to_come", "/console/plan-changes?view=applied", "/console/sync?every=true",
        f"/console/usage?account={ACCOUNT}", f"/console/usage?account={ACCOUNT}&feature={FEATURE}&by=member",
        f"/console/audit?account={ACCOUNT}", "/console/nothing/here", "/console/login", "/console/password",
    ]  # fmt: skip
    return [path for path in dict.fromkeys(found) if any(part in path for part in ONLY.split(","))]


@pytest.fixture(autouse=True)
def no_limit_of_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "ATTEMPTS_A_MINUTE", 10_000)


@pytest.fixture
def everywhere(postgres_url: str) -> Iterator[tuple[Api, str, dict[str, str]]]:
    """A server with something of everything, by the simulator as its provider."""
    with house(postgres_url) as its:
        fill(its)
        yield its.api, "full", names(its.api)


def test_screens_with_something_of_everything(everywhere: tuple[Api, str, dict[str, str]]) -> None:
    api, state, named = everywhere
    look(api, state, paths(named), account=ACCOUNT)


@pytest.mark.skipif(SHORT, reason="the short form looks at what is full alone")
def test_screens_with_nothing_in_them(postgres_url: str) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(migrated_database(postgres_url))
        api = stack.enter_context(serving(Settings(sweep_every=None), url, catalog=False))
        look(api, "empty", [path for path in paths({}) if "account=" not in path], account=None)


def look(api: Api, state: str, addresses: list[str], *, account: str | None) -> None:
    """Fails with whatever is wrong."""
    people_ = [_person(api, role) for role in (("admin",) if SHORT else ("viewer", "admin"))]
    asked = {
        "base": api.url,
        "people": people_,
        "paths": addresses,
        "widths": [1440, 375],
        "themes": ["light", "dark"],
        "short": SHORT,
        "state": state,
        "axe": str(AXE) if AXE.exists() else None,
        "chromium": CHROMIUM,
        "shots": SHOTS,
        "account": account,
    }
    if SHOTS:
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(
        [str(PYTHON), str(FOLDER / "walk.py")],
        input=json.dumps(asked), capture_output=True, text=True, timeout=timedelta(seconds=LASTS_S).total_seconds(),
    )  # fmt: skip
    told = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr
    assert told[-1]["looked"] >= len(addresses)
    wrong = [f"{each['kind']}: {each['where']}: {each['detail']}" for each in told[:-1]]
    assert not wrong, "\n".join([f"{len(wrong)} findings", *wrong[:60]])


def _person(api: Api, role: str) -> dict[str, Any]:
    """Any: JSON."""
    email = f"{role}@example.com"
    made = api.ok("POST", "/v1/people", json={"email": email, "name": role.title(), "role": role})
    return {"role": role, "email": email, "password": made["password"]}
