"""The custom elements in Chromium, in a page of another origin whose content security policy allows nothing inline."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from paygrade.server.http.portal.showing import cards
from paygrade.server.http.portal.wording import Words, texts_of
from paygrade.server.operations.own_pages.on_sale import OnSale
from paygrade.server.operations.own_pages.summary import AccountSummary
from paygrade.server.process.portal_settings import LANGUAGES, Language, PortalSettings
from support.chromium import needed, playwright
from support.looking import SHORT, Looked, expect
from support.server_process import Api

pytestmark = needed

BODY = """<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>Host</title>
<meta name="color-scheme" content="{scheme}">
<script type="module" src="{api}/embed/v1.js"></script><main><h1>Host</h1>
<paygrade-banner token-url="/token" for="limit"><a slot="action" href="/plans">See plans</a></paygrade-banner>
<paygrade-usage token-url="/token" features="api_calls" text-feature-api-calls="&lt;b&gt;Calls"></paygrade-usage>
<paygrade-credits token-url="/token"></paygrade-credits><paygrade-seats token-url="/token"></paygrade-seats>
<paygrade-gate token-url="/token" feature="exports"><button>Export</button>
<p slot="denied">Not yours</p></paygrade-gate>
<h2>Plans</h2>
<paygrade-pricing-table token="{key}" href="/buy?plan={{plan}}&amp;every={{interval}}"></paygrade-pricing-table>
<form><paygrade-plan-picker name="plan" token-url="/token"></paygrade-plan-picker></form></main>"""


class Host:
    """A page of somebody's product, and its backend, which hands out tokens."""

    def __init__(self, api: Api) -> None:
        self.api, self.account, self.lang, self.scheme, self.issued = api, "", "en", "normal", 0
        keys = {"name": "prices", "publishable": True, "scopes": ["plans:read"]}
        self.key = api.ok("POST", "/v1/keys", json=keys)["key"]

    def answer(self, path: str) -> tuple[str, str]:
        if path == "/token":
            self.issued += 1
            asked = {"scopes": ["summary:read"], "ttl_s": 60}
            return "application/json", self.api.post(f"/v1/accounts/{self.account}/tokens", json=asked).text
        return "text/html", BODY.format(api=self.api.url, lang=self.lang, scheme=self.scheme, key=self.key)

    @contextmanager
    def serving(self) -> Iterator[str]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, text = host.answer(self.path)
                self.send_response(200)
                self.send_header("content-type", kind)
                policy = (
                    f"default-src 'none'; script-src {host.api.url}; connect-src 'self' {host.api.url}; base-uri 'none'"
                )
                self.send_header("content-security-policy", policy)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_elements_show_what_there_is_and_change_with_it(api: Api, acme: str, chromium: Any) -> None:
    host = Host(api)
    host.account = acme
    api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 900, "id": acme})
    with host.serving() as address:
        page, said = chromium.new_page(), []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        see = playwright.expect
        see(page.locator("paygrade-usage")).to_contain_text("<b>Calls")  # a text, never markup
        see(page.locator("paygrade-usage")).to_contain_text("900 of 1,000")
        see(page.locator("paygrade-banner")).to_contain_text("Api calls: 90% are used.")
        see(page.locator("paygrade-credits")).to_contain_text("20 left")
        see(page.locator("paygrade-seats")).to_contain_text("0 of 1 taken")
        see(page.get_by_text("Not yours")).to_be_visible()
        see(page.get_by_role("button", name="Export")).to_be_hidden()
        table = page.locator("paygrade-pricing-table")
        see(table.get_by_role("link", name="Choose Pro")).to_have_attribute("href", "/buy?plan=pro&every=month")
        table.get_by_label("Yearly").check()
        see(table).to_contain_text("$990")
        see(table.get_by_role("link", name="Choose Pro")).to_have_attribute("href", "/buy?plan=pro&every=year")
        picker = page.locator("paygrade-plan-picker")
        picker.get_by_label("Business").check()
        assert page.evaluate("new FormData(document.querySelector('form')).get('plan')") == "business"
        assert host.issued <= 2, "all of them share one token"
        # Live: without asking, and without reloading.
        api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "test"})
        see(page.get_by_role("button", name="Export")).to_be_visible()
        api.ok("POST", "/v1/consume", json={"account": acme, "feature": "api_calls", "quantity": 100, "id": f"{acme}2"})
        see(page.locator("paygrade-banner")).to_contain_text("Api calls: all 1,000 are used.")
        assert said == [], "nothing goes against the page's policy, and nothing fails"
        host.lang = "de"
        page.reload()
        see(page.locator("paygrade-usage")).to_contain_text("1.000 von 1.000")
        page.close()


