"""The longest ways through the console, by somebody who has no mouse."""

from typing import Any

import pytest

from support.chromium import needed
from support.console_stock import ACCOUNT
from support.looking import HEIGHT, Looked, expect, person
from support.stack import House

pytestmark = needed


@pytest.fixture
def its(chromium: Any) -> Looked:
    """Any: Playwright's browser."""
    return Looked(chromium.new_context(viewport={"width": 1440, "height": HEIGHT}))


def log_in(its: Looked, stocked: House, *, leads_to: str) -> None:
    somebody = person(stocked.api, "admin")
    its.page.goto(f"{stocked.api.url}/console/login?next={leads_to}")
    its.write("#f-email", somebody["email"])
    its.write("#f-password", somebody["password"])
    its.press("Enter", leads_to=f"^[^?]*{leads_to}$")


def test_from_the_log_in_to_an_account_and_an_override_of_it(stocked: House, its: Looked) -> None:
    log_in(its, stocked, leads_to="/console/accounts")
    its.page.keyboard.press("/")
    its.page.keyboard.type(ACCOUNT)
    its.press("Enter", leads_to=r"^[^?]*/console/accounts(\?q=|/)")
    if f"/accounts/{ACCOUNT}" not in its.page.url:
        its.tab_to(f'main a[href="/console/accounts/{ACCOUNT}"]')
        its.press("Enter", leads_to=f"/accounts/{ACCOUNT}$")
    its.tab_to(f'main a[href*="/accounts/{ACCOUNT}/override"]')
    its.press("Enter", leads_to="/override")
    for name, text in (("feature", "audit"), ("does", "turns"), ("reason", "by keyboard")):
        its.tab_to(f'main [name="{name}"]')
        its.page.keyboard.type(text)
    its.tab_to("main form.panel button")
    its.press("Enter", leads_to="preview=yes")
    its.tab_to('main form[method="post"] button')
    its.press("Enter", leads_to=f"/accounts/{ACCOUNT}([?#]|$)")
    expect(its.page.locator("main")).to_contain_text("by keyboard")
    its.close()


def test_from_a_draft_of_the_catalog_to_its_publication(stocked: House, its: Looked) -> None:
    log_in(its, stocked, leads_to="/console/plans")
    its.tab_to('main a[href="/console/plans/draft"]')
    its.press("Enter", leads_to="/plans/draft$")
    text = its.page.input_value("#f-yaml")
    its.write("#f-yaml", text.replace("retention: 400", "retention: 500"))
    assert its.page.input_value("#f-yaml") != text
    its.tab_to('main [name="do"][value="preview"]')
    its.press("Enter", leads_to="/plans/draft$")
    expect(its.page.locator("main")).to_contain_text("What differs")
    its.write('main [name="reason"]', "more calls for everybody")
    its.tab_to('main [name="do"][value="publish"]')
    its.press("Enter", leads_to=r"/console/plans\?.*version=3")
    assert stocked.api.ok("GET", "/v1/catalog")["version"] == 3
    its.close()
