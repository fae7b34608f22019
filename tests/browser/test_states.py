"""What people see while something is under way, and when it fails: a slow network, and a database that is gone."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from support.chromium import needed
from support.console_stock import ACCOUNT
from support.looking import SHORT, Looked, expect, signed_in
from support.stack import House
from support.waiting import eventually

pytestmark = needed

SLOW = {"offline": False, "latency": 300, "downloadThroughput": 50_000, "uploadThroughput": 20_000}
"""A phone in a train, in bytes a second."""


def portal(stocked: House) -> str:
    url: str = stocked.api.ok("POST", f"/v1/accounts/{ACCOUNT}/portal-sessions", json={"member": "ann"})["url"]
    return url


def test_a_page_is_there_before_its_script_and_is_small_on_a_slow_network(stocked: House, chromium: Any) -> None:
    its = signed_in(chromium, stocked.api, "admin")
    network = its.page.context.new_cdp_session(its.page)
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", SLOW)
    network.send("Network.clearBrowserCache")
    sizes: list[int] = []
    network.on("Network.loadingFinished", lambda told: sizes.append(told["encodedDataLength"]))
    its.page.goto(f"{stocked.api.url}/console", wait_until="load")
    assert sum(sizes) < 60_000, sizes
    sizes.clear()
    its.page.goto(f"{stocked.api.url}/console/accounts", wait_until="load")
    assert sum(sizes) < 20_000, "style and script are not sent again"
    # Its script never comes: everything can be read, and forms can be sent.
    waiting: list[Any] = []
    its.page.route("**/console.js", lambda route: waiting.append(route))
    its.page.goto(f"{stocked.api.url}/console", wait_until="commit")
    its.page.get_by_role("searchbox").fill(ACCOUNT)
    its.page.keyboard.press("Enter")
    expect(its.page).to_have_url(re.compile(f"/accounts/{ACCOUNT}$"))
    assert waiting
    its.close()


def test_a_form_says_that_it_is_on_its_way_and_is_sent_once(stocked: House, chromium: Any) -> None:
    its = signed_in(chromium, stocked.api, "admin")
    its.page.goto(f"{stocked.api.url}/console/sync")
    sent: list[Any] = []

    def answer(route: Any) -> None:
        sent.append(route.request)
        route.fulfill(status=204)  # with which a browser stays where it is

    its.page.route("**/console/sync/sweep", answer)
    button = its.page.get_by_role("button", name="Dry run")
    button.click()
    expect(button).to_have_attribute("aria-busy", "true")
    button.click()
    its.look("a form on its way")
    assert len(sent) == 1
    its.close()


@contextmanager
def database_gone(stocked: House, postgres_url: str) -> Iterator[None]:
    """Everything that the server has open ends, and nothing new is let in."""
    name = psycopg.conninfo.conninfo_to_dict(stocked.database_url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'alter database "{name}" allow_connections false')
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        try:
            yield
        finally:
            admin.execute(f'alter database "{name}" allow_connections true')


def test_pages_say_that_the_database_is_gone_and_come_back(stocked: House, chromium: Any, postgres_url: str) -> None:
    its, customer = signed_in(chromium, stocked.api, "admin"), Looked(chromium.new_context())
    link = portal(stocked)
    addresses = ["/console", "/console/accounts", f"/console/accounts/{ACCOUNT}", "/console/sync"]
    with database_gone(stocked, postgres_url):
        for path in addresses[:2] if SHORT else addresses:
            answer = its.page.goto(f"{stocked.api.url}{path}")
            assert answer.status == 503, path
            assert answer.headers["retry-after"]
            expect(its.page.locator("h1")).to_be_visible()
            its.look_everywhere(f"database gone, {path}")
        assert customer.page.goto(link).status == 503
        expect(customer.page.locator("h1")).to_have_text("That did not work")
        customer.look_everywhere("database gone, portal")
    eventually(lambda: its.page.goto(f"{stocked.api.url}/console").status == 200)
    eventually(lambda: customer.page.goto(link).status == 200)
    its.close()
    customer.close()