PRICES = (("usd", None), ("eur", 123_456), ("gbp", 1), ("jpy", 9900), ("chf", 150), ("kwd", 1234))
PLANS = """table => [...table.shadowRoot.querySelectorAll('.plans > li')].map(plan => [
    plan.querySelector('h3').textContent, plan.querySelector('.price').textContent,
    ...[...plan.querySelectorAll('ul > li')].map(line => line.textContent)])"""


@pytest.mark.parametrize("language", LANGUAGES[:2] if SHORT else LANGUAGES)
def test_elements_and_pages_say_the_same_of_plans(api: Api, acme: str, chromium: Any, language: Language) -> None:
    host, words = Host(api), Words(language, texts_of(language, PortalSettings()))
    host.account, host.lang = acme, language
    sold = api.ok("GET", "/v1/plans")
    summary = msgspec.convert(api.ok("GET", f"/v1/accounts/{acme}/summary"), AccountSummary)
    with host.serving() as address:
        page = chromium.new_page()
        page.route("**/v1/plans", lambda route: route.fulfill(response=route.fetch(), json=sold))
        for currency, amount in PRICES:
            for price in (price for plan in sold["plans"] for price in plan["prices"]):
                price["currency"], price["amount"] = currency, price["amount"] if amount is None else amount
            page.goto(address)
            table = page.locator("paygrade-pricing-table")
            for interval in ("month", "year"):
                table.get_by_label(words.say(f"interval.{interval}")).check()
                shown = cards(words, msgspec.convert(sold, OnSale), summary, interval)
                told = [[card.name, f"{card.price} {card.per}", *card.lines] for card in shown]
                assert spaced(table.evaluate(PLANS)) == spaced(told)
        page.close()


INK = "element => getComputedStyle(element.shadowRoot.querySelector('.quiet')).color"


def test_elements_say_that_they_load_and_that_they_cannot_and_keep_what_they_show(
    api: Api, acme: str, chromium: Any
) -> None:
    host = Host(api)
    host.account = acme
    held: list[Any] = []
    failed = {"status": 503, "headers": {"retry-after": "1", "access-control-allow-origin": "*"}}
    with host.serving() as address:
        its = Looked(chromium.new_context())
        usage, gate = (its.page.locator(f"paygrade-{name}") for name in ("usage", "gate"))
        its.page.route("**/summary", lambda route: held.append(route))
        its.page.goto(address)
        expect(usage).to_contain_text("Loading…")
        expect(gate.get_by_role("button")).to_be_hidden()
        its.look_everywhere("embed, loading")
        its.page.route("**/summary", lambda route: route.fulfill(**failed))
        held.pop().fulfill(**failed)
        expect(usage).to_contain_text("This can't be loaded right now.")
        expect(its.page.get_by_role("link", name="See plans")).to_be_hidden()
        its.look_everywhere("embed, failed")
        its.page.unroute("**/summary")
        expect(usage).to_contain_text("0 of 1,000", timeout=60_000)
        its.look_everywhere("embed")  # of a page that is light, whatever one likes
        its.appear(1440, "dark")
        assert usage.evaluate(INK) == "rgb(80, 86, 93)"
        host.scheme = "light dark"
        its.page.reload()
        expect(usage).to_contain_text("0 of 1,000")
        assert usage.evaluate(INK) == "rgb(174, 177, 182)"
        # Once something is shown, a fault takes nothing away.
        its.page.route("**/summary", lambda route: route.fulfill(**failed))
        with its.page.expect_response("**/summary"):
            api.ok("PUT", f"/v1/accounts/{acme}/overrides/exports", json={"value": True, "reason": "test"})
        expect(usage).to_contain_text("0 of 1,000")
        its.close()


def spaced(told: list[list[str]]) -> list[list[str]]:
    """The same with every space a plain one: which of them does not break is a matter of looks."""
    return [[" ".join(each.split()) for each in plan] for plan in told]
