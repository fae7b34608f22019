"""The customers' pages in Chromium: with scripts and without, wide and narrow, light and dark."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.chromium import needed, playwright
from support.looking import HEIGHT, SHORT, Looked, expect
from support.stack import House
from support.stack import house as empty_house
from support.waiting import eventually

pytestmark = needed


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with empty_house(postgres_url) as made:
        for account in ("acme", "birch"):
            made.shop.welcome(account, account.title())
            made.shop.subscribe(account, "pro_monthly", quantity=3)
            made.api.eventually(account, "exports", allowed=True)
            people = [{"member": name, "role": "owner", "seat": True} for name in ("ann", "bill", "cy")]
            made.api.ok("PUT", f"/v1/accounts/{account}/members", json=people)
        yield made


LOOKS = [(1440, "light", True), (375, "dark", False), (1440, "light", False), (375, "dark", True)]


@pytest.mark.parametrize(("width", "scheme", "scripts"), LOOKS[:2] if SHORT else LOOKS)
def test_a_change_is_looked_at_confirmed_and_taken_back(
    house: House, chromium: Any, scripts: bool, width: int, scheme: str
) -> None:
    url = house.api.ok("POST", "/v1/accounts/acme/portal-sessions", json={"member": "ann"})["url"]
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
    )
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: asked.append(request))
    page.goto(url)
    card = page.locator(".plans > li").nth(1)
    card.get_by_label("Number of seats").fill("1")
    card.get_by_role("button", name="Update Pro").click()
    playwright.expect(page.locator("h1")).to_contain_text("Change Pro on")
    if scripts:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("ann").uncheck()
    page.get_by_label("cy").check()
    page.get_by_label("I know that 2 people lose their seats.").check()
    page.get_by_role("button", name="Confirm for").click()
    _until_it_begins(page)
    page.get_by_role("button", name="Take the change back").click()
    playwright.expect(page.get_by_text("Done.")).to_be_visible()
    page.get_by_role("button", name="Payment and invoices").click()
    page.wait_for_url(f"{house.provider.url}/**")
    left = [request for request in asked if request.url.startswith(house.provider.url)]
    assert left
    assert all("/portal/" not in request.all_headers().get("referer", "") for request in left)
    assert said == []
    context.close()


def test_every_page_of_customers_is_for_everybody(house: House, chromium: Any) -> None:
    """What the console's pages are held to, holds for these."""
    its = Looked(chromium.new_context(reduced_motion="reduce"))
    page = its.page

    def opened(account: str, **more: str) -> None:
        asked = {"member": "ann", **more}
        page.goto(house.api.ok("POST", f"/v1/accounts/{account}/portal-sessions", json=asked)["url"])

    house.api.ok("PUT", "/v1/accounts/nobody", json={})
    opened("nobody")
    its.look_everywhere("portal, nothing bought")
    house.api.ok("POST", "/v1/consume", json={"account": "acme", "feature": "api_calls", "quantity": 90_000, "id": "1"})
    opened("acme", language="de")
    its.look_everywhere("portal, in German")
    opened("acme")
    its.look_everywhere("portal")
    page.locator(".plans > li").nth(1).get_by_label("Number of seats").fill("1")
    page.get_by_role("button", name="Update Pro").click()
    expect(page.get_by_role("heading", name="Choose who keeps a seat")).to_be_visible()
    its.look_everywhere("portal, who stays")
    page.go_back()
    page.get_by_role("button", name="Go to Business").click()
    expect(page.locator("h1")).to_contain_text("Go to Business now?")
    its.look_everywhere("portal, an upgrade")
    page.go_back()
    page.get_by_role("button", name="Cancel the plan").click()
    expect(page.locator("h1")).to_contain_text("Cancel Pro")
    its.look_everywhere("portal, cancelling")
    page.goto(f"{house.api.url}/portal/portal_ended")
    expect(page.locator("h1")).to_have_text("This link has ended")
    its.look_everywhere("portal, a link that has ended")
    house.control("weather", {"error": 1})
    opened("acme")
    expect(page.get_by_text("Invoices can't be loaded right now.")).to_be_visible()
    its.look_everywhere("portal, invoices away")
    page.get_by_role("button", name="Payment and invoices").click()
    expect(page.get_by_role("alert")).to_contain_text("The payment page can't be reached right now.")
    its.look_everywhere("portal, payment page away")
    house.control("weather", {})
    its.close()


def test_who_stays_is_chosen_without_a_mouse(house: House, chromium: Any) -> None:
    its = Looked(chromium.new_context(viewport={"width": 1440, "height": HEIGHT}))
    its.page.goto(house.api.ok("POST", "/v1/accounts/birch/portal-sessions", json={"member": "ann"})["url"])
    its.tab_to(".plans > li:nth-child(2) input[type=number]")
    its.page.keyboard.press("ControlOrMeta+a")
    its.page.keyboard.type("2")
    its.press("Enter", leads_to="/change/")
    its.tab_to('input[name="seat"][value="ann"]')
    its.page.keyboard.press("Space")
    its.tab_to('input[name="seat"][value="cy"]')
    its.page.keyboard.press("Space")
    its.tab_to('input[name="understood"]')
    its.page.keyboard.press("Space")
    its.tab_to("main form.split button")
    its.press("Enter", leads_to="done=1")
    _until_it_begins(its.page)
    changes = house.api.ok("GET", "/v1/accounts/birch/plan-changes")["changes"]
    assert [each["members"] for each in changes[0]["quoted"]["violations"] if each["kind"] == "members"] == [["ann"]]
    its.tab_to("form[action$='/undo'] button")
    its.press("Enter", leads_to="done=1")
    its.close()


def _until_it_begins(page: Any) -> None:
    """Whoever is told that the change is being made looks again in a moment. Any: Playwright's page."""
    begins = page.get_by_text("Pro begins on")
    eventually(lambda: begins.is_visible() or (page.reload() and begins.is_visible()))
    expect(begins).to_be_visible()
