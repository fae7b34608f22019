"""What a support person, somebody in finance, an owner and a developer come for, done by what stands on the pages.

Laws: nothing is found but by the words that everybody reads or hears; the steps are those that docs/console.md names.
"""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paygrade.cli.demo_run import KEY, House
from support.chromium import needed
from support.looking import HEIGHT, SHORT, Looked, expect, person
from support.server_process import Api
from support.waiting import eventually

pytestmark = [needed, pytest.mark.skipif(SHORT, reason="the short form does no whole tasks")]

TOLD = Path("docs/console.md").read_text(encoding="utf-8")
STEPS = re.compile(r"^\| (\w+) \| .* \| (\d+) \| (\d+) \|$", re.MULTILINE)


class Stranger:
    """Somebody who sees the console for the first time, and what it takes them: `pages` after the log-in, `presses` of
    buttons and links."""

    def __init__(self, browser: Any, api: Api, role: str) -> None:
        """Any: Playwright's browser."""
        self.its = Looked(browser.new_context(viewport={"width": 1440, "height": HEIGHT}))
        self.page, self.pages, self.presses = self.its.page, 0, 0
        somebody = person(api, role)
        self.page.goto(f"{api.url}/console")
        self.write("Email", somebody["email"])
        self.write("Password", somebody["password"])
        self.press("button", "Sign in")
        self.sees("button", "Sign out")
        self.pages = self.presses = 0
        self.page.on("domcontentloaded", self._goes)

    def press(self, role: str, name: str | re.Pattern[str]) -> None:
        self.presses += 1
        self.page.get_by_role(role, name=name, exact=isinstance(name, str)).first.click()

    def write(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).fill(text)

    def choose(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).select_option(label=text)

    def sees(self, role: str, name: str | re.Pattern[str]) -> None:
        expect(self.page.get_by_role(role, name=name).first).to_be_visible()

    def reads(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible()

    def is_done(self, who: str) -> None:
        """In as many steps as the docs say."""
        self.page.wait_for_load_state()
        told = {one[1]: (int(one[2]), int(one[3])) for one in STEPS.finditer(TOLD)}
        assert (self.pages, self.presses) == told[who]
        self.its.close()

    def _goes(self, _page: Any) -> None:
        self.pages += 1


@pytest.fixture
def api(kestrel: House) -> Any:
    """Any: what a generator of fixtures gives."""
    with Api(kestrel.api_url, KEY) as its:
        yield its


def test_support_finds_why_it_was_denied_and_gives_more(api: Api, chromium: Any) -> None:
    api.ok("PUT", "/v1/accounts/tern", json={"name": "Tern & Daughters"})
    for number, quantity in enumerate((1_000, 20)):
        use = {"account": "tern", "feature": "api_calls", "quantity": quantity, "id": f"tern-{number}"}
        api.ok("POST", "/v1/consume", json=use)
    eventually(lambda: api.ok("GET", "/v1/accounts/tern/decision-log")["decisions"])
    its = Stranger(chromium, api, "support")
    its.page.get_by_role("searchbox", name="Search accounts").fill("Tern")
    its.page.keyboard.press("Enter")
    its.press("link", "Tern & Daughters")
    its.sees("heading", "Tern & Daughters")
    its.press("link", "Logged decisions")
    its.reads("Today, 15:20")
    its.press("link", re.compile("Denied"))
    its.reads(re.compile("1,000"))
    its.press("link", "Override api calls")
    its.choose("Does", "adds")
    its.write("Units or value", "100")
    its.write("Reason", "their migration ends this week")
    its.write("Ends (UTC)", "2026-12-11T18:00")
    its.press("button", "Preview")
    its.sees("heading", "What it leads to")
    its.press("button", "Add override: api calls")
    its.sees("heading", "Tern & Daughters")
    its.reads("their migration ends this week")
    told = api.ok("POST", "/v1/check", json={"account": "tern", "feature": "api_calls"})
    assert (told["allowed"], told["limit"]) == (True, 1_100)
    its.is_done("support")


def test_finance_reads_the_month_and_who_does_not_pay(api: Api, chromium: Any) -> None:
    its = Stranger(chromium, api, "finance")
    its.press("link", "Reports")
    month = its.page.get_by_role("region", name="Revenue by month").get_by_role("row").filter(has_text="2026-11")
    expect(month).to_contain_text("$")
    with its.page.expect_download() as revenue:
        its.press("link", "CSV")
    assert "recognized" in Path(revenue.value.path()).read_text().splitlines()[0]
    its.press("link", "Access without payment")
    its.sees("heading", "Access without payment")
    its.sees("link", "hooli")
    with its.page.expect_download() as leakage:
        its.press("link", "CSV")
    assert "hooli" in Path(leakage.value.path()).read_text()
    its.is_done("finance")


def test_an_owner_changes_a_limit_and_sees_whom_it_touches(api: Api, chromium: Any) -> None:
    its = Stranger(chromium, api, "admin")
    its.press("link", "Plans")
    its.press("link", "Edit as YAML")
    text = its.page.get_by_label("Catalog").input_value()
    changed, times = re.subn(r"limit: 10000\b", "limit: 12000", text)
    assert times == 1, text
    its.write("Catalog", changed)
    its.press("button", "Preview")
    its.sees("heading", "Whom it touches")
    its.reads("gains")
    its.write("Reason", "Starter gets more calls")
    its.press("button", re.compile("^Publish catalog"))
    its.sees("heading", "Plans")
    its.reads("12,000")
    its.is_done("owner")


def test_a_developer_makes_a_key_tries_it_and_finds_what_it_asked(api: Api, chromium: Any) -> None:
    asked = Stranger(chromium, api, "developer")
    asked.press("link", "Developers")
    asked.reads("ask an admin for one")
    asked.its.close()
    its = Stranger(chromium, api, "admin")
    its.press("link", "Developers")
    its.press("link", "Create key")
    its.write("Name", "My server")
    its.page.get_by_role("checkbox", name=re.compile("^decisions:read")).check()
    its.press("button", "Create key")
    command = its.page.get_by_label("A request with this key").inner_text()
    assert _as_curl_does(command)["allowed"], "as it stands"
    denied = _as_curl_does(command.replace('"api_calls"', '"seats", "quantity": 100000'))
    assert not denied["allowed"]
    eventually(lambda: api.ok("GET", f"/v1/accounts/{denied['account']}/decision-log")["decisions"])
    its.reads("This server logs denials alone.")
    its.press("link", "Decisions")
    its.reads("100,000 seats")
    its.is_done("developer")


def _as_curl_does(command: str) -> Any:
    """Send what the command says, on a machine that may have no curl. Any: JSON."""
    words = shlex.split(command.replace("\\\n", " "))
    options = [(name, value) for name, value in pairwise(words) if name in ("-H", "-d")]
    headers = dict(value.split(": ", 1) for name, value in options if name == "-H")
    [body] = [value for name, value in options if name == "-d"]
    answer = httpx2.post(words[2], headers=headers, content=body, trust_env=False)
    assert answer.is_success, answer.text
    return answer.json()
