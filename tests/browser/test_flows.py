"""The longest ways through the console, by somebody who has no mouse."""

from collections.abc import Iterator

import pytest

from support.chromium import launched, needed
from support.console_stock import ACCOUNT, fill
from support.looking import HEIGHT, Looked, expect, person
from support.stack import House
from support.stack import house as empty_house

pytestmark = needed


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with empty_house(postgres_url) as its:
        fill(its)
        yield its


@pytest.fixture
def its(house: House) -> Iterator[Looked]:
    with launched() as chromium:
        yield Looked(chromium.new_context(viewport={"width": 1440, "height": HEIGHT}))


def log_in(its: Looked, house: House, *, leads_to: str) -> None:
    somebody = person(house.api, "admin")
    its.page.goto(f"{house.api.url}/console/login?next={leads_to}")
    its.write("#f-email", somebody["email"])
    its.write("#f-password", somebody["password"])
    its.press("Enter", leads_to=f"^[^?]*{leads_to}$")


def test_from_the_log_in_to_an_account_and_an_override_of_it(house: House, its: Looked) -> None:
    log_in(its, house, leads_to="/console/accounts")
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


def test_from_a_draft_of_the_catalog_to_its_publication(house: House, its: Looked) -> None:
    log_in(its, house, leads_to="/console/plans")
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
    assert house.api.ok("GET", "/v1/catalog")["version"] == 3
    its.close()
