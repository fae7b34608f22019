"""The customers' pages in Chromium: with scripts and without, wide and narrow, light and dark."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.chromium import launched, needed, playwright
from support.stack import House
from support.stack import house as empty_house

pytestmark = needed


@pytest.fixture(scope="module")
def house(postgres_url: str) -> Iterator[House]:
    with empty_house(postgres_url) as made:
        made.shop.welcome("acme", "Acme")
        made.shop.subscribe("acme", "pro_monthly", quantity=3)
        made.api.eventually("acme", "exports", allowed=True)
        people = [{"member": name, "role": "owner", "seat": True} for name in ("ann", "bill", "cy")]
        made.api.ok("PUT", "/v1/accounts/acme/members", json=people)
        yield made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Any: Playwright's browser."""
    with launched() as its:
        yield its


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (375, "dark")])
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
    playwright.expect(page.get_by_text("Pro begins on")).to_be_visible()
    page.get_by_role("button", name="Take the change back").click()
    playwright.expect(page.get_by_text("Done.")).to_be_visible()
    page.get_by_role("button", name="Payment and invoices").click()
    page.wait_for_url(f"{house.provider.url}/**")
    left = [request for request in asked if request.url.startswith(house.provider.url)]
    assert left
    assert all("/portal/" not in request.all_headers().get("referer", "") for request in left)
    assert said == []
    context.close()
