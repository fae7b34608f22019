"""Every screen of the console in Debian's Chromium: each role, light and dark, phone and desk, empty and full.
`make browser` installs what looks; where there is no Chromium, this says so and passes over.
"""

import os
import re
from contextlib import ExitStack
from typing import Any

import pytest

from paygrade.server.http.console.routes import screens
from paygrade.server.process.settings import Settings
from support.chromium import needed
from support.console_stock import ACCOUNT, FEATURE, names
from support.databases import migrated_database
from support.looking import EVERY_LOOK, SHORT, WHOLE_LOOKS, signed_in
from support.server_process import Api, serving
from support.stack import House

pytestmark = needed

ONLY = os.environ.get("ONLY", "")
"""Addresses with one of these in them alone, with commas between."""
ROLES = ("admin",) if SHORT else ("admin", "finance", "viewer")


def paths(known: dict[str, str]) -> list[str]:
    """Every address that shows a page, and views of some that stand behind a `?`."""
    found, at = [], known.get("logged_at")
    for handler in screens():
        if "GET" not in handler.http_methods:
            continue
        for path in handler.paths:
            needed_ = re.findall(r"{(\w+)(?::\w+)?}", path)
            if all(name in known for name in needed_) and "." not in path and not path.endswith("/tail"):
                found.append(re.sub(r"{(\w+)(?::\w+)?}", lambda m: known[m[1]], path))
    found += [
        "/console/plans?kind=add-ons", "/console/plans?version=2&against=1", "/console/plans/versions?old=1&new=2",
        f"/console/accounts/{ACCOUNT}/credits/ai_credits", f"/console/accounts/{ACCOUNT}/compare?every=yes",
        f"/console/accounts/{ACCOUNT}/decisions", f"/console/accounts/{ACCOUNT}/decisions/{known.get('logged')}",
        f"/console/accounts/{ACCOUNT}/compare?first={at}&second={at}&second_by=now&every=yes",
        f"/console/accounts/{ACCOUNT}?by=now&as_of={at}&feature=audit_log&at={at}",
        "/console/features/ai_credits", "/console/sync/events?id=evt_nothing", "/console/approvals?state=all",
        f"/console/sync/reports?account={ACCOUNT}",
        "/console/plan-changes?view=to_come", "/console/plan-changes?view=applied", "/console/sync?every=true",
        f"/console/usage?account={ACCOUNT}", f"/console/usage?account={ACCOUNT}&feature={FEATURE}&by=member",
        f"/console/audit?account={ACCOUNT}", "/console/nothing/here", "/console/login", "/console/password",
    ]  # fmt: skip
    return [
        path for path in dict.fromkeys(found) if "None" not in path and any(part in path for part in ONLY.split(","))
    ]


@pytest.fixture(scope="module")
def seen() -> set[tuple[str, ...]]:
    """What axe was asked about, by whichever role came first."""
    return set()


@pytest.mark.parametrize("role", ROLES)
def test_screens_with_something_of_everything(
    stocked: House, chromium: Any, role: str, seen: set[tuple[str, ...]]
) -> None:
    walk(chromium, stocked.api, role, paths(names(stocked.api)), "full", seen)


@pytest.mark.skipif(SHORT, reason="the short form looks at what is full alone")
def test_screens_with_nothing_in_them(postgres_url: str, chromium: Any, seen: set[tuple[str, ...]]) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(migrated_database(postgres_url))
        api = stack.enter_context(serving(Settings(sweep_every=None), url, catalog=False))
        addresses = [path for path in paths({}) if "account=" not in path]
        for role in ROLES:
            walk(chromium, api, role, addresses, "empty", seen)


def walk(browser: Any, api: Api, role: str, addresses: list[str], state: str, seen: set[tuple[str, ...]]) -> None:
    """Every page. Roles differ in what is shown, not in how it looks: the first sees every width in every theme."""
    its = signed_in(browser, api, role, seen=seen)
    looks = EVERY_LOOK if role == ROLES[0] else WHOLE_LOOKS
    refused = False
    for path in addresses:
        its.where = f"{path}, {state}.{role}"
        answer = its.page.goto(f"{api.url}{path}", wait_until="load")
        if answer.status not in (200, 403, 404):
            its.tell(f"{answer.status}: {its.page.inner_text('main')[:300]}")
        if answer.status == 403 and refused:
            continue  # that a role does not open a page looks the same for all
        refused = refused or answer.status == 403
        its.look_everywhere(its.where, looks)
    assert its.looks >= min(len(addresses), len(EVERY_LOOK))
    its.close()
